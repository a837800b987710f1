"""What ZODB calls of a storage that can be packed."""

from __future__ import annotations

import time
from typing import Any

from persistent.TimeStamp import TimeStamp

from springtide.client import packs
from springtide.client.view import View
from springtide.client.writable import Writable
from springtide.records.ids import TID_ZERO, Tid


class Packable(Writable):
    _view: View
    _timeout: float
    _pack_gc: bool

    def pack(
        self, pack_time: float | None = None, referencesf: Any = None, gc: bool | None = None, wait: bool = True
    ) -> None:
        """Take away what is not needed to read the database as it was at ``pack_time`` (seconds since 1970) and later.

        Without ``pack_time``: now. ``referencesf`` is asked for what records refer to that nodes cannot
        read. With ``gc`` objects go, too, that nothing refers to. Without ``wait`` this returns when the
        primary has begun.

        Returns when every in-sync node that is there has done it. Raises PackRefused where what records refer to cannot
        be known: then nothing was deleted.
        """
        self._writable()
        tid = tid_of(time.time() if pack_time is None else pack_time)
        collect = self._pack_gc if gc is None else gc
        packed = packs.pack(self._cluster, tid, collect, referencesf, self._timeout, wait)
        if packed > TID_ZERO:
            packs.settled(self._cluster.any(time.monotonic() + self._timeout), self._timeout)
            with self._view.lock:
                self._view.cache.packed(packed)


def tid_of(seconds: float) -> Tid:
    """The tid that stands for a time, as FileStorage computes it."""
    return Tid(TimeStamp(*time.gmtime(seconds)[:5], seconds % 60).raw())
