import pytest

from springtide import errors
from springtide.node.stores import Assembly, ticket_of
from springtide.primary.conflicts import Intent, Wanted
from springtide.primary.votes import Ticket
from springtide.records.entries import Blob
from springtide.records.ids import TID_ZERO, TransactionId, oid
from springtide.wire.v1 import session_pb2 as pb
from tests.unit.build import tid

KEY = (TransactionId(bytes(24)), 1)
STORE = pb.Write.KIND_STORE


def write(number=1, data=b"x", kind=STORE, **more):
    return pb.Write(oid=oid(number), kind=kind, data=data, **more)


def test_a_cut_record_is_put_together_again():
    assembly = Assembly(1_000)

    assert assembly.add(KEY, [write(1, b"whole", serial=tid(3)), write(2, b"be", serial=tid(4), more=True)]) == [
        Wanted(oid(1), Intent.STORE, tid(3), b"whole")
    ]
    assert assembly.add(KEY, [write(2, b"gin", more=True)]) == []
    assert assembly.add(KEY, [write(2, b"ning")]) == [Wanted(oid(2), Intent.STORE, tid(4), b"beginning")]


def test_what_only_the_client_knows_of_a_record_comes_along():
    said = write(1, b"x", references=oid(2) + oid(3), refers=True, blob=pb.Blob(id=b"i" * 16, size=7, digest=b"d" * 16))

    assert Assembly(1_000).add(KEY, [said, write(2, b"y", refers=True), write(3, b"z")]) == [
        Wanted(oid(1), Intent.STORE, TID_ZERO, b"x", None, oid(2) + oid(3), Blob(b"i" * 16, 7, b"d" * 16)),
        Wanted(oid(2), Intent.STORE, TID_ZERO, b"y", None, b""),
        Wanted(oid(3), Intent.STORE, TID_ZERO, b"z"),
    ]


def test_parts_of_two_records_are_not_mixed():
    assembly = Assembly(1_000)
    assembly.add(KEY, [write(1, b"a", more=True)])

    with pytest.raises(errors.BadRequest, match="not finished"):
        assembly.add(KEY, [write(2, b"b")])


def test_attempts_do_not_share_parts():
    assembly = Assembly(1_000)
    assembly.add(KEY, [write(1, b"a", more=True)])
    assembly.forget(KEY)

    assert assembly.add(KEY, [write(2, b"b")])[0].data == b"b"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (write(serial=b""), Wanted(oid(1), Intent.STORE, TID_ZERO, b"x")),
        (write(kind=pb.Write.KIND_CHECK, serial=tid(2)), Wanted(oid(1), Intent.CHECK, tid(2))),
        (write(kind=pb.Write.KIND_DELETE, serial=tid(2)), Wanted(oid(1), Intent.DELETE, tid(2))),
        (write(kind=pb.Write.KIND_RESTORE, absent=True), Wanted(oid(1), Intent.RESTORE, TID_ZERO)),
        (write(kind=pb.Write.KIND_RESTORE, data_tid=tid(2)), Wanted(oid(1), Intent.RESTORE, TID_ZERO, b"x", tid(2))),
    ],
)
def test_what_each_kind_of_write_wants(message, expected):
    assert Assembly(1_000).add(KEY, [message]) == [expected]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (write(kind=99), "upgrade"),
        (pb.Write(oid=b"short", kind=STORE), "oid has 8 bytes"),
        (write(references=b"short"), "whole oids"),
        (write(blob=pb.Blob(id=b"short", digest=b"d" * 16)), "a blob has an id"),
        (write(serial=b"short"), "serial has 8 bytes"),
        (write(data_tid=b"short"), "8 bytes"),
    ],
)
def test_malformed_writes_are_refused(message, says):
    with pytest.raises(errors.BadRequest, match=says):
        Assembly(1_000).add(KEY, [message])


def test_a_ticket_is_what_the_vote_says():
    vote = pb.Vote(user=b"u", description=b"d", extension=b"e", tid=tid(7), status=b"p")

    assert ticket_of(vote) == Ticket(b"u", b"d", b"e", tid(7), b"p")
    assert ticket_of(pb.Vote()) == Ticket()
    with pytest.raises(errors.BadRequest):
        ticket_of(pb.Vote(tid=b"7"))
    with pytest.raises(errors.BadRequest):
        ticket_of(pb.Vote(status=b"pp"))


def test_parts_of_a_record_are_counted_before_it_is_whole():
    assembly = Assembly(1_000)
    assembly.add(KEY, [write(1, bytes(600), more=True)])

    with pytest.raises(errors.TooLarge, match="record_bytes_max"):
        assembly.add(KEY, [write(1, bytes(600), more=True)])


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_oids_that_cannot_be_counted_on_from_are_refused(number):
    with pytest.raises(errors.BadRequest, match="below"):
        Assembly(1_000).add(KEY, [write(number)])


@pytest.mark.parametrize("given", [bytes(8), b"\x7f" + b"\xff" * 7, b"\xff" * 8])
def test_tids_that_nothing_can_follow_are_refused(given):
    with pytest.raises(errors.BadRequest, match="not between"):
        ticket_of(pb.Vote(tid=given))
