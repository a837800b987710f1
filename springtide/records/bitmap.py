"""A set of oids that takes little memory where they are close together, as oids are: about a bit each.

Pure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from springtide.records.entries import Malformed

#: A page costs some 1.1 KB, so a single oid far from all others costs as much.
_PAGE_BITS = 13
_PAGE_BYTES = 2**_PAGE_BITS // 8
_WITHIN = 2**_PAGE_BITS - 1
_NAME = struct.Struct(">Q")


class Bitmap:
    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._count = 0

    def add(self, number: int) -> bool:
        """Whether it was not there before."""
        page = self._pages.get(number >> _PAGE_BITS)
        if page is None:
            page = self._pages[number >> _PAGE_BITS] = bytearray(_PAGE_BYTES)
        at, bit = (number & _WITHIN) >> 3, 1 << (number & 7)
        if page[at] & bit:
            return False
        page[at] |= bit
        self._count += 1
        return True

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> _PAGE_BITS)
        return page is not None and bool(page[(number & _WITHIN) >> 3] & 1 << (number & 7))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        for name, page in sorted(self._pages.items()):
            for at, byte in enumerate(page):
                if byte:
                    yield from ((name << _PAGE_BITS) + 8 * at + bit for bit in range(8) if byte & 1 << bit)

    def both(self, other: Bitmap) -> Bitmap:
        """What is in this one and in the other."""
        found = Bitmap()
        for name in self._pages.keys() & other._pages.keys():
            mine, others = self._pages[name], other._pages[name]
            page = bytearray(a & b for a, b in zip(mine, others, strict=True))
            if any(page):
                found._pages[name] = page
                found._count += int.from_bytes(page, "big").bit_count()
        return found

    def encode(self) -> bytes:
        return zlib.compress(b"".join(_NAME.pack(name) + page for name, page in sorted(self._pages.items())), 1)

    @classmethod
    def decode(cls, data: bytes) -> Bitmap:
        bitmap = cls()
        try:
            plain = zlib.decompress(data)
        except zlib.error as error:
            raise Malformed(f"a set of oids is damaged: {error}") from error
        step = _NAME.size + _PAGE_BYTES
        if len(plain) % step:
            raise Malformed("a set of oids is cut off")
        for at in range(0, len(plain), step):
            page = bytearray(plain[at + _NAME.size : at + step])
            bitmap._pages[_NAME.unpack_from(plain, at)[0]] = page
            bitmap._count += int.from_bytes(page, "big").bit_count()
        return bitmap
