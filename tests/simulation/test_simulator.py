"""Can the simulator be believed? One seed is one run. ``test_mutants`` has the bugs that it must find."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from springtide import errors
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.loop import Life, Stuck, VirtualLoop, run
from springtide.testing.simulator.network import End, Network
from springtide.testing.simulator.run import simulate


def test_one_seed_is_one_run() -> None:
    assert simulate(19).story == simulate(19).story


def test_one_seed_is_one_run_in_every_process() -> None:
    """Neither addresses in memory nor the order of sets decide anything."""
    tell = "from springtide.testing.simulator.run import simulate; print('\\n'.join(simulate(19).story))"
    stories = {
        subprocess.run(
            [sys.executable, "-c", tell],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(stories) == 1


def test_the_clock_moves_only_when_nothing_is_left_to_do() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(main) == 3600


def test_waiting_for_nothing_is_noticed() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        run(main)


def test_a_paused_life_goes_on_where_it_stopped() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        ticks: list[float] = []

        async def tick() -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                ticks.append(loop.time())

        life = Life("a")
        task = life.start(tick())
        await asyncio.sleep(1.5)
        life.pause(loop)
        await asyncio.sleep(10)
        life.resume(loop)
        await task
        return ticks

    assert run(main) == [1, 11.5, 12.5]


async def _echo(end: End[object, object]) -> None:
    while (message := await end.receive()) is not None:
        await end.send(message)


def test_messages_of_one_stream_do_not_overtake_each_other() -> None:
    async def main() -> list[object]:
        network, here, there = Network(Chance(1)), Life("a"), Life("b")
        network.listen("b", there, "echo", _echo)
        async with network.connect(here, "a", "b", "echo") as stream:
            for number in range(100):
                await stream.send(number)
            return [await stream.receive() for _ in range(100)]

    assert run(main) == list(range(100))


def test_a_cut_link_holds_messages_until_it_heals() -> None:
    async def main() -> str:
        network, here, there = Network(Chance(1)), Life("a"), Life("b")
        network.listen("b", there, "echo", _echo)
        async with network.connect(here, "a", "b", "echo") as stream:
            network.cut("b", "a")
            await stream.send("hello")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.receive(), 5)
            network.heal()
            try:
                return str(await stream.receive())
            except errors.Unreachable:
                return "broken"

    assert run(main) in ("hello", "broken")


def test_a_process_that_is_gone_refuses_and_a_cut_one_is_silent() -> None:
    async def main() -> list[bool]:
        network, there = Network(Chance(1)), Life("b")
        network.listen("b", there, "echo", _echo)
        listening = await network.refuses("a", "b")
        there.over = True
        network.gone(there)
        gone = await network.refuses("a", "b")
        network.cut("a", "b")
        return [listening, gone, await network.refuses("a", "b")]

    assert run(main) == [False, True, False]
