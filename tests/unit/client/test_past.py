"""Undo logs and histories: which entries, in which order, and what they say."""

from __future__ import annotations

import pytest
from ZODB.POSException import POSKeyError

from springtide.client import past
from springtide.client.errors import UndoRefused
from springtide.client.past import undo_id, undone_tid
from springtide.records.ids import tid
from tests.unit.client.words import ROOT, commit, oid, voted


@pytest.fixture
def storage(cluster, connect):
    return connect(cluster)


@pytest.fixture
def made(storage):
    """Thirty transactions, by two users in turn; newest first."""
    tids, serial = [], None
    for number in range(30):
        user = ("even", "odd")[number % 2]
        serial = storage.tpc_finish(voted(storage, (ROOT, serial, b"%d" % number), user=user, extension={"n": number}))
        tids.append(serial)
    return tids[::-1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), slice(0, 20)),
        ((0, 100), slice(0, 30)),
        ((0, 1), slice(0, 1)),
        ((0, -1), slice(0, 1)),
        ((11, 17), slice(11, 17)),
        ((11, -6), slice(11, 17)),
        ((28, -6), slice(28, 30)),
        ((40, 50), slice(0, 0)),
        ((5, 5), slice(0, 0)),
        ((5, 3), slice(0, 0)),
        ((0, 0), slice(0, 0)),
    ],
)
@pytest.mark.parametrize("page", [3, 1_000])
def test_an_undo_log_is_a_slice_of_all_transactions(storage, made, monkeypatch, arguments, expected, page):
    monkeypatch.setattr(past, "PAGE_MAX", page)

    found = [undone_tid(each["id"]) for each in storage.undoLog(*arguments)]

    assert found == made[expected]
    assert [undone_tid(each["id"]) for each in storage.undoInfo(*arguments)] == found


def test_filters_choose_before_the_slice_is_taken(storage, made):
    assert [each["n"] for each in storage.undoLog(1, 4, lambda each: each["n"] % 10 == 7)] == [17, 7]
    assert [each["n"] for each in storage.undoInfo(1, 4, {"user_name": b"odd"})] == [27, 25, 23]
    assert storage.undoInfo(specification={"user_name": b"odd", "n": 4}) == []
    assert len(storage.undoInfo(specification={})) == 20


def test_a_description_says_who_when_what_and_how_large(storage):
    storage.tpc_finish(
        voted(storage, (ROOT, None, b"12345"), user="us\xe9r", description="why", extension={"k": [1], "time": "mine"})
    )

    (said,) = storage.undoLog()

    assert said["user_name"] == "us\xe9r".encode()
    assert (said["description"], said["k"], said["size"]) == (b"why", [1], 0)  # the cluster in memory counts no bytes
    assert said["time"] == "mine", "as FileStorage has it, an extension may say otherwise"


def test_an_extension_that_cannot_be_read_hides_nothing_else(storage):
    storage.tpc_finish(voted(storage, (ROOT, None, b"1"), description="why", extension=b"not a pickle"))

    assert storage.undoLog()[0]["description"] == b"why"


def test_a_history_tells_the_revisions_of_one_object(storage, made):
    commit(storage, (oid(1), None, b"another"))

    assert [each["tid"] for each in storage.history(ROOT, 1)] == made[:1]
    assert [each["tid"] for each in storage.history(ROOT, 7)] == made[:7]
    assert [each["tid"] for each in storage.history(ROOT, 1_000)] == made
    assert [each["tid"] for each in storage.history(ROOT, 2, lambda each: each["user_name"] == b"even")] == [
        made[1],
        made[3],
    ]
    assert storage.history(ROOT, 0) == []
    assert storage.history(ROOT)[0]["size"] == 2


def test_what_never_was_has_no_history(storage):
    for size in (0, 1):
        with pytest.raises(POSKeyError):
            storage.history(oid(77), size)


@pytest.mark.parametrize("number", [1, 2**40, 2**62 + 9])
def test_ids_of_undo_logs_are_text_and_name_one_transaction(number):
    id_ = undo_id(tid(number))

    assert id_.isascii() and b"\n" not in id_
    assert undone_tid(id_) == undone_tid(tid(number)) == tid(number)


@pytest.mark.parametrize("wrong", [b"", b"1234567", b"AAAA", b"!!!!!!!!!!!!", None])
def test_what_is_no_such_id_is_refused(wrong):
    with pytest.raises(UndoRefused, match="is not the id of a transaction"):
        undone_tid(wrong)
