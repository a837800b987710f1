"""Under gevent: gRPC must be told, or its threads, which gevent has made greenlets, block everything for ever."""

from __future__ import annotations

import sys
from importlib import import_module

from springtide.errors import ConfigError

#: Under gevent each of gRPC's channels waits for what it is sent in a thread of the hub's pool, as long as it is open.
#: Where there are more channels than threads, which are 10 at first, they take turns of two seconds, and everything
#: takes seconds. So each storage brings the threads for its sessions, also while some are lost and others opened, and
#: for blobs; they are made when they are needed.
THREADS, THREADS_MAX = 32, 1_000


def prepare() -> None:
    """Where gevent has patched threading, have gRPC work with it, unless the application has already.

    To be called before this process uses gRPC. Raises ConfigError where gRPC cannot do it.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return
    pool = import_module("gevent").get_hub().threadpool
    pool.maxsize = max(pool.maxsize, min(pool.maxsize + THREADS, THREADS_MAX))
    if getattr(import_module("grpc._cython.cygrpc"), "g_gevent_activated", False):
        return
    try:
        import_module("grpc.experimental.gevent").init_gevent()
    except Exception as error:
        raise ConfigError(
            f"gevent has patched threading, and grpc.experimental.gevent.init_gevent() fails ({error}): use a grpcio "
            "that works with this gevent, or threads instead of gevent"
        ) from error
