"""Whatever several processes do with one shelf, no answer is ever wrong.

The model is the whole history. Processes hear of it in order, late, with gaps, or not at all, are killed and come back;
packs take revisions and objects away. Every answer that the cache or the shelf gives must be the one of the history.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from springtide.client.messages import FOUND, Loaded, Purged
from springtide.client.shelf.keeper import Keeper
from springtide.client.view import View
from springtide.records.ids import TID_MAX, number, oid
from tests.unit.build import tid

OBJECTS = [oid(n) for n in range(4)]
MEMORY_BYTES = 6_000
SHELF_BYTES = 60_000
PROCESSES = 3
EXAMPLES = 100


def data_of(name, at):
    return (name + at) * (10 if at[-1] % 3 else 40)


class Process:
    def __init__(self, directory):
        self.view = View(MEMORY_BYTES, Keeper(directory, SHELF_BYTES, by_itself=False))
        self.inbox = deque()
        self.session = object()

    @property
    def packs(self):
        return self.view.kept.packs


class Truth(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.now = 1
        self.revisions = {name: [1] for name in OBJECTS}
        self.thinned = {name: set() for name in OBJECTS}  # revisions that packs took away
        self.purged = {}  # by which pack
        self.packs = 0
        self.processes = []

    def teardown(self):
        for process in self.processes:
            process.view.close()
        shutil.rmtree(self.directory)

    @initialize()
    def begin(self):
        for _ in range(PROCESSES):
            self.processes.append(Process(self.directory))
            self.connect(self.processes[-1])

    # -- what happens --------------------------------------------------------------------------------

    def connect(self, process):
        """A session begins: everything since, as the node still has it."""
        since = process.view.since
        process.session = object()
        process.view.attach(process.session, tid(self.now), "h1", self.packs, "c1", since)
        process.view.apply()
        process.inbox.clear()
        for at in range(number(since) + 1 if since else self.now + 1, self.now + 1):
            names = [
                n for n in OBJECTS if at in self.revisions[n] and at not in self.thinned[n] and n not in self.purged
            ]
            process.inbox.append(("change", tid(at), tuple(names)))

    def tell(self, event, but=None):
        for process in self.processes:
            if process is not but:
                process.inbox.append(event)

    def hear(self, process, count=1_000):
        while process.inbox and count:
            count -= 1
            kind, what, names = process.inbox.popleft()
            if kind == "change":
                process.view.changed(process.session, what, names)
            else:
                process.view.purged(process.session, Purged(what, names))

    def commit(self, names):
        names = tuple(name for name in names if name not in self.purged)
        self.now += 1
        for name in names:
            self.revisions[name].append(self.now)
        return tid(self.now), names

    @rule(names=st.sets(st.sampled_from(OBJECTS)))
    def others_commit(self, names):
        self.tell(("change", *self.commit(sorted(names))))

    @rule(which=st.integers(0, PROCESSES - 1), names=st.sets(st.sampled_from(OBJECTS), min_size=1))
    def one_commits(self, which, names):
        process = self.processes[which]
        self.hear(process)
        at, names = self.commit(sorted(names))
        self.tell(("change", at, names), but=process)
        with process.view.turn():
            process.view.commit(at, lambda at: None, {name: data_of(name, at) for name in names}, names)

    @rule(which=st.integers(0, PROCESSES - 1))
    def one_commits_and_nobody_tells_what_came_before(self, which):
        process = self.processes[which]
        if process.view.last is None:
            self.hear(process)
        at, names = self.commit(OBJECTS[:1])
        self.tell(("change", at, names), but=process)
        packs = [event for event in process.inbox if event[0] == "purge"]
        process.inbox.clear()
        process.inbox.extend(packs)
        with process.view.turn():
            process.view.jump(at)

    @rule(through=st.integers(1, 60), gone=st.sets(st.sampled_from(OBJECTS), max_size=1))
    def pack(self, through, gone):
        gone = tuple(name for name in gone if name not in self.purged and len(self.purged) < 2)
        self.packs += 1
        for name in gone:
            self.purged[name] = self.packs
        for name in OBJECTS:
            old = [at for at in self.revisions[name] if at <= through]
            self.thinned[name].update(old[:-1])
        self.tell(("purge", self.packs, gone))

    @rule(which=st.integers(0, PROCESSES - 1), count=st.integers(1, 5))
    def one_hears(self, which, count):
        self.hear(self.processes[which], count)

    @rule(which=st.integers(0, PROCESSES - 1))
    def one_comes_back(self, which):
        self.connect(self.processes[which])

    @rule(which=st.integers(0, PROCESSES - 1), patient=st.booleans())
    def one_writes(self, which, patient):
        self.processes[which].view.shelf.flush(patient)

    @rule(which=st.integers(0, PROCESSES - 1))
    def one_is_killed(self, which):
        self.processes[which] = Process(self.directory)
        self.connect(self.processes[which])

    @rule(which=st.integers(0, PROCESSES - 1))
    def one_ends_and_another_begins(self, which):
        self.processes[which].view.close()
        self.one_is_killed(which)

    @rule(which=st.integers(0, PROCESSES - 1))
    def one_loses_what_it_gathered(self, which):
        """As a child does that was forked."""
        self.processes[which].view.shelf._batch = None

    # -- what is answered ------------------------------------------------------------------------------

    def truth(self, process, name, before):
        """The newest revision below ``before`` and the one that follows it, as far as this process is."""
        known = [at for at in self.revisions[name] if tid(at) < process.view.bound]
        found = max((at for at in known if tid(at) < before), default=None)
        following = min((at for at in known if tid(at) >= before), default=None)
        return found and tid(found), following and tid(following)

    @rule(which=st.integers(0, PROCESSES - 1), forget=st.booleans())
    def one_reads_what_it_can(self, which, forget):
        view = self.processes[which].view
        if view.last is None:
            return
        if forget:
            view.cache.clear()
        bound = view.bound
        for name in OBJECTS:
            for before in range(number(bound), max(1, number(bound) - 12), -1):
                self.read(self.processes[which], name, tid(before), bound)
            for at in self.revisions[name]:
                self.read_serial(self.processes[which], name, tid(at))

    def read(self, process, name, before, bound):
        view = process.view
        found = view.cache.look(name, before, bound)
        if found is None:
            fetched = view.fetch(name, before)
            found = view.cache.look(name, before, bound)
            have = max(filter(None, (fetched, view.cache.newest(name, before))), key=lambda h: h.tid, default=None)
            assert have is None or have.data == data_of(name, have.tid)
        if found is not None:
            following = found.next if (found.next or TID_MAX) < bound else None
            assert (found.tid, following) == self.truth(process, name, before)
            assert found.data == data_of(name, found.tid)
            assert self.purged.get(name, self.packs + 1) > process.packs, "it was taken away"

    def read_serial(self, process, name, at):
        found = process.view.cache.exactly(name, at)
        data = found.data if found else process.view.fetch_exactly(name, at)
        if data is not None:
            assert data == data_of(name, at)
            assert self.purged.get(name, self.packs + 1) > process.packs, "it was taken away"

    @rule(
        which=st.integers(0, PROCESSES - 1),
        names=st.sets(st.sampled_from(OBJECTS), min_size=1),
        back=st.integers(0, 6),
        node=st.sampled_from(["now", "before the packs", "as old as the process"]),
    )
    def one_loads(self, which, names, back, node):
        """A node answers: of now, of now but for the packs, or as it was when the last that is known was committed."""
        view = self.processes[which].view
        if view.last is None:
            return
        before = max(2, number(view.bound) - back)
        as_of = number(view.last) if node == "as old as the process" else self.now
        packs = self.packs if node == "now" else view.kept.packs
        for name in names:
            if self.purged.get(name, self.packs + 1) <= packs:
                continue
            gone = self.thinned[name] if node == "now" else ()
            kept = [at for at in self.revisions[name] if at <= as_of and at not in gone]
            answer = max((at for at in kept if at < before), default=None)
            if answer is None:
                continue
            following = min((at for at in kept if at > answer), default=None)
            with view.lock:
                known = tid(answer), following and tid(following), tid(as_of)
                view.keep(Loaded(name, FOUND, data_of(name, tid(answer)), *known, packs=packs))


@pytest.mark.slow
class TestTruth(Truth.TestCase):
    settings = settings(max_examples=EXAMPLES, stateful_step_count=80, deadline=None)
