"""What a session answers to requests that are not well formed, and to those that are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from springtide.node.requests import Requests
from springtide.records.ids import TID_ZERO, oid
from springtide.wire.v1 import records_pb2
from springtide.wire.v1 import session_pb2 as pb
from tests.unit.build import tid

ONE = oid(1)


class Disk:
    """Every object has one revision."""

    commit_tid = tid(9)
    complete = True
    packs = 4

    def load_before(self, oid, before):
        return SimpleNamespace(
            result=SimpleNamespace(name="FOUND"), data=b"x", tid=tid(3), next_tid=None, blob=None, as_of=self.commit_tid
        )

    load_serial = load_before

    def current(self, oid):
        return tid(3) if oid == ONE else None


class Answers:
    client = "a client"

    def __init__(self):
        self.given = []

    def answer(self, request, **body):
        self.given.append((request, body))

    def served(self, reads):
        pass


async def nothing_to_forget(transaction):
    pass


def answers_to(**body):
    answers = Answers()
    Requests(SimpleNamespace(disk=Disk(), reign=None), "session", answers, 1_000, nothing_to_forget).take(
        pb.ClientMessage(request=7, **body)
    )
    return answers.given


GOOD = {
    "load": pb.Load(oid=oid(1), before=tid(5), floor=tid(2)),
    "load_serial": pb.LoadSerial(oid=oid(1), tid=tid(3), floor=tid(2)),
    "prefetch": pb.Prefetch(oids=[oid(1), oid(2)], before=tid(5), floor=tid(2)),
}


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("floor", [tid(2), TID_ZERO, b""])
def test_what_is_well_formed_is_answered(kind, floor):
    request = type(GOOD[kind])()
    request.CopyFrom(GOOD[kind])
    request.floor = floor

    for number, body in answers_to(**{kind: request}):
        assert number == 7 and set(body) <= {"loaded", "done"}


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("load", "oid"),
        ("load", "before"),
        ("load", "floor"),
        ("load_serial", "oid"),
        ("load_serial", "tid"),
        ("load_serial", "floor"),
        ("prefetch", "oids"),
        ("prefetch", "before"),
        ("prefetch", "floor"),
    ],
)
@pytest.mark.parametrize("value", [b"1", b"1234567", b"123456789"])
def test_a_name_of_another_length_is_refused(kind, field, value):
    request = type(GOOD[kind])()
    request.CopyFrom(GOOD[kind])
    if field == "oids":
        request.oids.append(value)
    else:
        setattr(request, field, value)

    ((number, body),) = answers_to(**{kind: request})

    assert number == 7
    assert body["error"].code == records_pb2.CODE_BAD_REQUEST
    assert f"8 bytes, not {len(value)}" in body["error"].message


@pytest.mark.parametrize("request_", [{"load": pb.Load(before=tid(5))}, {"load": pb.Load(oid=oid(1))}])
def test_a_name_that_is_not_there_is_refused(request_):
    ((_, body),) = answers_to(**request_)

    assert body["error"].code == records_pb2.CODE_BAD_REQUEST
    assert "8 bytes, not 0" in body["error"].message


@pytest.mark.parametrize(("have", "data"), [(tid(3), b""), (tid(2), b"x"), (b"", b"x")])
def test_a_record_that_the_client_has_is_not_sent(have, data):
    ((_, body),) = answers_to(load=pb.Load(oid=ONE, before=tid(5), have=have))

    assert (body["loaded"].data, body["loaded"].unchanged) == (data, not data)
    assert (body["loaded"].tid, body["loaded"].as_of, body["loaded"].packs) == (tid(3), tid(9), 4)
