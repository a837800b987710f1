"""The shells of a replica, on the simulated disk and network: virtual time, no sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import pytest

from springtide import errors
from springtide.records import entries as entries_
from springtide.records import feed
from springtide.records.blobs import Named
from springtide.records.entries import Blob, Entry, Kind, Transaction, Write
from springtide.records.ids import Member, NodeId, TransactionId, oid
from springtide.records.position import Point
from springtide.records.snapshot import Begin, End, Resume, Rows, SnapshotMessage
from springtide.replica.bootstrap import bootstrap
from springtide.replica.files import AT_A_TIME, Fetching
from springtide.replica.follower import Leave, Why
from springtide.replica.limits import Limits
from springtide.replica.subscription import follow
from springtide.testing.simulator import loop as virtual
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.disk import SimEngine
from springtide.testing.simulator.loop import Life
from springtide.testing.simulator.network import End as StreamEnd
from springtide.testing.simulator.network import Network
from springtide.testing.simulator.platter import DiskSpeed, Identity, Platter
from tests.unit.build import history, tid
from tests.unit.replica.logs import Log

T = TypeVar("T")


class Nobody:
    """A witness that looks away."""

    def committed(self, node: str, entries: Sequence[Entry]) -> None: ...

    def changed(self, node: str) -> None: ...

    def violated(self, what: str) -> None:
        raise AssertionError(what)


class World:
    """A replica b and a scripted primary a."""

    def __init__(self, entries: str = "", commit: int = 0, snapshot: Sequence[SnapshotMessage] = ()) -> None:
        self.network, self.life, self.there = Network(Chance(1)), Life("b"), Life("a")
        platter = Platter(Identity("b", "b1", "c", "h", promised=1), entries=history(entries))
        self.engine = SimEngine(platter, self.life, Chance(1), DiskSpeed(), Nobody())
        self.platter = platter
        self.engine.commit(commit)
        self.snapshots = list(snapshot)
        self.resumed: list[Resume | None] = []
        self.said: list[feed.Upward] = []
        self.files: dict[bytes, tuple[bytes, ...]] = {}
        self.asked: list[bytes] = []

    def feed(self, address: str) -> AbstractAsyncContextManager[StreamEnd[Any, Any]]:
        return self.network.connect(self.life, "b", address, "feed")

    async def snapshot(self, address: str, cluster: str, resume: Resume | None) -> AsyncIterator[SnapshotMessage]:
        self.resumed.append(resume)
        for message in self.snapshots:
            yield message

    async def blob(self, address: str, cluster: str, named: Named, offset: int) -> AsyncGenerator[bytes, None]:
        self.asked.append(named.blob.id)
        for half in self.files.get(named.blob.id, ()):
            yield half

    def primary(self, *script: feed.Downward | float) -> None:
        """Serve one feed: messages to send, and seconds to wait."""

        async def serve(end: StreamEnd[Any, Any]) -> None:
            listening = asyncio.ensure_future(self._listen(end))
            for step in script:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    await end.send(step)
            await asyncio.sleep(1.0)
            listening.cancel()

        self.network.listen("a", self.there, "feed", serve)

    async def _listen(self, end: StreamEnd[Any, Any]) -> None:
        while (message := await end.receive()) is not None:
            self.said.append(message)

    async def follow(self, epoch: int = 1, limits: Limits | None = None) -> Leave:
        me = Member(NodeId("b"), "b1")
        return await follow(self.engine, self, "a", me, "b#1", "c", epoch, limits=limits)


def run(scenario: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await scenario()

    return virtual.run(main)


def welcome(log: Log, epoch: int = 1) -> feed.Welcome:
    return feed.Welcome(epoch, NodeId("a"), "a#1", "h", log.last, log.oldest)


def test_entries_that_arrive_are_appended_acknowledged_and_committed() -> None:
    async def scenario() -> None:
        world, entries = World("1*3", commit=2), history("1*6")
        world.primary(welcome(Log("1*3")), feed.Append(tuple(entries[3:5]), 3), feed.Append((entries[5],), 6))

        leave = await world.follow()

        assert leave.why is Why.LOST
        assert world.engine.durable == 6 and world.engine.commit_lsn == 6
        acks = [message.durable for message in world.said if isinstance(message, feed.Ack)]
        assert acks == sorted(acks) and acks[-1] == 6

    run(scenario)


def test_a_divergent_tail_is_set_aside_and_cut() -> None:
    async def scenario() -> None:
        world = World("1*3 1b*2", commit=2)
        world.primary(welcome(Log("1*3"), epoch=2), feed.Append(tuple(history("1*3 2")[3:]), 3))

        await world.follow()

        assert world.engine.last.epoch == 2 and world.engine.last.lsn == 4
        assert world.engine.diverged() == ["1/4..1/5"]
        assert world.engine.identity.promised == 2

    run(scenario)


def test_a_node_that_is_not_there_is_reported_as_lost() -> None:
    async def scenario() -> Leave:
        return await World().follow()

    assert run(scenario).why is Why.LOST


def test_a_silent_primary_is_left() -> None:
    async def scenario() -> None:
        world = World("1*3")
        world.primary(welcome(Log("1*3")), 60.0)

        leave = await world.follow(limits=Limits(silence_seconds=2.0))

        assert leave.why is Why.LOST and asyncio.get_running_loop().time() < 4

    run(scenario)


def test_a_primary_older_than_the_record_is_left() -> None:
    async def scenario() -> None:
        world = World("1*3")
        world.primary(welcome(Log("1*3"), epoch=4), 1.0)

        assert (await world.follow(epoch=5)).why is Why.OLD_EPOCH

    run(scenario)


def test_histories_that_contradict_each_other_stop_the_node() -> None:
    async def scenario() -> None:
        world = World("1*3 1b*2", commit=5)
        world.primary(welcome(Log("1*4"), epoch=2), 1.0)

        with pytest.raises(errors.Damaged, match="committed here"):
            await world.follow()
        assert world.engine.last == Log("1*3 1b*2").last, "nothing was cut"

    run(scenario)


def test_a_failed_disk_ends_the_feed_with_its_error() -> None:
    async def scenario() -> None:
        world = World("1*3")
        world.primary(welcome(Log("1*3")), 0.5, feed.Append(tuple(history("1*4")[3:]), 3), 5.0)
        asyncio.get_running_loop().call_later(0.3, world.engine.fail)

        with pytest.raises(errors.DiskFailed):
            await world.follow()

    run(scenario)


def test_a_cancelled_feed_leaves_the_log_settled() -> None:
    """A candidate stops acknowledging by leaving; what it was sent before is in its log."""

    async def scenario() -> None:
        world = World("1*3")
        world.primary(welcome(Log("1*3")), feed.Append(tuple(history("1*9")[3:]), 3), 5.0)
        following = asyncio.ensure_future(world.follow())
        while world.engine.last.lsn < 9:
            await asyncio.sleep(0.001)

        following.cancel()
        await asyncio.wait((following,))

        assert world.engine.durable == world.engine.last.lsn == 9
        assert all(message.durable <= 3 for message in world.said if isinstance(message, feed.Ack))

    run(scenario)


def test_a_slow_disk_stops_the_reading_of_the_stream() -> None:
    async def scenario() -> None:
        world = World("1*3")
        entries = history("1*40")
        world.primary(welcome(Log("1*3")), *(feed.Append((entry,), 3) for entry in entries[3:]))
        under_way: list[int] = []
        append = world.engine.append

        async def slow(batch: Sequence[Entry]) -> None:
            under_way.append(1)
            assert len(under_way) <= 3
            synced = asyncio.ensure_future(append(batch))
            await asyncio.sleep(0.01)
            await synced
            under_way.pop()

        world.engine.append = slow  # type: ignore[method-assign]
        size = len(entries[0].body)

        await world.follow(limits=Limits(append_bytes_max=2 * size))

        assert world.engine.durable == 40

    run(scenario)


# -- snapshots -----------------------------------------------------------------------------------

BASE = Log("1*7").last
ROWS = Rows("meta", ((b"last oid", (9).to_bytes(8, "big")),))


def test_a_snapshot_becomes_the_state_and_the_log_begins_at_its_base() -> None:
    async def scenario() -> None:
        world = World(snapshot=(Begin(BASE, 1), ROWS, End(8)))

        await bootstrap(world.engine, world, "a", "c", "h")

        assert world.engine.oldest == world.engine.last == BASE
        assert world.engine.last_oid == 9
        assert not world.engine.complete, "not before everything until 8 is applied"
        assert world.engine.identity.incarnation == "b1", "an empty directory has acknowledged nothing"

    run(scenario)


def test_an_interrupted_snapshot_is_resumed_where_it_stopped() -> None:
    async def scenario() -> None:
        world = World(snapshot=(Begin(BASE, 1), ROWS))
        with pytest.raises(errors.Unreachable):
            await bootstrap(world.engine, world, "a", "c", "h")
        assert (await world.follow()).why is Why.SNAPSHOT, "half a copy follows nobody"

        world.snapshots = [Begin(BASE, 1), End(7)]
        await bootstrap(world.engine, world, "a", "c", "h")

        assert world.resumed == [None, Resume(BASE, "meta", b"last oid")]
        assert world.engine.complete and world.engine.last_oid == 9

    run(scenario)


def test_another_base_begins_anew() -> None:
    async def scenario() -> None:
        world = World(snapshot=(Begin(BASE, 1), ROWS))
        with pytest.raises(errors.Unreachable):
            await bootstrap(world.engine, world, "a", "c", "h")

        later = Log("1*9").last
        world.snapshots = [Begin(later, 1), End(9)]
        await bootstrap(world.engine, world, "a", "c", "h")

        assert world.engine.oldest == later and world.engine.last_oid == 0

    run(scenario)


def test_a_directory_that_acknowledged_something_gets_a_new_incarnation() -> None:
    async def scenario() -> None:
        world = World("1*3", commit=2, snapshot=(Begin(BASE, 1), ROWS, End(7)))

        await bootstrap(world.engine, world, "a", "c", "h")

        assert world.engine.identity.incarnation != "b1"
        assert world.engine.diverged() == ["1/1..1/3"]

    run(scenario)


@pytest.mark.parametrize("messages", [(ROWS,), (End(9),), (Begin(BASE, 1), End(3))])
def test_a_snapshot_that_makes_no_sense_is_refused(messages: tuple[SnapshotMessage, ...]) -> None:
    async def scenario() -> None:
        world = World(snapshot=messages)
        with pytest.raises(errors.BadRequest):
            await bootstrap(world.engine, world, "a", "c", "h")

    run(scenario)


# -- files -------------------------------------------------------------------------------------

ONE = b"1" * 16


def with_file(previous: Point) -> Entry:
    write = Write(oid(1), b"x", blob=Blob(ONE, 32, bytes(16)))
    body = entries_.encode_transaction(Transaction(tid(9), TransactionId(bytes(24)), b"", b"", b"", (write,)))
    return entries_.following(previous, 1, Kind.TRANSACTION, body)


def test_a_file_is_fetched_before_the_entry_that_names_it_is_in_the_log() -> None:
    async def scenario() -> None:
        world, entry = World("1*3", commit=2), with_file(history("1*3")[-1].point)
        world.files[ONE] = (ONE, ONE)
        world.primary(welcome(Log("1*3")), feed.Append((entry,), 4), 1.0, feed.Heartbeat(1, 4))

        await world.follow()

        assert world.platter.files == {ONE} and world.engine.durable == 4
        assert [message.durable for message in world.said if isinstance(message, feed.Ack)][-1] == 4

    run(scenario)


def test_an_entry_whose_file_cannot_be_had_is_not_taken_in() -> None:
    async def scenario() -> None:
        world, entry = World("1*3", commit=2), with_file(history("1*3")[-1].point)
        world.primary(welcome(Log("1*3")), feed.Append((entry,), 4))

        leave = await world.follow()

        assert "cannot be taken in" in leave.detail and world.asked == [ONE]
        assert world.engine.durable == 3 and not world.platter.files

    run(scenario)


def test_a_file_that_was_announced_and_is_named_then_is_fetched_once() -> None:
    async def scenario() -> None:
        world, entry = World("1*3", commit=2), with_file(history("1*3")[-1].point)
        world.files[ONE] = (ONE, ONE)
        names = (Named(Blob(ONE, 32, bytes(16)), oid(1)),)
        world.primary(welcome(Log("1*3")), feed.Blobs(names), feed.Append((entry,), 4), 1.0)

        await world.follow()

        assert world.asked == [ONE] and world.engine.durable == 4
        assert feed.Held((ONE,)) in world.said

    run(scenario)


def test_many_files_are_fetched_a_few_at_a_time_and_each_is_reported() -> None:
    async def scenario() -> None:
        world, names = World(), [Named(Blob(b"%016d" % n, 32, bytes(16)), oid(n)) for n in range(300)]
        world.files = {named.blob.id: (named.blob.id, named.blob.id) for named in names[:-1]}
        held: list[bytes] = []
        failed: list[bytes] = []
        fetching = Fetching(world.engine.blobs, world, "a", "c", held.append, lambda id, error: failed.append(id))

        fetching.begin(names)
        fetching.begin(names[:10])
        assert len(fetching._workers) == AT_A_TIME
        while len(held) + len(failed) < len(names):
            await asyncio.sleep(0.01)
        fetching.begin(names[:1])  # again, after all was quiet
        while len(held) < len(names):
            await asyncio.sleep(0.01)
        await fetching.end()

        assert sorted(held[:-1]) == [named.blob.id for named in names[:-1]] and held[-1] == names[0].blob.id
        assert failed == [names[-1].blob.id]

    run(scenario)
