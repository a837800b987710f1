from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from springtide import errors
from springtide.coordinator import embedded
from springtide.coordinator.embedded import Core, EmbeddedStore
from springtide.coordinator.statefile import StateFile
from springtide.coordinator.store import Announcement
from springtide.records.ids import NodeId
from tests.unit.coordinator.build import record


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 10))


A = Announcement(NodeId("a"), "host:1", "1", "a.1")

# -- the file -----------------------------------------------------------------------------------


def test_a_file_holds_what_was_saved_last(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "new" / "record")
    first = file.load()
    file.save(b"one")
    file.save(b"two\nlines")
    file.close()

    assert first is None
    assert StateFile(tmp_path / "new" / "record").load() == b"two\nlines"


@pytest.mark.parametrize("damage", [b"", b"x", b"springtide-coordinator 1 00000000\n{}", b"springtide-coordinator 1"])
def test_a_damaged_file_is_not_taken_for_an_empty_one(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "record").write_bytes(damage)

    with pytest.raises(errors.Damaged, match="springtide recover"):
        Core(tmp_path / "record")


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "record"
    file = StateFile(path)
    file.save(b'{"clusters": {}}')
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(errors.Damaged):
            file.load()


def test_a_file_has_one_holder(tmp_path: Path) -> None:
    holder = Core(tmp_path / "record")
    with pytest.raises(errors.Occupied):
        Core(tmp_path / "record")
    holder.close()

    Core(tmp_path / "record").close()


def test_what_was_left_of_an_interrupted_write_does_no_harm(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "record")
    file.save(b"old")
    (tmp_path / "record.new").write_bytes(b"half of the ne")

    assert file.load() == b"old"


def test_a_failed_write_is_not_retried_and_shows_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        store = EmbeddedStore.open(tmp_path / "sub" / "record", "x")
        await store.swap(record(), 0)
        shutil.rmtree(tmp_path / "sub")

        with pytest.raises(errors.DiskFailed, match="cannot be written"):
            await store.swap(record(change="c1"), 1)
        with pytest.raises(errors.DiskFailed):
            await store.raise_starts(NodeId("a"), 3)
        (tmp_path / "sub").mkdir()
        with pytest.raises(errors.DiskFailed, match="earlier write"):
            await store.swap(record(change="c1"), 1)

        view = await store.read()
        assert (view.record, view.revision, view.starts) == (record(), 1, {})

    run(story)


# -- announcements, by an injected clock ----------------------------------------------------------


def test_an_announcement_lasts_for_its_time_by_the_given_clock(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        store = EmbeddedStore.open(tmp_path / "record", "x", clock)
        await store.announce(A, 3)
        clock.now += 2.9
        before = await store.read()
        clock.now += 0.2

        assert before.announcements == {"a": A} and not (await store.read()).announcements

    run(story)


def test_announcements_are_not_kept_across_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        store = EmbeddedStore.open(tmp_path / "record", "x")
        await store.announce(A, 3600)
        await store.close()

        assert not (await EmbeddedStore.open(tmp_path / "record", "x").read()).announcements

    run(story)


@pytest.mark.parametrize("ttl", [0, -1, 3601, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(tmp_path: Path, ttl: float) -> None:
    async def story() -> None:
        store = EmbeddedStore.open(tmp_path / "record", "x")
        with pytest.raises(errors.BadRequest):
            await store.announce(A, ttl)

    run(story)


def test_there_is_a_bound_on_everything_that_can_be_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "CLUSTERS_MAX", 2)
    monkeypatch.setattr(embedded, "NODES_MAX", 2)
    core = Core(tmp_path / "record")
    for number in range(2):
        core.raise_starts("x", f"n{number}", 1)
        core.announce("y", f"n{number}", b"", 3)

    with pytest.raises(errors.BadRequest, match="2 nodes are counted"):
        core.raise_starts("x", "n2", 1)
    with pytest.raises(errors.BadRequest, match="2 nodes are announced"):
        core.announce("y", "n2", b"", 3)
    with pytest.raises(errors.BadRequest, match="2 clusters"):
        core.raise_starts("z", "n0", 1)
    with pytest.raises(errors.TooLarge):
        core.swap("x", bytes(300_000), 0)
    core.raise_starts("x", "n1", 2)
