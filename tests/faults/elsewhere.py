"""Faults of what lies around the processes: networks, disks, clocks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from springtide.testing.cluster import ClusterFailed
from tests.faults.arena import Arena, Fault, NotTried
from tests.faults.attacked import CLIENTS, STORES
from tests.faults.links import Links, Weather

# -- partitions -----------------------------------------------------------------------------------


def one_way(arena: Arena) -> Iterator[None]:
    one, other = arena.chance.sample(arena.cluster.nodes, 2)
    arena.cut([one], [other], both=False)
    arena.say(f"cut: {arena.title(one)} is not heard by {arena.title(other)}")
    yield


def ring(arena: Arena) -> Iterator[None]:
    """Each hears its neighbours; with three nodes, only the one before it."""
    nodes = arena.cluster.nodes
    count = len(nodes)
    for at, node in enumerate(nodes):
        if count == 3:
            arena.cut([node], [nodes[(at + 2) % count]], both=False)
        else:
            arena.cut([node], [nodes[(at + step) % count] for step in range(2, count - 1)])
    arena.say(f"ring: each of {', '.join(nodes)} hears {'the one before it' if count == 3 else 'its two neighbours'}")
    yield


def minority_with_primary(arena: Arena) -> Iterator[None]:
    primary = arena.primary()
    others = [node for node in arena.cluster.nodes if node != primary]
    few = [primary, *arena.chance.sample(others, (len(others) + 1) // 2 - 1)]
    arena.cut(few, [*(node for node in others if node not in few), *STORES])
    arena.say(f"partition: {', '.join(few)} (with the primary) from all other nodes and etcd; clients see both sides")
    yield


def primary_from_store(arena: Arena) -> Iterator[None]:
    primary = arena.primary()
    arena.cut([primary], STORES)
    arena.say(f"node {primary}, the primary, is cut from etcd only")
    yield


def primary_from_nodes(arena: Arena) -> Iterator[None]:
    primary = arena.primary()
    arena.cut([primary], arena.cluster.nodes)
    arena.say(f"node {primary}, the primary, is cut from all other nodes, and still reaches etcd and clients")
    yield


def store_from_all(arena: Arena) -> Iterator[None]:
    arena.cut(STORES, arena.cluster.nodes)
    arena.say("etcd is cut from everyone")
    yield


def store_leader_alone(arena: Arena) -> Iterator[None]:
    leader = arena.cluster.store_leader()
    if leader is None:
        raise NotTried("etcd has no leader now")
    primary = arena.primary()
    arena.cut([leader, primary], [store for store in STORES if store != leader])
    arena.say(f"partition: {leader}, the leader of etcd, and node {primary}, the primary, from the other etcd servers")
    yield


def clients_from_primary(arena: Arena) -> Iterator[None]:
    primary, machine = arena.primary(), arena.chance.choice(CLIENTS)
    arena.cut([machine], [primary])
    arena.say(f"the clients on {machine} are cut from node {primary}, the primary")
    yield


# -- links ----------------------------------------------------------------------------------------


def slow_links(arena: Arena) -> Iterator[None]:
    links = _links(arena)
    weather = Weather(delay=arena.chance.choice((0.005, 0.02, 0.05)), jitter=arena.chance.choice((0.0, 0.02, 0.1)))
    links.weather(links.between(_everybody(arena), _everybody(arena)), weather)
    arena.say(f"every link is late by {1e3 * weather.delay:.0f} to {1e3 * (weather.delay + weather.jitter):.0f} ms")
    yield
    links.heal()


def narrow_link(arena: Arena) -> Iterator[None]:
    links, one = _links(arena), arena.replica()
    links.weather(links.between([one], [arena.primary()]), Weather(bytes_per_second=20_000))
    arena.say(f"between node {one} and the primary only 20 kB/s pass")
    yield
    links.heal()


def resets(arena: Arena) -> Iterator[None]:
    links = _links(arena)
    everybody = links.between(_everybody(arena), _everybody(arena))
    arena.say("every connection is reset, three times")
    for _ in range(3):
        links.reset(everybody)
        time.sleep(0.2)
    yield


def answers_lost(arena: Arena) -> Iterator[None]:
    """What is asked arrives and is done; that it was, is never heard."""
    links = _links(arena)
    near = arena.chance.choice(([arena.primary()], list(CLIENTS)))
    far = STORES if near[0] not in CLIENTS else [arena.primary()]
    lost = links.between(near, far)
    links.weather(lost, Weather(swallow=True))
    arena.say(f"what {', '.join(far)} answers {', '.join(near)} is lost")
    yield
    links.reset(lost)
    links.heal()


def _links(arena: Arena) -> Links:
    if arena.cluster.links is None:
        raise NotTried(arena.cluster.network.missing)
    return arena.cluster.links


def _everybody(arena: Arena) -> list[str]:
    return [*arena.cluster.nodes, *STORES, *CLIENTS]


# -- disks ----------------------------------------------------------------------------------------


def disk_full(arena: Arena) -> Iterator[None]:
    disks = arena.cluster.disks
    able = [node for node in arena.up() if not disks[node].full]
    if not able:
        raise NotTried(next(iter(disks.values())).full)
    node = arena.chance.choice(able)
    arena.say(f"the disk of {arena.title(node)} is full")
    disks[node].fill()
    yield
    time.sleep(1.0)
    disks[node].free()
    _start_again(arena, node)


def disk_hung(arena: Arena) -> Iterator[None]:
    disks = arena.cluster.disks
    able = [node for node in arena.up() if not disks[node].hangs]
    if not able:
        raise NotTried(next(iter(disks.values())).hangs)
    node = arena.chance.choice(able)
    arena.say(f"the disk of {arena.title(node)} hangs")
    guard = disks[node].hang(15.0)
    yield
    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(60)
    arena.say(f"the disk of node {node} goes on")


def disk_lost(arena: Arena) -> Iterator[None]:
    node = arena.any_node()
    arena.say(f"{arena.title(node)} is killed and loses its disk")
    arena.kill(node)
    yield
    arena.cluster.disks[node].lose()
    arena.start(node)


def bit_flipped(arena: Arena) -> Iterator[None]:
    """Whatever becomes of the node then, its operator gives it a new disk."""
    node, cluster = arena.any_node(), arena.cluster
    arena.say(f"{arena.title(node)} is killed, and its disk is damaged")
    arena.kill(node)
    flipped = cluster.disks[node].flip(arena.chance)
    arena.start(node)
    process = cluster.processes[node]
    with contextlib.suppress(ClusterFailed):
        cluster.until("the damage is noticed", lambda: not process.running, 2.0)
    yield
    if process.running:
        arena.say(f"{flipped} is another: nothing has read it yet")
    else:
        arena.say(f"{flipped} is another, and the node says: {cluster.said(node)}")
        if process.status != 1 or "springtide:" not in cluster.said(node):
            raise ClusterFailed(f"node {node} ended with {process.status}: {cluster.said(node, 20)}")
    arena.kill(node)
    cluster.disks[node].lose()
    arena.start(node)


def _start_again(arena: Arena, node: str) -> None:
    """A node that could not write has stopped, and said so."""
    process = arena.cluster.processes[node]
    if not process.running:
        arena.say(f"node {node} had stopped: {arena.cluster.said(node)}")
        if process.status != 1:
            raise ClusterFailed(f"node {node} ended with {process.status}: {arena.cluster.said(node, 20)}")
        process.kill()
    arena.start(node)


# -- clocks, compaction ---------------------------------------------------------------------------


def clock_jumps(arena: Arena) -> Iterator[None]:
    clock = arena.cluster.clock
    if clock.missing:
        raise NotTried(clock.missing)
    jumping = arena.chance.sample(arena.cluster.nodes, arena.chance.choice((1, 1, 2, len(arena.cluster.nodes))))
    jumps = {node: arena.chance.choice((-3600, -60, -5, 5, 30, 3600)) for node in jumping}
    arena.say("clocks jump: " + ", ".join(f"{arena.title(node)} {jumps[node]:+d} s" for node in sorted(jumps)))
    for node, seconds in jumps.items():
        clock.jump(node, seconds)
    yield
    for node in jumps:
        clock.jump(node, 0)


def compaction(arena: Arena) -> Iterator[None]:
    """While a node cannot hear of it: what it watched from is gone when it is back."""
    cluster = arena.cluster
    node = arena.any_node()
    if not cluster.network.missing:
        arena.cut([node], STORES)
    for store in STORES:
        with contextlib.suppress(OSError):
            revision = cluster.ask_store(store, "kv/range", key="AA==", range_end="AA==")["header"]["revision"]
            cluster.ask_store(store, "kv/compaction", revision=revision, physical=True)
            arena.say(f"etcd forgets everything up to revision {revision}, while node {node} is cut from it")
            break
    else:
        raise NotTried("no etcd server answers now")
    yield


FAULTS: dict[str, Fault] = {
    "partition: one way": one_way,
    "partition: ring": ring,
    "partition: minority with the primary": minority_with_primary,
    "partition: primary from etcd only": primary_from_store,
    "partition: primary from nodes only": primary_from_nodes,
    "partition: etcd from everyone": store_from_all,
    "partition: etcd's leader with the primary": store_leader_alone,
    "partition: clients from the primary": clients_from_primary,
    "links: delay and reordering": slow_links,
    "links: narrow": narrow_link,
    "links: resets": resets,
    "links: answers lost": answers_lost,
    "disk full": disk_full,
    "disk hung": disk_hung,
    "disk lost": disk_lost,
    "bit flipped": bit_flipped,
    "clocks jump": clock_jumps,
    "etcd compaction": compaction,
}
ALONE = ("disk full", "disk lost", "bit flipped")
#: After these a node copies all: how long that takes depends on how much there is.
LOSING = ("disk lost", "bit flipped", "kill -9 during a copy of all, after a lost disk")
