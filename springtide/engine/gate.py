"""Who reads is counted, so that nothing is closed under a reader."""

from __future__ import annotations

import threading

from springtide import errors


class Gate:
    """A reader is inside for the length of a ``with`` block. Closing a memory map under one ends in a signal."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._shut = False

    def __enter__(self) -> None:
        with self._changed:
            if self._shut:
                raise errors.Stopping("this node is closing its state")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            if self._shut and not self._inside:
                self._changed.notify_all()

    def shut(self) -> None:
        """Let nobody in any more, and wait until everybody has left. Blocks, for as long as one short read takes."""
        with self._changed:
            self._shut = True
            self._changed.wait_for(lambda: not self._inside)
