"""One ``springtide node`` process: everything put together, and taken apart again.

Read this first: it names every part of a node and what it is given.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

from springtide import errors
from springtide.coordinator.store import Store
from springtide.engine import Engine, EngineOptions
from springtide.node import stores_of
from springtide.node.admin import Admin
from springtide.node.config import NodeConfig
from springtide.node.config_tables import Pack
from springtide.node.core import NodeCore, Settings
from springtide.node.marker import Marker
from springtide.node.peers import GrpcPeers
from springtide.node.replication import Replication
from springtide.node.server import Server
from springtide.node.sessions import Sessions
from springtide.primary.leadership import Settings as ReignSettings
from springtide.primary.retention import Policy
from springtide.records.ids import NodeId
from springtide.wire import MESSAGE_BYTES_MAX, channels
from springtide.wire.v1 import session_pb2

log = logging.getLogger(__name__)

#: A node's objects hardly ever form cycles, and large transactions are many objects at once:
#: with Python's defaults, collecting would take longer than committing.
GC_THRESHOLD = (50_000, 20, 100)


def run(config: NodeConfig) -> int:
    """Be a node until SIGTERM or SIGINT. Raises OperatorError with one sentence where it cannot be one."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return asyncio.run(_Process(config).run())


class _Process:
    """The process: runs one ``Node``, or one after another where test suites reset it."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._node: Node | None = None
        self._resets: asyncio.Queue[tuple[int, asyncio.Future[None]]] = asyncio.Queue()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        server = Server(self._config)
        await server.bind()
        generation: int | None = _generation(self._config)
        answered: asyncio.Future[None] | None = None
        try:
            while generation is not None:
                node = await Node.open(self._config, generation, server.address)
                reset = self._reset if self._config.allow_reset else None
                admin = Admin(node.core, node.engine, node.sessions, node.peers, reset)
                node.core.on_topology.append(partial(_show, server, node.core))
                server.serve(node.sessions, Replication(node.core, node.engine), admin)
                if answered is None:
                    await server.start()
                elif not answered.done():
                    answered.set_result(None)
                generation, answered = await self._run(node, server, generation)
        finally:
            await server.stop()
        return 0

    async def _run(self, node: Node, server: Server, generation: int) -> tuple[int | None, asyncio.Future[None] | None]:
        running = asyncio.ensure_future(node.core.run())
        stopping = asyncio.ensure_future(self._stop.wait())
        resetting = asyncio.ensure_future(self._resets.get())
        waiting = (running, stopping, resetting, node.failed)
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for ended in (node.failed, running):
                if ended.done():
                    ended.result()
            if resetting.done():
                await node.close(running)
                shutil.rmtree(node.directory, ignore_errors=True)
                return resetting.result()
            log.info("node %s stops", self._config.node)
            await server.refuse_new()
            await node.hand_over_if_primary()
            return None, None
        finally:
            for task in (stopping, resetting):
                task.cancel()
            await node.close(running)

    async def _reset(self, generation: int) -> None:
        done = asyncio.get_running_loop().create_future()
        await self._resets.put((generation, done))
        await done


class Node:
    """One node's parts, from its directory to its roles."""

    def __init__(
        self, config: NodeConfig, directory: Path, engine: Engine, store: Store, core: NodeCore, peers: GrpcPeers
    ) -> None:
        self.directory = directory
        self.engine = engine
        self.store = store
        self.core = core
        self.peers = peers
        limits = session_pb2.Limits(
            record_bytes_max=config.limits.record_bytes_max,
            transaction_bytes_max=config.limits.transaction_bytes_max,
            blob_bytes_max=config.limits.blob_bytes_max,
            message_bytes_max=MESSAGE_BYTES_MAX,
        )
        self.sessions = Sessions(core, engine.blobs, limits)
        self._care = asyncio.ensure_future(self.sessions.files.care(config.transaction_timeout_seconds))
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        engine.on_failure = self._engine_failed
        engine.on_swept = self.sessions.swept
        core.open_marker = partial(Marker.open, directory / "state", engine.options.map_bytes)
        self._closed = False

    @classmethod
    async def open(cls, config: NodeConfig, generation: int, address: str) -> Node:
        directory = config.data / f"generation-{generation}" if generation else config.data
        retention = int(config.log_retention_bytes)
        # The log forgets whole segments, so a small retention needs small ones.
        segment = max(2**20, min(EngineOptions().segment_bytes, retention // 8))
        options = EngineOptions(log_retention_bytes=retention, segment_bytes=segment)
        engine = await asyncio.to_thread(Engine.open, directory, config.node, options)
        engine.start(asyncio.get_running_loop())
        store = stores_of.open_store(config, directory, generation)
        tls = None
        if config.tls is not None:
            tls = channels.Tls(config.tls.ca, config.tls.cert, config.tls.key)
        peers = GrpcPeers(tls, engine.stage)
        core = NodeCore(
            engine,
            store,
            peers,
            NodeId(config.node),
            address,
            secrets.token_hex(8),
            _settings(config),
            time.time,
            lambda: secrets.token_hex(8),
        )
        return cls(config, directory, engine, store, core, peers)

    def _engine_failed(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    async def hand_over_if_primary(self) -> None:
        """A primary that is asked to stop hands its role over first, if anybody can take it."""
        if self.core.reign is None:
            return
        try:
            record = await self.core.hand_over(None)
            log.info("node %s handed over to %s", self.core.node, record.primary.node)
        except errors.SpringtideError as error:
            log.warning("node %s stops without handing over: %s", self.core.node, error)

    async def close(self, running: asyncio.Future[None]) -> None:
        if self._closed:
            return
        self._closed = True
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self.sessions.stop()
        self._care.cancel()
        await asyncio.gather(self._care, return_exceptions=True)
        if self.core.elector is not None:
            await self.core.elector.leave()
        await self.store.close()
        await self.peers.close()
        await self.engine.close()


def _show(server: Server, core: NodeCore) -> None:
    server.show(not core.stale)


def _generation(config: NodeConfig) -> int:
    """The generation to go on with: the last one that a reset began, where test suites reset."""
    if not config.allow_reset:
        return 0
    return max((int(path.name.removeprefix("generation-")) for path in config.data.glob("generation-*")), default=0)


def _settings(config: NodeConfig) -> Settings:
    return Settings(
        initial_nodes=len(config.initial_nodes),
        min_in_sync=config.min_in_sync,
        lease_seconds=config.lease_seconds,
        staleness_max_seconds=config.staleness_max_seconds,
        heard_seconds=max(1.0, 3 * config.heartbeat_seconds),
        reign=ReignSettings(
            record_bytes_max=int(config.limits.record_bytes_max),
            transaction_bytes_max=int(config.limits.transaction_bytes_max),
            vote_wait_seconds=config.vote_wait_seconds,
            transaction_timeout_seconds=config.transaction_timeout_seconds,
            clock_ahead_max_seconds=config.clock_ahead_max_seconds,
            outcomes_kept_seconds=config.outcomes_kept_seconds,
            heartbeat_seconds=config.heartbeat_seconds,
            stall_seconds=config.stall_seconds,
            min_free_bytes=int(config.min_free_bytes),
        ),
        retention=_retention(config.pack),
    )


def _retention(pack: Pack | None) -> Policy | None:
    return (
        None
        if pack is None
        else Policy(pack.keep, pack.keep_revisions, pack.gc, pack.every, tuple(sorted(pack.keep_classes.items())))
    )
