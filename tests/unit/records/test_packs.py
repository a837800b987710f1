from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.records.entries import Malformed
from springtide.records.ids import TID_MAX, TID_ZERO, oid, tid
from springtide.records.packs import PackBegin, PackEnd, PackStep, decode_pack, encode_pack

STEP = PackStep(((tid(3), (oid(1), oid(7))), (tid(5), ()), (tid(9), (oid(1),))))


PART = PackStep(((tid(3), (oid(1),)),), True, True)
CLASSES = PackBegin(tid(9), True, 1, (("a.B", tid(4)), ("é.C", tid(5))))
PACKS = [PackBegin(tid(9), True), PackBegin(tid(1), False, 5), CLASSES, STEP, PART, PackStep(()), PackEnd()]


@pytest.mark.parametrize("pack", PACKS)
def test_what_a_pack_says_is_read_as_it_was_written(pack):
    assert decode_pack(encode_pack(pack)) == pack


def test_a_step_counts_its_revisions():
    assert STEP.revisions == 3


RUNS = st.lists(st.integers(0, 7), min_size=1, max_size=6).map(
    lambda counts: tuple((tid(at), tuple(oid(n) for n in range(count))) for at, count in enumerate(counts, 1))
)


@given(RUNS, st.booleans(), st.booleans(), st.integers(1, 5))
def test_a_step_is_cut_into_steps_that_say_the_same_and_which_transactions_are_in_several(
    removed, went_on, goes_on, most
):
    parts, rest = [], PackStep(removed, went_on, goes_on)
    while rest is not None:
        part, rest = rest.cut(most)
        parts.append(part)

    assert all(part.revisions <= most and 0 < len(part.removed) <= most for part in parts)
    assert [(at, name) for part in parts for at, oids in part.removed for name in oids] == [
        (at, name) for at, oids in removed for name in oids
    ]
    assert {at for part in parts for at, _ in part.removed} == {at for at, _ in removed}
    assert (parts[0].went_on, parts[-1].goes_on) == (went_on, goes_on)
    for part, following in itertools.pairwise(parts):
        together = part.removed[-1][0] == following.removed[0][0]
        assert part.goes_on == following.went_on == together


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"?",
        b"EE",
        encode_pack(PackBegin(TID_ZERO, True)),
        encode_pack(PackBegin(TID_MAX, True)),
        encode_pack(PackBegin(tid(1), True, 0)),
        encode_pack(PackBegin(tid(1), True))[:-1],
        encode_pack(CLASSES)[:-1],
        encode_pack(CLASSES)[:-6],
        encode_pack(STEP)[:-1],
        encode_pack(STEP)[:2],
        encode_pack(STEP)[:5],
        encode_pack(PackStep(((tid(5), (oid(1),)), (tid(5), (oid(2),))))),
        encode_pack(PackStep(((tid(5), (oid(2**63),)),))),
    ],
)
def test_what_could_not_be_applied_is_refused(body):
    with pytest.raises(Malformed):
        decode_pack(body)
