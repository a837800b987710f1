"""Faults of processes: killed, at chosen moments too, stopped, restarted; and clients that die."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from springtide.testing.cluster import ClusterFailed
from tests.faults.arena import Arena, Fault, NotTried
from tests.faults.attacked import STORES
from tests.faults.failpoints import POINTS

#: A point that nobody passes within this time was not tried.
_POINT_SECONDS = 5.0
_END_SECONDS = 20.0


def primary_killed(arena: Arena) -> Iterator[None]:
    node = arena.primary()
    arena.say(f"kill -9 of node {node}, the primary")
    arena.kill(node)
    yield
    arena.start(node)


def replica_killed(arena: Arena) -> Iterator[None]:
    node = arena.replica()
    arena.say(f"kill -9 of node {node}, a replica")
    arena.kill(node)
    yield
    arena.start(node)


def all_killed(arena: Arena) -> Iterator[None]:
    nodes = arena.up()
    arena.chance.shuffle(nodes)
    arena.say(f"kill -9 of all nodes: {', '.join(nodes)}")
    arena.kill(*nodes)
    yield
    arena.chance.shuffle(nodes)
    arena.start(*nodes)


def primary_stopped(arena: Arena) -> Iterator[None]:
    yield from _stopped(arena, arena.primary(), "the primary")


def replica_stopped(arena: Arena) -> Iterator[None]:
    yield from _stopped(arena, arena.replica(), "a replica")


def _stopped(arena: Arena, node: str, what: str) -> Iterator[None]:
    arena.say(f"SIGSTOP of node {node}, {what}")
    arena.cluster.pause(node)
    yield
    if arena.cluster.processes[node].paused:
        arena.say(f"SIGCONT of node {node}")
        arena.cluster.resume(node)


def rolling_restart(arena: Arena) -> Iterator[None]:
    cluster = arena.cluster
    for node in cluster.nodes:
        arena.say(f"rolling restart: SIGTERM of {arena.title(node)}")
        if not cluster.processes[node].stop(_END_SECONDS):
            raise ClusterFailed(f"node {node} did not end within {_END_SECONDS:.0f} s of SIGTERM: {cluster.said(node)}")
        cluster.start(node)
        took = cluster.until(f"{node} is in sync again", cluster.in_sync)
        arena.say(f"node {node} is back in sync after {took:.1f} s")
    yield


def handover(arena: Arena) -> Iterator[None]:
    """An operator's switchover: no fault, but what else happens then is one."""
    node = arena.primary()
    arena.say(f"node {node} is asked to hand over")
    uri = "springtide://" + ",".join(arena.cluster.addresses)
    command = [sys.executable, "-m", "springtide", "handover", uri]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_END_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        arena.say(f"the handover said nothing within {_END_SECONDS:.0f} s")
    else:
        arena.say(f"handover: {(done.stdout + done.stderr).strip()}")
    yield


def client_killed(arena: Arena) -> Iterator[None]:
    number = arena.chance.choice(arena.clients.running)
    new = arena.clients.replace(number)
    arena.say(f"kill -9 of client {number}; client {new} takes its place")
    yield


def at(point: str) -> Fault:
    """A node is killed as it passes this point."""

    def killed(arena: Arena) -> Iterator[None]:
        cluster = arena.cluster
        primary = arena.primary()
        replicas = [node for node in arena.up() if node != primary]
        if not replicas:
            raise NotTried("no replica runs now")
        watched = replicas if point in _REPLICAS else [primary]
        if point == "takeover":
            watched = replicas
        if point == "copy":
            watched = [arena.chance.choice(replicas)]
        if point in ("append", "synced", "applied"):
            watched = [arena.chance.choice(watched)]
        for node in watched:
            (cluster.failpoints / node / point).touch()
        if point == "takeover":
            arena.say(f"kill -9 of node {primary}, the primary, so that another takes over")
            arena.kill(primary)
        if point == "copy":
            arena.say(f"node {watched[0]} loses its disk, so that it copies all")
            arena.kill(*watched)
            cluster.disks[watched[0]].lose()
            arena.start(*watched)
        deadline = time.monotonic() + _POINT_SECONDS * (3 if point in ("takeover", "copy") else 1)
        hit = None
        while hit is None and time.monotonic() < deadline:
            hit = next((node for node in watched if not (cluster.failpoints / node / point).exists()), None)
            time.sleep(0.01)
        for node in watched:
            (cluster.failpoints / node / point).unlink(missing_ok=True)
        if hit is None:
            if point == "takeover":
                arena.start(primary)
            raise NotTried(f"nobody came past {point!r} in time")
        cluster.kill(hit)  # it has killed itself: this takes it away
        arena.down.add(hit)
        arena.say(f"node {hit} was killed as it came past {point!r}: {POINTS[point].meaning}")
        yield
        arena.start(hit, primary)

    return killed


_REPLICAS = ("append", "synced", "applied")


def store_leader_killed(arena: Arena) -> Iterator[None]:
    store = arena.cluster.store_leader()
    if store is None:
        raise NotTried("etcd has no leader now")
    arena.say(f"kill -9 of {store}, the leader of etcd")
    arena.kill(store)
    yield
    arena.start(store)


def store_leader_stopped(arena: Arena) -> Iterator[None]:
    store = arena.cluster.store_leader()
    if store is None:
        raise NotTried("etcd has no leader now")
    arena.say(f"SIGSTOP of {store}, the leader of etcd")
    arena.cluster.pause(store)
    yield
    arena.cluster.resume(store)


def stores_killed(arena: Arena) -> Iterator[None]:
    arena.say("kill -9 of all three etcd servers")
    arena.kill(*STORES)
    yield
    arena.start(*STORES)


FAULTS: dict[str, Fault] = {
    "kill -9 of the primary": primary_killed,
    "kill -9 of a replica": replica_killed,
    "kill -9 of all nodes": all_killed,
    "kill -9 during a vote": at("vote"),
    "kill -9 during a finish": at("finish"),
    "kill -9 when all have it and nobody knows": at("commit"),
    "kill -9 between commit and answer": at("answer"),
    "kill -9 of a replica with entries to sync": at("append"),
    "kill -9 between a replica's sync and its acknowledgement": at("synced"),
    "kill -9 between the state's sync and the log's knowing": at("applied"),
    "kill -9 of who has just taken over": at("takeover"),
    "kill -9 during a copy of all, after a lost disk": at("copy"),
    "kill -9 before a blob has its name": at("file"),
    "SIGSTOP of the primary": primary_stopped,
    "SIGSTOP of a replica": replica_stopped,
    "rolling restart": rolling_restart,
    "handover": handover,
    "kill -9 of a client": client_killed,
    "kill -9 of etcd's leader": store_leader_killed,
    "SIGSTOP of etcd's leader": store_leader_stopped,
    "kill -9 of all etcd servers": stores_killed,
}
ALONE = (
    "kill -9 of all nodes",
    "kill -9 during a copy of all, after a lost disk",
    "rolling restart",
)
