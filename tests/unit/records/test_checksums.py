"""The CRC of two parts, from those of each, is that of the whole."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from springtide.records.checksums import joined


@given(st.binary(), st.binary(), st.integers(0, 2**32 - 1))
def test_it_is_that_of_the_whole(first, second, seed):
    assert joined(zlib.crc32(first, seed), zlib.crc32(second), len(second)) == zlib.crc32(first + second, seed)


def test_sizes_above_32_bits_take_no_longer():
    size = 2**33 + 5
    zeros = zlib.crc32(b"")
    crc = zlib.crc32(b"x")
    assert joined(joined(crc, zeros, 0), zeros, 0) == crc
    assert joined(joined(crc, 7, size), 9, 3) == joined(crc, joined(7, 9, 3), size + 3)
