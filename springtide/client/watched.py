"""Streams of answers that are no sessions: files of blobs, transactions one after the other."""

from __future__ import annotations

import os
import threading
from typing import Any

import grpc

from springtide.client.errors import SessionLost


class Watched:
    """A server's stream of answers: without gRPC's own errors, and never silent for longer than ``seconds``."""

    def __init__(self, stream: Any, seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds
        self._process = os.getpid()

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> Any:
        # A timer only where the answer is not there yet would be cheaper, but gRPC cannot be asked that.
        timer = threading.Timer(self._seconds, self._stream.cancel)
        timer.daemon = True
        timer.start()
        try:
            return next(self._stream)
        except grpc.RpcError as error:
            raise SessionLost(reason(error)) from None
        finally:
            timer.cancel()

    def cancel(self) -> None:
        if self._process == os.getpid():
            self._stream.cancel()


def reason(error: Any) -> str:
    code, details = error.code(), error.details()
    return f"{code.name.lower().replace('_', ' ')}: {details}" if code is not None else str(details)
