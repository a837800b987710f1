"""What stories cannot show well: single effects and their order. The stories are in ``tests/scenarios``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from springtide import errors
from springtide.ahead import digested
from springtide.records import entries, feed
from springtide.records.blobs import Named
from springtide.records.entries import Blob, Entry, Kind, Transaction, Write
from springtide.records.ids import NodeId, TransactionId, oid
from springtide.records.position import Point
from springtide.replica.follower import (
    Adopt,
    Append,
    CommitTo,
    Cut,
    Effect,
    Ended,
    Fetch,
    Follower,
    Leave,
    Promise,
    Send,
    Settle,
    Status,
    Why,
)
from springtide.spool import FileSpool
from tests.unit.build import history, member, tid
from tests.unit.replica.logs import Log


def follower(log: Log, promised: int = 1, joined: tuple[str, str] = ("c", "h")) -> Follower:
    return Follower(member("b"), "b-1", "c", joined=joined, promised=promised, log=log, status=Status(0, 0, True))


def welcome(primary: Log, epoch: int = 1, name: str = "h") -> feed.Welcome:
    return feed.Welcome(epoch, NodeId("a"), "a-1", name, primary.last, primary.oldest)


def streaming(sketch: str = "1*3", epoch: int = 1) -> Follower:
    log = Log(sketch)
    log.commit_lsn = log.last.lsn
    machine = follower(log)
    machine.receive(welcome(log, epoch))
    return machine


def test_a_new_epoch_is_promised_before_anything_else() -> None:
    effects = follower(Log("1*3 1b")).receive(welcome(Log("1*3"), epoch=2))

    assert effects[0] == Promise(2)


def test_the_tail_is_cut_before_the_primary_is_asked_to_send() -> None:
    mine, primary = Log("1*3 1b"), Log("1*3")

    effects = follower(mine, joined=("", "")).receive(welcome(primary))

    assert [type(effect) for effect in effects] == [Cut, Adopt, Send, Send]
    assert effects[0] == Cut(primary.last)
    assert effects[2:] == (Send(feed.Copy(primary.last)), Send(feed.Ack(3, 0, 0, True)))


def test_entries_are_acknowledged_only_after_they_are_durable() -> None:
    machine = streaming()
    batch = tuple(history("1*5")[3:])

    assert machine.receive(feed.Append(batch, 3)) == (Append(batch),)
    assert machine.durable(5) == (Send(feed.Ack(5, 0, 0, True)),)


def test_several_appends_are_under_way_at_once() -> None:
    machine = streaming()
    first, second = history("1*5")[3:]

    assert machine.receive(feed.Append((first,), 3)) == (Append((first,)),)
    assert machine.receive(feed.Append((second,), 3)) == (Append((second,)),)
    assert machine.durable(4) == (Send(feed.Ack(4, 0, 0, True)),)


def test_the_commit_point_waits_for_this_disk() -> None:
    machine = streaming()
    batch = tuple(history("1*5")[3:])

    machine.receive(feed.Append(batch, 5))

    assert machine.receive(feed.Heartbeat(1, 5)) == (Send(feed.Confirm(1)),)
    assert CommitTo(5) in machine.durable(5)


def test_nothing_is_confirmed_to_a_primary_that_was_deposed() -> None:
    machine = streaming()

    assert machine.promised(2) == (Leave(Why.OLD_EPOCH, "epoch 2 was promised", 2),)
    assert machine.receive(feed.Heartbeat(1, 3)) == ()


def test_a_candidate_says_nothing_that_the_old_epoch_could_build_on() -> None:
    machine = streaming()
    machine.receive(feed.Append(tuple(history("1*5")[3:]), 3))

    machine.stop_acknowledging()

    assert machine.durable(5) == ()
    assert machine.receive(feed.Heartbeat(1, 3)) == ()


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("a gap", lambda entry: replace(entry, lsn=entry.lsn + 1)),
        ("an epoch above the primary's", lambda entry: replace(entry, epoch=9)),
        ("another digest", lambda entry: replace(entry, digest=bytes(16))),
        ("another body", lambda entry: replace(entry, body=b"")),
    ],
)
def test_what_does_not_continue_the_log_is_not_appended(name: str, spoil: object) -> None:
    assert callable(spoil)
    machine = streaming()

    (leave,) = machine.receive(feed.Append((spoil(history("1*4")[3]),), 3))

    assert isinstance(leave, Leave) and leave.why is Why.FAULTY
    assert isinstance(machine.phase, Ended)


@pytest.mark.parametrize(
    "message", [feed.Found(), feed.Missing(), feed.Append((), 0), feed.Heartbeat(1, 0), feed.TooOld(Point(1, 1, b""))]
)
def test_before_its_welcome_a_primary_says_nothing_else(message: feed.Downward) -> None:
    (leave,) = follower(Log("1*3")).receive(message)

    assert isinstance(leave, Leave) and leave.why is Why.FAULTY


def test_an_acknowledgement_is_not_repeated() -> None:
    machine = streaming()

    assert machine.receive(feed.Heartbeat(1, 0)) == (Send(feed.Confirm(1)),)
    machine.status(Status(3, 0, True))
    assert machine.receive(feed.Heartbeat(2, 0)) == (Send(feed.Confirm(2)), Send(feed.Ack(3, 3, 0, True)))


# -- files -------------------------------------------------------------------------------------


def with_files(previous: Point, *ids: bytes) -> Entry:
    """The entry that follows, of a transaction that names these files."""
    writes = tuple(Write(oid(at), b"x", blob=Blob(id, 1, bytes(16))) for at, id in enumerate(ids))
    body = entries.encode_transaction(Transaction(tid(9), TransactionId(bytes(24)), b"", b"", b"", writes))
    return entries.following(previous, 1, Kind.TRANSACTION, body)


ONE, TWO = b"1" * 16, b"2" * 16


def kinds(effects: tuple[Effect, ...]) -> list[type]:
    return [type(effect) for effect in effects]


def test_an_entry_is_appended_when_the_files_it_names_are_here_and_what_follows_it_waits() -> None:
    machine, plain = streaming(), history("1*3")
    first = with_files(plain[-1].point, ONE, TWO)
    second = entries.following(first.point, 1, Kind.OIDS, plain[0].body)

    (fetch,) = machine.receive(feed.Append((first,), 3))
    assert isinstance(fetch, Fetch) and {named.blob.id for named in fetch.names} == {ONE, TWO}
    assert fetch.names[0].tid == tid(9)
    assert machine.receive(feed.Append((second,), 3)) == ()
    assert machine.waiting_bytes == len(first.body) + len(second.body)
    assert machine.held(TWO) == ()

    assert machine.held(ONE) == (Append((first,)), Append((second,)))
    assert machine.waiting_bytes == 0


def test_nothing_is_acknowledged_or_committed_while_files_are_missing() -> None:
    machine = streaming()
    first = with_files(history("1*3")[-1].point, ONE)
    machine.receive(feed.Append((first,), 4))

    assert machine.receive(feed.Heartbeat(1, 4)) == (Send(feed.Confirm(1)),)

    machine.held(ONE)
    assert machine.durable(4) == (Send(feed.Ack(4, 0, 0, True)), CommitTo(4))


def test_announced_files_are_fetched_and_spoken_of() -> None:
    machine = streaming()
    names = (Named(Blob(ONE, 1, bytes(16)), oid(1)),)

    assert machine.receive(feed.Blobs(names)) == (Fetch(names),)
    assert machine.held(ONE) == (Send(feed.Held((ONE,))),)
    assert machine.held(ONE) == ()


def test_a_body_that_came_ahead_is_spoken_of_when_it_is_synced() -> None:
    machine, file = streaming(), FileSpool()
    file.write(b"body of a large transaction")
    body = digested(ONE, file, 0)

    assert machine.receive(feed.Arrived(body)) == (Settle(body),)
    assert machine.settled(ONE) == (Send(feed.Held((ONE,))),)
    machine.receive(feed.Refused("over", 1))
    assert machine.settled(ONE) == ()


def test_an_announced_file_that_cannot_be_had_is_let_be_and_one_that_the_log_names_is_not() -> None:
    machine = streaming()
    machine.receive(feed.Blobs((Named(Blob(ONE, 1, bytes(16)), oid(1)),)))
    assert machine.not_held(ONE, Why.FAULTY, "not there") == ()

    machine.receive(feed.Append((with_files(history("1*3")[-1].point, ONE),), 3))

    (leave,) = machine.not_held(ONE, Why.FAULTY, "not there")
    assert isinstance(leave, Leave) and leave.why is Why.FAULTY and "not there" in leave.detail


def test_nothing_is_acknowledged_that_was_not_appended() -> None:
    replica = streaming("1*3")

    with pytest.raises(errors.Broken, match="4 would be acknowledged, and 3 is appended"):
        replica.durable(4)
