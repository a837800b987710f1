"""Do the troubles do what their names say? A fault that nobody meets proves nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest

from springtide import errors
from springtide.coordinator.store import Refused, Swapped
from springtide.coordinator.topology import Record, create
from springtide.records.entries import Entry, Kind, following
from springtide.records.ids import Member, NodeId
from springtide.records.position import ORIGIN
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.cluster import Cluster
from springtide.testing.simulator.damage import is_noticed, survivors
from springtide.testing.simulator.faults import KINDS
from springtide.testing.simulator.links import Speed
from springtide.testing.simulator.loop import Life, Stuck, VirtualLoop, run
from springtide.testing.simulator.network import Network
from springtide.testing.simulator.run import Report, simulate, stage
from springtide.testing.simulator.store import HOST, SimStore, StoreServer
from springtide.testing.simulator.tally import Tally
from tests.simulation.test_simulator import _echo

STEADY = Speed(jitter_seconds=0.0, hiccup_chance=0.0)


def entries(count: int) -> list[Entry]:
    last, made = ORIGIN, []
    for number in range(count):
        made.append(following(last, 1, Kind.TRANSACTION, bytes([number]) * (300 * number + 1)))
        last = made[-1].point
    return made


def test_a_torn_write_leaves_what_was_synced_and_a_part_of_the_rest() -> None:
    made = entries(8)
    found = {survivors(ORIGIN, made[:3], made[3:], Random(seed)) for seed in range(300)}

    assert found == {0, 1, 2, 3, 4, 5}


def test_any_flipped_bit_of_an_entry_is_noticed() -> None:
    entry = entries(3)[-1]

    assert all(is_noticed(entry, Random(seed)) for seed in range(200))


def test_a_clock_that_drifts_fires_its_timers_late_or_early() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        fired: list[float] = []

        async def wait() -> None:
            await asyncio.sleep(1)
            fired.append(round(loop.now, 3))

        fast, slow = Life("fast", rate=1.25), Life("slow", rate=0.8)
        await asyncio.gather(fast.start(wait()), slow.start(wait()))
        fast.drift(1.0, loop.now)
        await fast.start(wait())
        return fired

    assert run(main) == [0.8, 1.25, 2.25]


def test_going_round_for_ever_in_one_moment_is_noticed() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stuck):
        run(main)


def test_what_is_lost_of_a_stream_is_lost_with_all_that_follows_and_the_stream_breaks() -> None:
    async def main() -> list[object]:
        network, here, there = Network(Chance(1), STEADY), Life("a"), Life("b")
        heard: list[object] = []

        async def listen(end: object) -> None:
            while (message := await end.receive()) is not None:  # type: ignore[attr-defined]
                heard.append(message)

        network.listen("b", there, "listen", listen)
        async with network.connect(here, "a", "b", "listen") as stream:
            await stream.send(1)
            network.link("a", "b").lost_chance = 1.0
            await stream.send(2)
            network.link("a", "b").lost_chance = 0.0
            await stream.send(3)
            with pytest.raises(errors.Unreachable):
                await stream.receive()
        return heard

    assert run(main) == [1]


def test_a_slow_link_makes_answers_late() -> None:
    async def main() -> float:
        network, here, there = Network(Chance(1), STEADY), Life("a"), Life("b")
        network.listen("b", there, "echo", _echo)
        async with network.connect(here, "a", "b", "echo") as stream:
            network.link("a", "b").slow_seconds = 2.0
            await stream.send(1)
            await stream.receive()
        return network.loop.now

    assert run(main) > 0.1


# -- the store ---------------------------------------------------------------------------------


def record(change: str) -> Record:
    me = Member(NodeId("a"), "a1")
    return create(None, cluster="c", history="h", me=me, uptime="u", initial_nodes=1, change=change)


def store_and_client() -> tuple[StoreServer, SimStore, Network]:
    network, server = Network(Chance(1), STEADY), StoreServer()
    client = SimStore(server, network, Life("a#1"), Chance(1))
    client.lost_chance = 0.0
    return server, client, network


def test_a_swap_that_is_heard_twice_is_known_by_its_record() -> None:
    async def main() -> list[bool]:
        server, client, network = store_and_client()
        network.link("a", HOST).twice_chance = 1.0
        network.link("a", HOST).shuffle_seconds = 0.3
        swapped = [isinstance(await client.swap(record(str(n)), n), Swapped) for n in range(8)]
        late = await client.swap(record("late"), 3)
        return [*swapped, isinstance(late, Refused), server.revision == 8]

    assert all(run(main))


def test_stale_reads_and_a_store_that_was_put_back_show_former_records() -> None:
    async def main() -> list[str]:
        server, client, _ = store_and_client()
        await client.swap(record("first"), 0)
        await asyncio.sleep(5)
        await client.swap(record("second"), 1)
        server.stale_seconds = 3.0
        shown = [(await client.read()).record]
        server.stale_seconds = 0.0
        shown.append((await client.read()).record)
        server.put_back(3.0)
        shown.append((await client.read()).record)
        return [each.change for each in shown if each is not None]

    assert run(main) == ["first", "second", "first"]


# -- what is counted ---------------------------------------------------------------------------


NAMES = {
    *("crash", "crash of all", "restart in place", "pause", "clock jump", "clock drift"),
    *("partition", "one-way cut", "loss", "delay", "reordering", "duplication", "broken streams"),
    *(
        "store outage",
        "store cut off",
        "store answers lost",
        "store reads stale",
        "leases lost early",
        "store put back",
    ),
    *("disk failure", "disk lost", "disk slow", "disk hangs", "disk full"),
    *("write torn", "bit flipped in a log", "bit flipped in a state"),
    *("hand over", "pack", "minimum changed", "node removed"),
}


def test_every_kind_of_trouble_is_there() -> None:
    """That each happens often enough, the counts of ``make simulate`` say."""

    async def look(cluster: Cluster, report: Report) -> None:
        there: set[str] = set()
        for kind in KINDS:
            there |= kind(cluster, Random(1), report.faults).acts().keys()
        assert there == NAMES

    assert not stage(1, look).failed


def test_troubles_are_counted() -> None:
    tally = Tally()
    for seed in range(1, 9):
        tally.add(simulate(seed, trouble_seconds=5.0))

    assert len(tally.faults) > 15 and tally.takeovers > 0


def test_a_tally_names_the_seeds_that_failed() -> None:
    tally = Tally()
    tally.add(Report(7, violations=["I1"], commits=3, takeovers=1, faults=Counter(crash=2)))
    tally.add(Report(8, commits=5, faults=Counter(crash=1, pause=4)))

    assert tally.failed == [7]
    assert (tally.seeds, tally.commits, tally.takeovers, tally.faults["crash"]) == (2, 8, 1, 3)
    assert any("[7]" in line for line in tally.lines())
