"""Whatever several processes do with one shelf, no answer is ever wrong, and no connection sees a mixed state.

The model is the whole history. Processes hear of it in order, late, with gaps, or not at all, are killed and come back;
packs take revisions and objects away; another history takes the place of this one. Every answer that the cache or the
shelf gives must be the one of the history, and so must everything that a connection has in its own cache.
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
from ZODB.mvccadapter import MVCCAdapter

from springtide.client.messages import FOUND, Limits, Loaded, Purged, Welcome
from springtide.client.routing import Topology
from springtide.client.shelf.keeper import Keeper
from springtide.client.view import View
from springtide.records.ids import TID_MAX, number, oid
from tests.unit.build import tid

OBJECTS = [oid(n) for n in range(4)]
MEMORY_BYTES = 6_000
SHELF_BYTES = 60_000
PROCESSES = 3
EXAMPLES = 100


class Process:
    """A process with one connection."""

    def __init__(self, directory):
        self.view = View(MEMORY_BYTES, Keeper(directory, SHELF_BYTES, by_itself=False))
        self.inbox = deque()
        self.session = object()
        self.adapter = MVCCAdapter(self)
        self.instance = self.adapter.new_instance()
        self.connection = {}  # what ZODB's cache of the connection holds: which revision of which object
        self.replaced = False  # the history was, and the connection has not begun since

    def registerDB(self, adapter):
        self.view.register(adapter)

    def lastTransaction(self):
        return self.view.last

    @property
    def packs(self):
        return self.view.kept.packs

    def callback(self, names, of_this_connection):
        def told(at):
            self.adapter._invalidate_finish(at, names, self.instance if of_this_connection else None)
            if of_this_connection:
                self.instance._ltid = at

        return told


class Truth(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.now = 1
        self.history = 1
        self.made_in = {1: 1}  # in which history a tid was given
        self.revisions = {name: [1] for name in OBJECTS}
        self.thinned = {name: set() for name in OBJECTS}  # revisions that packs took away
        self.purged = {}  # by which pack
        self.packs = self.packed = 0
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

    def data_of(self, name, at):
        return (name + at + bytes([self.made_in[number(at)]])) * (10 if at[-1] % 3 else 40)

    # -- what happens --------------------------------------------------------------------------------

    def connect(self, process):
        """A session begins: everything since, as the node still has it."""
        seen, packs = process.view.since or (None, 0)
        process.session = object()
        told = (tid(self.now), Topology(), Limits(), 1, self.packs, tid(self.packed))
        process.view.attach(process.session, Welcome("n", "c1", f"h{self.history}", *told), seen)
        process.view.apply()
        process.inbox.clear()
        if seen is None:
            return
        for name, by in sorted(self.purged.items(), key=lambda item: item[1]):
            if by > packs:
                process.inbox.append(("purge", by, (name,)))
        if packs < self.packs:
            process.inbox.append(("purge", self.packs, ()))
        for at in range(number(seen) + 1, self.now + 1):
            process.inbox.append(("missed", tid(at), ()))

    def tell(self, event, but=None):
        for process in self.processes:
            if process is not but:
                process.inbox.append(event)

    def hear(self, process, count=1_000):
        while process.inbox and count:
            count -= 1
            kind, what, names = process.inbox.popleft()
            if kind == "purge":
                process.view.purged(process.session, Purged(what, names, tid(self.packed)))
                continue
            if kind == "missed":  # as the node has it now, which tells first what has gone
                for name, by in sorted(self.purged.items(), key=lambda item: item[1]):
                    process.view.purged(process.session, Purged(by, (name,)))
                at = number(what)
                names = tuple(n for n in OBJECTS if at in self.revisions[n] and at not in self.thinned[n])
                names = tuple(n for n in names if n not in self.purged)
            process.view.changed(process.session, what, names)

    def commit(self, names):
        names = tuple(name for name in names if name not in self.purged)
        self.now += 1
        self.made_in[self.now] = self.history
        for name in names:
            self.revisions[name].append(self.now)
        return tid(self.now), names

    @rule(names=st.sets(st.sampled_from(OBJECTS)))
    def others_commit(self, names):
        self.tell(("change", *self.commit(sorted(names))))

    @rule(which=st.integers(0, PROCESSES - 1), names=st.sets(st.sampled_from(OBJECTS), min_size=1), mine=st.booleans())
    def one_commits(self, which, names, mine):
        process = self.processes[which]
        self.hear(process)
        at, names = self.commit(sorted(names))
        self.tell(("change", at, names), but=process)
        with process.view.turn():
            written = {name: self.data_of(name, at) for name in names}
            process.view.commit(at, process.callback(names, mine), written, names)
        if mine:
            process.connection |= dict.fromkeys(names, number(at))

    @rule(which=st.integers(0, PROCESSES - 1), names=st.sets(st.sampled_from(OBJECTS), min_size=1), mine=st.booleans())
    def one_commits_and_nobody_tells_what_came_before(self, which, names, mine):
        process = self.processes[which]
        if process.view.last is None:
            return
        at, names = self.commit(sorted(names))
        self.tell(("change", at, names))
        with process.view.turn():
            process.view.owe(at, process.callback(names, mine), names)
        if mine:
            process.connection |= dict.fromkeys(names, number(at))

    @rule(back=st.integers(0, 12), gone=st.sets(st.sampled_from(OBJECTS), max_size=1))
    def pack(self, back, gone):
        """It begins, or goes on: then the pack point does not rise."""
        gone = tuple(name for name in gone if name not in self.purged and len(self.purged) < 2)
        self.packs += 1
        for name in gone:
            self.purged[name] = self.packs
        rises = self.now - back > self.packed
        self.packed = max(self.packed, self.now - back)
        for name in OBJECTS:
            old = [at for at in self.revisions[name] if at <= self.packed]
            self.thinned[name].update(old[:-1])
        if gone:
            self.tell(("purge", self.packs, gone))
        for process in self.processes:
            if rises and any(kind == "missed" for kind, *_ in process.inbox):
                self.connect(process)  # the node ends such sessions

    @rule(lost=st.integers(0, 6))
    def an_operator_goes_on_with_another_history(self, lost):
        self.now = max(1, self.packed, self.now - lost)
        self.history += 1
        for name in OBJECTS:
            self.revisions[name] = [at for at in self.revisions[name] if at <= self.now]
            self.thinned[name] = {at for at in self.thinned[name] if at <= self.now}
        for process in self.processes:
            process.replaced = process.replaced or process.view.last is not None
            self.connect(process)

    @rule(
        which=st.integers(0, PROCESSES - 1),
        writes=st.lists(st.sets(st.sampled_from(OBJECTS), max_size=2), min_size=2, max_size=6),
        back=st.integers(0, 2),
        gone=st.sets(st.sampled_from(OBJECTS), max_size=1),
        counts=st.lists(st.integers(1, 4), max_size=3),
        read=st.booleans(),
    )
    def one_is_away_during_a_pack(self, which, writes, back, gone, counts, read):
        process = self.processes[which]
        self.hear(process)
        self.a_transaction_begins(which, set(OBJECTS))
        for names in writes:
            self.others_commit(names)
        self.pack(back, gone)
        self.connect(process)
        for count in counts:
            self.hear(process, count)
            self.a_transaction_begins(which, set(OBJECTS))
            if read:
                self.processes[which].view.shelf.flush(True)
                self.one_reads_what_it_can((which + 1) % PROCESSES, True)

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

    # -- what connections see ----------------------------------------------------------------------------

    @rule(which=st.integers(0, PROCESSES - 1), names=st.sets(st.sampled_from(OBJECTS)))
    def a_transaction_begins(self, which, names):
        """Whatever the connection had is true of the moment that it sees now, and it reads more of that."""
        process = self.processes[which]
        view = process.view
        if view.last is None:
            return
        changed = process.instance.poll_invalidations()
        assert (changed is None) is process.replaced, "everything is dropped where the history was replaced, only there"
        process.replaced = False
        for name in process.connection.copy() if changed is None else changed:
            process.connection.pop(name, None)
        assert process.instance._start == view.bound
        for name, at in process.connection.items():
            if self.exists(process, name):
                assert tid(at) == self.truth(process, name, view.bound)[0]
            else:
                raise AssertionError("the connection has an object that was taken away")
        for name in names:
            if self.exists(process, name) and view.owed.writer(name) is None:
                process.connection[name] = number(self.truth(process, name, view.bound)[0])

    def exists(self, process, name):
        return self.purged.get(name, self.packs + 1) > process.packs

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
            assert have is None or have.data == self.data_of(name, have.tid)
        if found is not None:
            following = found.next if (found.next or TID_MAX) < bound else None
            assert (found.tid, following) == self.truth(process, name, before)
            assert found.data == self.data_of(name, found.tid)
            assert self.exists(process, name), "it was taken away"

    def read_serial(self, process, name, at):
        found = process.view.cache.exactly(name, at)
        data = found.data if found else process.view.fetch_exactly(name, at)
        if data is not None:
            assert data == self.data_of(name, at)
            assert self.exists(process, name), "it was taken away"

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
            if any(answer < at < (following or as_of + 1) for at in gone):
                continue  # the node has marked the gap, and answers that it is gone
            with view.lock:
                known = tid(answer), following and tid(following), tid(as_of)
                view.keep(Loaded(name, FOUND, self.data_of(name, tid(answer)), *known, packs=packs))


@pytest.mark.slow
class TestTruth(Truth.TestCase):
    settings = settings(max_examples=EXAMPLES, stateful_step_count=80, deadline=None)
