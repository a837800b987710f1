from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from springtide.engine.packing_child import (
    decode_records,
    decode_references,
    encode_records,
    encode_references,
    steps,
)
from springtide.records.ids import oid, tid
from springtide.records.packs import decode_pack, encode_pack

REMOVALS = st.lists(st.integers(0, 12), max_size=12).map(
    lambda counts: [(tid(at), tuple(oid(n) for n in range(count))) for at, count in enumerate(counts, 1)]
)


@given(REMOVALS, st.integers(1, 5))
def test_steps_are_bounded_name_everything_once_and_keep_the_order(removals, most):
    made = list(steps(removals, most))

    assert [(at, name) for step in made for at, oids in step.removed for name in oids] == [
        (at, name) for at, oids in removals for name in oids
    ]
    assert {at for step in made for at, _ in step.removed} == {at for at, _ in removals}
    assert all(step.revisions <= most and 0 < len(step.removed) <= most for step in made)
    assert all(decode_pack(encode_pack(step)) == step for step in made)
    for step, following in itertools.pairwise(made):
        assert step.goes_on == following.went_on == (step.removed[-1][0] == following.removed[0][0])
    assert not made or not (made[0].went_on or made[-1].goes_on)


@given(st.lists(st.tuples(st.integers(0, 9).map(oid), st.binary(max_size=20)), max_size=5))
def test_records_travel(records):
    assert decode_records(encode_records(records)) == records


@given(st.lists(st.lists(st.integers(0, 9).map(oid), max_size=4), max_size=5))
def test_references_travel(found):
    assert decode_references(encode_references(found)) == found
