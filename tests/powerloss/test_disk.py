"""The disk that forgets: as bad as a real one may be, and no worse."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.powerloss.disk import Disk, Unseen
from tests.powerloss.trace import Step

ROOT = Path("/disk")
DATA = "/disk/a"


def made(*steps: Step) -> list[Step]:
    """The directory ``a`` is on the disk, then ``steps``."""
    return [Step("M", DATA), Step("D", "/disk"), *steps]


def file(name: str, inode: int, data: bytes, *, sync: bool = True) -> list[Step]:
    path = f"{DATA}/{name}"
    return [
        Step("O", path, inode=inode),
        Step("W", path, inode=inode, data=data),
        *([Step("S", path, inode=inode)] if sync else []),
    ]


SYNC_DIRECTORY = Step("D", DATA)


def left(steps: list[Step], target: Path, chance: Random | None = None, **options: object) -> dict[str, bytes] | None:
    disk = Disk(ROOT, **options)  # type: ignore[arg-type]
    disk.follow(steps)
    disk.write("a", target / "a", chance)
    return {p.name: p.read_bytes() for p in (target / "a").iterdir()} if (target / "a").exists() else None


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([*file("f", 5, b"x"), SYNC_DIRECTORY], {"f": b"x"}),
        ([*file("f", 5, b"x", sync=False), SYNC_DIRECTORY], {"f": b""}),
        (file("f", 5, b"x"), {}),
        ([*file("f", 5, b"x"), SYNC_DIRECTORY, Step("W", DATA + "/f", inode=5, number=1, data=b"y")], {"f": b"x"}),
        (
            [*file("f", 5, b"x"), SYNC_DIRECTORY, Step("W", DATA + "/f", True, inode=5, number=1, data=b"y")],
            {"f": b"xy"},
        ),
        ([*file("f", 5, b"x"), SYNC_DIRECTORY, Step("U", DATA + "/f")], {"f": b"x"}),
        ([*file("f", 5, b"x"), SYNC_DIRECTORY, Step("U", DATA + "/f"), SYNC_DIRECTORY], {}),
        ([*file("f", 5, b"x"), SYNC_DIRECTORY, Step("T", DATA + "/f", inode=5)], {"f": b"x"}),
        (
            [*file("f", 5, b"x"), SYNC_DIRECTORY, Step("T", DATA + "/f", inode=5), Step("S", DATA + "/f", inode=5)],
            {"f": b""},
        ),
        ([*file("f", 5, b"x"), SYNC_DIRECTORY, Step("R", DATA + "/f", second=DATA + "/g")], {"f": b"x"}),
        (
            [*file("f", 5, b"x"), SYNC_DIRECTORY, Step("R", DATA + "/f", second=DATA + "/g"), SYNC_DIRECTORY],
            {"g": b"x"},
        ),
        (
            [*file("f", 5, b"x"), *file("g", 6, b"y"), Step("R", DATA + "/g", second=DATA + "/f"), SYNC_DIRECTORY],
            {"f": b"y"},
        ),
        (
            [*file("f", 5, b"x"), Step("L", DATA + "/f", second=DATA + "/g"), SYNC_DIRECTORY],
            {"f": b"x", "g": b"x"},
        ),
        # an inode that is used again is another file
        ([*file("f", 5, b"x"), Step("U", DATA + "/f"), *file("g", 5, b"y"), SYNC_DIRECTORY], {"g": b"y"}),
    ],
)
def test_only_what_was_synced_is_left(steps: list[Step], found: dict[str, bytes], tmp_path: Path) -> None:
    assert left(made(*steps), tmp_path) == found


def test_a_directory_whose_name_was_not_synced_is_lost_with_all_that_is_in_it(tmp_path: Path) -> None:
    assert left([Step("M", DATA), *file("f", 5, b"x"), SYNC_DIRECTORY], tmp_path) is None


def test_a_sync_that_is_ignored_is_no_sync(tmp_path: Path) -> None:
    steps = made(*file("f.log", 5, b"x"), *file("g", 6, b"y"), SYNC_DIRECTORY)

    assert left(steps, tmp_path, ignores=lambda path: path.endswith(".log")) == {"f.log": b"", "g": b"y"}


def test_what_was_there_before_is_there(tmp_path: Path) -> None:
    (tmp_path / "disk" / "a").mkdir(parents=True)
    (tmp_path / "disk" / "a" / "f").write_bytes(b"before")
    inode = (tmp_path / "disk" / "a" / "f").stat().st_ino
    disk = Disk(tmp_path / "disk")

    disk.load(tmp_path / "disk" / "a")
    disk.follow([Step("W", str(tmp_path / "disk/a/f"), inode=inode, data=b"B")])

    disk.write("a", tmp_path / "left")
    assert (tmp_path / "left" / "f").read_bytes() == b"before"


def test_a_file_without_a_name_leaves_nothing_and_touches_nothing(tmp_path: Path) -> None:
    nameless = [Step(op, f"{DATA}/#5 (deleted)", inode=5, data=b"other") for op in "WTSX"]

    assert left(made(*file("f", 5, b"x"), SYNC_DIRECTORY, Step("U", DATA + "/f"), *nameless), tmp_path) == {"f": b"x"}


def test_a_map_that_is_written_cannot_be_judged_but_for_the_table_of_readers() -> None:
    disk = Disk(ROOT)
    disk.follow(made(Step("X", DATA + "/lock.mdb")))

    with pytest.raises(Unseen):
        disk.follow([Step("X", DATA + "/data.mdb")])


@given(st.randoms(use_true_random=False), st.binary(min_size=600, max_size=3000))
def test_by_chance_sectors_are_there_or_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, chance: Random, data: bytes
) -> None:
    before = bytes(len(data))
    steps = made(*file("f", 5, before), SYNC_DIRECTORY, Step("W", DATA + "/f", inode=5, data=data))

    found = left(steps, tmp_path_factory.mktemp("torn"), chance)

    assert found is not None
    for at in range(0, len(data), 512):
        assert found["f"][at : at + 512] in (data[at : at + 512], before[at : at + 512])


def test_by_chance_anything_between_all_and_nothing_is_left(tmp_path: Path) -> None:
    data = bytes(range(1, 129)) * 16
    steps = made(
        *file("f", 5, bytes(2048)), SYNC_DIRECTORY, Step("W", DATA + "/f", inode=5, data=data), *file("g", 6, b"y")
    )
    kinds = set()
    for seed in range(60):
        (tmp_path / str(seed)).mkdir()
        found = left(steps, tmp_path / str(seed), Random(seed))
        assert found is not None
        content = "all" if found["f"] == data else "nothing" if found["f"] == bytes(2048) else "torn"
        kinds.add((content, "g" in found))

    assert kinds == {(content, there) for content in ("all", "nothing", "torn") for there in (True, False)}
