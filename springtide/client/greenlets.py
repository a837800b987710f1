"""Under gevent: gRPC must be told, or its threads, which gevent has made greenlets, block everything for ever."""

from __future__ import annotations

import sys
from importlib import import_module

from springtide.errors import ConfigError


def prepare() -> None:
    """Where gevent has patched threading, have gRPC work with it, unless the application has already.

    To be called before this process uses gRPC. Raises ConfigError where gRPC cannot do it.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return
    if getattr(import_module("grpc._cython.cygrpc"), "g_gevent_activated", False):
        return
    try:
        import_module("grpc.experimental.gevent").init_gevent()
    except Exception as error:
        raise ConfigError(
            f"gevent has patched threading, and grpc.experimental.gevent.init_gevent() fails ({error}): use a grpcio "
            "that works with this gevent, or threads instead of gevent"
        ) from error
