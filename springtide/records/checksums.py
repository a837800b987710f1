"""CRC-32 of bytes that were digested apart.

Pure. A large body is digested while it arrives; what precedes it is known only when it gets its place.
"""

from __future__ import annotations

#: CRC-32 as zlib has it: the highest power of x in the lowest bit.
_POLYNOMIAL = 0xEDB88320
_ONE, _BYTE = 1 << 31, 1 << 23  # x to the power of 0, and of 8


def joined(first: int, second: int, size: int) -> int:
    """The CRC of two parts, of which the second has ``size`` bytes: ``crc32(b, crc32(a))`` from those of each."""
    factor, square = _ONE, _BYTE
    while size:
        if size & 1:
            factor = _product(factor, square)
        square = _product(square, square)
        size >>= 1
    return _product(factor, first) ^ second


def _product(a: int, b: int) -> int:
    """Of two polynomials, modulo that of the CRC."""
    product, power = 0, _ONE
    while a:
        if a & power:
            product ^= b
            a ^= power
        power >>= 1
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product
