"""ZODB's end of the storage: whom to tell what changed."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Collection
from typing import Any

from springtide.records.ids import Oid, Tid

log = logging.getLogger(__name__)


class Wrapper:
    """Held weakly, where it can be: the storage must be collectable."""

    def __init__(self, wrapper: Any = None) -> None:
        self._get: Callable[[], Any]
        try:
            self._get = (lambda: None) if wrapper is None else weakref.ref(wrapper)
        except TypeError:
            self._get = lambda: wrapper

    def invalidate(self, tid: Tid, oids: Collection[Oid]) -> None:
        """A wrapper that cannot be told which objects changed has to drop all of them, before anybody sees ``tid``."""
        if (wrapper := self._get()) is None:
            return
        try:
            wrapper.invalidate(tid, oids)
        except Exception:
            log.exception("%r cannot be told what changed: all connections drop what they cached", type(wrapper))
            self.invalidate_all()

    def invalidate_all(self) -> None:
        """Nothing that was read before is certain, nor that it ever was: the history is another one."""
        if (wrapper := self._get()) is None:
            return
        try:
            wrapper.invalidateCache()
        except Exception:  # a storage that wraps this one, and on which nobody has opened a database yet
            log.warning("%r cannot be told that its cache is invalid", type(wrapper), exc_info=True)

    def forked(self) -> None:
        """A thread that is not here may hold a lock of ZODB's adapter, which every commit would wait for."""
        wrapper = self._get()
        for each in (wrapper, *getattr(wrapper, "_instances", ())):
            if hasattr(each, "_lock"):
                each._lock = threading.Lock()
