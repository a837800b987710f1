"""Files of blobs, for clients: one call of the service at a time, on a real directory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from springtide import errors
from springtide.engine.blobstore import BlobStore
from springtide.node.files import Files
from springtide.primary.leadership import Settings
from springtide.records.ids import Tid, TransactionId, oid, tid
from springtide.wire.v1 import records_pb2
from springtide.wire.v1 import session_pb2 as pb
from tests.unit.engine.disk import commit, opened
from tests.unit.engine.test_blobs import entry, named

CONTENT = b"content " * 1000
BLOB = pb.Blob(id=b"i" * 16, size=len(CONTENT), digest=hashlib.blake2b(CONTENT, digest_size=16).digest())


class Call:
    """What a client sends, and what it is answered."""

    def __init__(self, *parts: pb.BlobPart) -> None:
        self._parts = list(parts)
        self.answers: list[pb.BlobChunk] = []

    async def read(self) -> Any:
        return self._parts.pop(0) if self._parts else grpc.aio.EOF

    async def write(self, message: pb.BlobChunk) -> None:
        self.answers.append(message)


class Core:
    def __init__(self) -> None:
        self.node, self.cluster, self.room = "a", "c", 2**40
        self.reign: Any = SimpleNamespace(named_blobs=lambda: self.voted, touch=self._touch, settings=Settings())
        self.voted: set[bytes] = set()
        self.touched: list[TransactionId] = []
        self.disk = SimpleNamespace(headroom_bytes=lambda: self.room, commit_tid=tid(5), complete=True)
        self.on_copy: list[Callable[[], None]] = []

    def _touch(self, id: TransactionId) -> None:
        self.touched.append(id)

    def not_primary(self) -> errors.NotPrimary:
        return errors.NotPrimary("node a is not the primary", "h:2")

    async def until_tid(self, floor: Tid, seconds: float) -> None:
        if floor > self.disk.commit_tid:
            raise errors.NotCaughtUp("node a is behind")


class Service:
    def __init__(self, blobs: BlobStore) -> None:
        self.core, self.blobs = Core(), blobs
        self.files = Files(self.core, blobs, 10**6)  # type: ignore[arg-type]

    async def store(self, *data: bytes, blob: pb.Blob = BLOB, **head: Any) -> pb.BlobStored:
        parts = [pb.BlobPart(head=pb.BlobHead(blob=blob, **head)), *(pb.BlobPart(data=part) for part in data)]
        return await self.files.store(Call(*parts))

    async def fetch(self, **asked: Any) -> list[pb.BlobChunk]:
        call = Call()
        await self.files.fetch(pb.FetchBlobRequest(**asked), call)
        return call.answers


def scene(directory: Path, story: Callable[[Service, Any], Awaitable[None]]) -> None:
    async def play() -> None:
        async with opened(directory) as engine:
            await story(Service(engine.blobs), engine)

    asyncio.run(asyncio.wait_for(play(), 30))


def code(name: str) -> int:
    return int(records_pb2.Code.Value(name))


def test_a_head_alone_asks_and_changes_nothing(tmp_path: Path) -> None:
    async def story(service: Service, _: Any) -> None:
        assert (await service.store()).held == 0
        assert (await service.store(CONTENT[:3000])).held == 3000
        assert (await service.store()).held == 3000
        assert (await service.store(CONTENT[2000:], offset=2000)).held == len(CONTENT)
        assert (await service.store()).held == len(CONTENT)
        assert (await service.store(b"again")).held == len(CONTENT)

    scene(tmp_path, story)


def test_a_file_that_was_whole_and_not_finished_is_finished_when_it_is_asked_about(tmp_path: Path) -> None:
    async def story(service: Service, engine: Any) -> None:
        (engine.blobs.files.incoming / f"{BLOB.id.hex()}{BLOB.digest.hex()}.part").write_bytes(CONTENT)

        assert (await service.store()).held == len(CONTENT)
        assert not list(engine.blobs.files.incoming.glob("*.part"))

    scene(tmp_path, story)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda core: setattr(core, "reign", None), "CODE_NOT_PRIMARY"),
        (lambda core: setattr(core, "room", 2**26), "CODE_NO_SPACE"),
        (lambda core: setattr(core, "cluster", "another"), "CODE_WRONG_CLUSTER"),
    ],
)
def test_what_this_node_cannot_take_is_refused_before_it_is_sent(
    tmp_path: Path, change: Callable[[Core], None], expected: str
) -> None:
    async def story(service: Service, engine: Any) -> None:
        change(service.core)

        assert (await service.store(CONTENT, cluster="c")).error.code == code(expected)
        assert not list(engine.blobs.files.incoming.iterdir())

    scene(tmp_path, story)


def test_a_file_above_the_limit_is_refused_with_the_name_of_the_limit(tmp_path: Path) -> None:
    async def story(service: Service, _: Any) -> None:
        refused = await service.store(b"x", blob=pb.Blob(id=b"i" * 16, size=10**6 + 1, digest=b"d" * 16))

        assert refused.error.code == code("CODE_TOO_LARGE") and "blob_bytes_max" in refused.error.message

    scene(tmp_path, story)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (pb.BlobPart(data=b"no head"),),
        (pb.BlobPart(head=pb.BlobHead(blob=pb.Blob(id=b"short", size=1, digest=b"d" * 16))), pb.BlobPart(data=b"x")),
        (pb.BlobPart(head=pb.BlobHead(blob=BLOB)), pb.BlobPart(head=pb.BlobHead(blob=BLOB))),
        (pb.BlobPart(head=pb.BlobHead(blob=BLOB, offset=10**9)), pb.BlobPart(data=b"x")),
    ],
)
def test_what_is_malformed_is_refused(tmp_path: Path, parts: tuple[pb.BlobPart, ...]) -> None:
    async def story(service: Service, _: Any) -> None:
        assert (await service.files.store(Call(*parts))).error.code == code("CODE_BAD_REQUEST")

    scene(tmp_path, story)


def test_a_transaction_whose_files_come_does_not_hang_and_its_end_frees_them(tmp_path: Path) -> None:
    async def story(service: Service, engine: Any) -> None:
        id = TransactionId(b"t" * 24)
        await service.store(CONTENT, transaction=id)
        assert service.core.touched == [id]

        service.core.voted = {BLOB.id}
        await service.files.forget(id)
        assert (await service.store()).held == len(CONTENT)
        service.core.voted = set()
        await service.store(CONTENT, transaction=id)
        await service.files.forget(id)

        assert (await service.store()).held == 0

    scene(tmp_path, story)


def test_a_file_is_fetched_from_any_offset(tmp_path: Path) -> None:
    async def story(service: Service, engine: Any) -> None:
        part = engine.blobs.files.receive(named(CONTENT).blob, 0)
        part.write(CONTENT)
        part.finish()
        await commit(engine, [entry(named(CONTENT))])

        head, *data = await service.fetch(oid=oid(7), tid=tid(1), offset=10)

        assert head.head.size == len(CONTENT)
        assert b"".join(chunk.data for chunk in data) == CONTENT[10:]

    scene(tmp_path, story)


def test_why_there_is_no_file_is_told_apart(tmp_path: Path) -> None:
    async def story(service: Service, engine: Any) -> None:
        part = engine.blobs.files.receive(named(CONTENT).blob, 0)
        part.write(CONTENT)
        part.finish()
        await commit(engine, [entry(named(CONTENT))])
        for path in (engine.blobs.files.path(oid(7), tid(1)), engine.blobs.files.waiting(named(CONTENT).blob)):
            path.unlink()

        ((missing,), (none,), (behind,), (bad,)) = (
            await service.fetch(oid=oid(7), tid=tid(1)),
            await service.fetch(oid=oid(8), tid=tid(1)),
            await service.fetch(oid=oid(7), tid=tid(1), floor=tid(9)),
            await service.fetch(oid=b"7", tid=tid(1)),
        )

        assert missing.error.code == code("CODE_BLOB_MISSING") and none.none
        assert behind.error.code == code("CODE_NOT_CAUGHT_UP") and bad.error.code == code("CODE_BAD_REQUEST")

    scene(tmp_path, story)
