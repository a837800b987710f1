from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from springtide import errors
from springtide.engine import Engine, sealed
from springtide.engine.files import Files
from springtide.engine.identity import DirectoryLock
from tests.unit.engine.disk import SMALL, FailingFiles, opened, tell


def test_an_empty_directory_becomes_a_node_that_has_joined_nothing(tmp_path):
    async def story(engine):
        found = engine.identity
        assert (found.node, found.cluster, found.history, found.starts, found.promised) == ("a", "", "", 1, 0)
        assert len(found.incarnation) == 32

    tell(tmp_path / "new" / "directory", story)


def test_what_was_adopted_and_promised_is_there_after_a_restart(tmp_path):
    async def first(engine):
        await engine.adopt("cluster", "history")
        await engine.promise(7)
        await engine.promise(5)

    async def second(engine):
        found = engine.identity
        assert (found.cluster, found.history, found.promised, found.starts) == ("cluster", "history", 7, 2)

    tell(tmp_path, first)
    tell(tmp_path, second)


def test_an_incarnation_stays_until_it_is_renewed(tmp_path):
    seen = []

    async def story(engine):
        seen.append(engine.identity.incarnation)
        if len(seen) == 2:
            await engine.renew_incarnation()
            seen.append(engine.identity.incarnation)

    tell(tmp_path, story)
    tell(tmp_path, story)

    assert seen[0] == seen[1] != seen[2]


def test_a_directory_in_use_is_occupied(tmp_path):
    async def story(engine):
        with pytest.raises(errors.Occupied, match=r"is in use by another process.*: stop that process, or give"):
            Engine.open(tmp_path, "a", SMALL)

    tell(tmp_path, story)


def test_a_directory_of_another_node_is_foreign_and_is_let_go_again(tmp_path):
    async def story(engine):
        pass

    tell(tmp_path, story)

    with pytest.raises(errors.ForeignDirectory, match="belongs to node 'a', this node is 'b'"):
        Engine.open(tmp_path, "b", SMALL)
    tell(tmp_path, story)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 2, "nose": "a"}', b"\xff\xfe"])
def test_an_identity_that_is_not_one_is_damage(tmp_path, content):
    (tmp_path / "identity.json").write_bytes(content)

    with pytest.raises(errors.Damaged, match=r"identity\.json is not an identity"):
        Engine.open(tmp_path, "a", SMALL)


def test_one_flipped_bit_of_an_identity_is_never_taken_for_one(tmp_path):
    async def story(engine):
        await engine.adopt("cluster", "history")
        await engine.promise(7)

    tell(tmp_path, story)
    path = tmp_path / "identity.json"
    written = path.read_bytes()
    said = sealed.unseal(written)

    for at in range(8 * len(written)):
        flipped = bytearray(written)
        flipped[at // 8] ^= 1 << at % 8
        try:
            assert sealed.unseal(bytes(flipped)) == said, "space between words may differ, what they say may not"
        except ValueError:
            continue


def test_an_identity_without_a_checksum_is_damage_and_what_to_do_is_said(tmp_path):
    fields = {"format": 1, "node": "a", "incarnation": "x", "cluster": "", "history": "", "starts": 1, "promised": 0}
    (tmp_path / "identity.json").write_text(json.dumps(fields))

    with pytest.raises(errors.Damaged, match=r"checksum.*move .* away.*with an empty directory.*restore a backup"):
        Engine.open(tmp_path, "a", SMALL)


def test_a_missing_identity_beside_data_is_damage(tmp_path):
    async def story(engine):
        pass

    tell(tmp_path, story)
    (tmp_path / "identity.json").unlink()

    with pytest.raises(errors.Damaged, match=r"identity\.json is missing"):
        Engine.open(tmp_path, "a", SMALL)


def test_a_newer_identity_is_refused(tmp_path):
    (tmp_path / "identity.json").write_bytes(sealed.seal({"format": 3, "who": "a"}))

    with pytest.raises(errors.NewerFormat, match="format 3"):
        Engine.open(tmp_path, "a", SMALL)


def test_a_promise_that_could_not_be_written_stops_the_engine(tmp_path):
    files = FailingFiles()

    async def whole():
        async with opened(tmp_path, files=files) as engine:
            failures = []
            engine.on_failure = failures.append
            files.fail_next("fdatasync")
            with pytest.raises(errors.DiskFailed, match=r"identity\.json"):
                await engine.promise(3)
            assert engine.identity.promised == 0
            assert len(failures) == 1
            with pytest.raises(errors.DiskFailed, match="writes no more after a failure"):
                await engine.promise(4)

    asyncio.run(whole())


class Noting(Files):
    def __init__(self) -> None:
        self.synced: list[Path] = []

    def sync_directory(self, path: Path) -> None:
        self.synced.append(path)
        super().sync_directory(path)


def test_the_name_of_a_new_directory_is_durable_with_all_above_it(tmp_path: Path) -> None:
    files = Noting()

    DirectoryLock(tmp_path / "srv" / "node", files).release()

    assert {tmp_path, tmp_path / "srv"} <= set(files.synced)


def test_a_directory_that_was_there_may_have_been_made_by_somebody_who_died_before_its_name_was_synced(
    tmp_path: Path,
) -> None:
    files = Noting()
    (tmp_path / "node").mkdir()

    DirectoryLock(tmp_path / "node", files).release()

    assert files.synced == [tmp_path]
