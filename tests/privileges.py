"""Root may write to any file, whatever its mode; tests of modes want to be refused like anybody else."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_VERSION_3 = 0x20080522
_DAC_OVERRIDE = 1 << 1


@contextlib.contextmanager
def heeding_file_modes() -> Iterator[None]:
    """In this thread, and in those it starts, file modes count for root, too."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, of the lower and the upper half
    _checked(libc.capget(header, data))
    before = data[0]
    data[0] = before & ~_DAC_OVERRIDE
    _checked(libc.capset(header, data))
    try:
        yield
    finally:
        data[0] = before
        _checked(libc.capset(header, data))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "capset")
