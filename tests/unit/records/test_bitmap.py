from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.records.bitmap import Bitmap
from springtide.records.entries import Malformed

NUMBERS = st.sets(st.one_of(st.integers(0, 40_000), st.integers(0, 2**63 - 1)), max_size=50)


def bitmap(numbers):
    made = Bitmap()
    for n in numbers:
        assert made.add(n)
        assert not made.add(n)
    return made


@given(NUMBERS, NUMBERS)
def test_it_is_a_set_of_numbers(one, other):
    mine, others = bitmap(one), bitmap(other)

    assert list(mine) == sorted(one)
    assert len(mine) == len(one)
    assert all((n in mine) == (n in one) for n in one | other)
    both = mine.both(others)
    assert list(both) == sorted(one & other)
    assert len(both) == len(one & other)


@given(NUMBERS)
def test_it_travels_as_bytes(numbers):
    decoded = Bitmap.decode(bitmap(numbers).encode())

    assert list(decoded) == sorted(numbers)
    assert len(decoded) == len(numbers)


@pytest.mark.parametrize("data", [b"", b"nonsense", bitmap({1}).encode()[:-2]])
def test_damaged_bytes_are_refused(data):
    with pytest.raises(Malformed):
        Bitmap.decode(data)


def test_two_million_oids_take_less_than_a_megabyte():
    made = Bitmap()
    for n in range(0, 2_000_000, 64):
        made.add(n)

    assert len(made._pages) * 1_200 < 2**20
