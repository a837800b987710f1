from __future__ import annotations

import pytest

from springtide.records.entries import Malformed
from springtide.records.ids import TID_MAX, TID_ZERO, oid, tid
from springtide.records.packs import PackBegin, PackEnd, PackStep, decode_pack, encode_pack

STEP = PackStep(((tid(3), (oid(1), oid(7))), (tid(5), ()), (tid(9), (oid(1),))))


@pytest.mark.parametrize("pack", [PackBegin(tid(9), True), PackBegin(tid(1), False, 5), STEP, PackStep(()), PackEnd()])
def test_what_a_pack_says_is_read_as_it_was_written(pack):
    assert decode_pack(encode_pack(pack)) == pack


def test_a_step_counts_its_revisions():
    assert STEP.revisions == 3


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
        encode_pack(STEP)[:-1],
        encode_pack(STEP)[:5],
        encode_pack(PackStep(((tid(5), (oid(1),)), (tid(5), (oid(2),))))),
        encode_pack(PackStep(((tid(5), (oid(2**63),)),))),
    ],
)
def test_what_could_not_be_applied_is_refused(body):
    with pytest.raises(Malformed):
        decode_pack(body)
