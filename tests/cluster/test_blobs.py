"""Files of blobs on a live cluster: stored, replicated, fetched, resumed, kept through takeovers and copies."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from ZODB.blob import BushyLayout, FilesystemHelper

from springtide.testing.admin import compare
from springtide.testing.cluster import LocalCluster
from tests.cluster.blob_client import BlobClient, Refused, blob_of, chunks, code, write
from tests.cluster.load import check_equal, wait_until

OID, OTHER = bytes(7) + b"\x01", bytes(7) + b"\x02"
CONTENT = os.urandom(3 * 2**20 + 17)


def blobs(cluster: LocalCluster, node: str) -> Path:
    """Where a node keeps its files; a cluster that was reset has more than one directory."""
    (found,) = cluster.data(node).rglob("blobs")
    return found


def files(cluster: LocalCluster, node: str) -> dict[str, str]:
    """Committed files of a node, and what is in them."""
    base = blobs(cluster, node)
    return {str(path.relative_to(base)): hashlib.sha256(path.read_bytes()).hexdigest() for path in base.rglob("*.blob")}


def wait_for_files(cluster: LocalCluster, count: int) -> None:
    """Until every node has applied as many, the same ones."""

    def there(_: object) -> bool:
        found = [files(cluster, node) for node in cluster.nodes]
        return len(found[0]) == count and all(one == found[0] for one in found)

    cluster.wait_for(f"{count} equal files on every node", there)


def client(cluster: LocalCluster, node: str | None = None) -> BlobClient:
    return BlobClient(cluster.address(node or cluster.primary()))


def test_a_file_is_on_every_node_and_comes_back_from_each(cluster: LocalCluster) -> None:
    with client(cluster) as primary:
        tid = primary.commit(OID, CONTENT)

    wait_for_files(cluster, 1)
    for node in cluster.nodes:
        with client(cluster, node) as one:
            found = one.fetch(OID, tid)
            assert found.digest.digest() == found.head.digest and found.size == len(CONTENT)
            assert one.fetch(OID, tid, offset=3 * 2**20).size == 17
            assert one.fetch(OTHER, tid).none
    check_equal(cluster)


def test_verify_finds_a_file_that_is_damaged_or_gone(cluster: LocalCluster) -> None:
    with client(cluster) as primary:
        first, second = primary.commit(OID, CONTENT), primary.commit(OTHER, b"another")
    wait_for_files(cluster, 2)
    with cluster.admin() as admin:
        whole = compare(admin, files=True)
        assert whole.equal and whole.files == 6

        helper = FilesystemHelper(str(blobs(cluster, "a")))
        damaged, missing = Path(helper.getBlobFilename(OID, first)), Path(helper.getBlobFilename(OTHER, second))
        damaged.chmod(0o644)
        damaged.write_bytes(CONTENT[:-1] + b"?")
        missing.unlink()
        found = compare(admin, files=True)

    assert found.differences == [
        f"node a: {damaged} is not what was committed",
        f"node a: {missing} is missing",
    ]


def test_zodb_finds_the_files_in_its_own_layout_read_only(cluster: LocalCluster) -> None:
    with client(cluster) as primary:
        tid = primary.commit(OID, CONTENT)
    wait_for_files(cluster, 1)

    helper = FilesystemHelper(str(blobs(cluster, "a")))

    path = Path(helper.getBlobFilename(OID, tid))
    assert isinstance(helper.layout, BushyLayout) and path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == path.parent.stat().st_mode & 0o444
    assert [oid for oid, _ in helper.listOIDs()] == [OID]


def test_a_follower_holds_the_file_when_the_vote_is_answered(cluster: LocalCluster) -> None:
    blob = blob_of(CONTENT)
    with client(cluster) as primary:
        primary.store(blob, chunks(CONTENT))
        primary.vote(os.urandom(24), [write(OID, blob)])

        name = blob.id.hex() + blob.digest.hex()
        held = [node for node in cluster.nodes if (blobs(cluster, node) / "incoming" / name).exists()]

    assert held == list(cluster.nodes)


def test_storing_goes_on_where_it_broke_off(cluster: LocalCluster) -> None:
    blob = blob_of(CONTENT)
    with client(cluster) as primary:
        assert primary.store(blob, [CONTENT[:1000], CONTENT[1000:5000]]) == 5000
        assert primary.held(blob) == 5000
        assert primary.store(blob, chunks(CONTENT, 4000), offset=4000) == len(CONTENT)
        assert primary.held(blob) == len(CONTENT)

        voted = primary.vote(b"t" * 24, [write(OID, blob)])
        tid = primary.finish(b"t" * 24, voted.epoch)

        assert primary.fetch(OID, tid).digest.digest() == blob.digest


def test_a_vote_names_the_files_that_are_missing_and_waits_for_them(cluster: LocalCluster) -> None:
    blob, transaction = blob_of(CONTENT), os.urandom(24)
    with client(cluster) as primary:
        assert list(primary.vote(transaction, [write(OID, blob)]).missing_blobs) == [blob.id]
        primary.store(blob, chunks(CONTENT))

        voted = primary.vote(transaction, (), count=1)

        assert not voted.missing_blobs and primary.finish(transaction, voted.epoch)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda c: (blob_of(c), [c[:-1] + b"?"], 0), "CODE_BAD_REQUEST"),
        (lambda c: (blob_of(c), [c, b"more"], 0), None),
        (lambda c: (blob_of(c), [b"from the middle"], 100), "CODE_BAD_REQUEST"),
        (lambda c: (blob_of(c), [c], len(c) + 1), "CODE_BAD_REQUEST"),
    ],
)
def test_what_is_not_the_file_that_was_announced_is_refused(
    cluster: LocalCluster, spoil: Callable[[bytes], tuple[object, list[bytes], int]], expected: str | None
) -> None:
    content = b"some content that ends well" * 10
    blob, data, offset = spoil(content)
    with client(cluster) as primary:
        if expected is None:
            assert primary.store(blob, data, offset) == len(content)
            return
        with pytest.raises(Refused) as refused:
            primary.store(blob, data, offset)
        assert refused.value.code == code(expected)
        assert primary.held(blob) == 0
        assert primary.commit(OID, b"the node goes on")


def test_only_the_primary_stores(cluster: LocalCluster) -> None:
    replica = next(node for node in cluster.nodes if node != cluster.primary())

    with client(cluster, replica) as other, pytest.raises(Refused) as refused:
        other.store(blob_of(CONTENT), chunks(CONTENT))

    assert refused.value.code == code("CODE_NOT_PRIMARY")


def test_the_last_abort_frees_the_files(cluster: LocalCluster) -> None:
    blob, transaction = blob_of(CONTENT), os.urandom(24)
    with client(cluster) as primary:
        primary.store(blob, chunks(CONTENT), transaction=transaction)
        primary.vote(transaction, [write(OID, blob)])

        primary.abort(transaction)

        assert primary.held(blob) == 0


def test_a_copy_of_a_committed_file_needs_no_storing(cluster: LocalCluster) -> None:
    transaction = os.urandom(24)
    with client(cluster) as primary:
        first = primary.commit(OID, CONTENT)
        second = primary.commit(OID, b"another content", first)
        again = blob_of(CONTENT)

        voted = primary.vote(transaction, [write(OID, again, second, data_tid=first)])
        tid = primary.finish(transaction, voted.epoch)

        assert primary.fetch(OID, tid).digest.digest() == again.digest
    wait_for_files(cluster, 3)


def test_an_empty_file_is_a_file(cluster: LocalCluster) -> None:
    with client(cluster) as primary:
        tid = primary.commit(OID, b"")

        found = primary.fetch(OID, tid)

    assert found.head.size == found.size == 0 and not found.none


def test_a_vote_after_a_takeover_finds_the_files_at_the_new_primary(cluster: LocalCluster) -> None:
    blob, transaction = blob_of(CONTENT), os.urandom(24)
    former = cluster.primary()
    with client(cluster) as primary:
        primary.store(blob, chunks(CONTENT))
        primary.vote(transaction, [write(OID, blob)])
        cluster.kill(former)
    cluster.wait_for("another primary", lambda _: cluster.primary() != former)

    with client(cluster) as primary:
        voted = primary.vote(transaction, [write(OID, blob)])
        assert not voted.missing_blobs
        tid = primary.finish(transaction, voted.epoch)
        assert primary.fetch(OID, tid).digest.digest() == blob.digest

    cluster.start(former)
    cluster.wait_in_sync()
    wait_for_files(cluster, 1)
    check_equal(cluster)


def test_a_follower_that_was_away_fetches_the_files_before_it_is_in_sync(cluster: LocalCluster) -> None:
    away = next(node for node in cluster.nodes if node != cluster.primary())
    cluster.kill(away)
    with client(cluster) as primary:
        tids = [primary.commit(bytes(7) + bytes([at]), CONTENT + bytes([at])) for at in range(1, 6)]

    cluster.start(away)
    cluster.wait_in_sync()
    others = [node for node in cluster.nodes if node != away]
    for node in others:
        cluster.kill(node)  # what it acknowledged, it has by itself

    wanted = {at: hashlib.blake2b(CONTENT + bytes([at]), digest_size=16).digest() for at in range(1, 6)}
    for at, tid in enumerate(tids, 1):
        with client(cluster, away) as one:
            assert one.fetch(bytes(7) + bytes([at]), tid).digest.digest() == wanted[at]


def test_a_node_that_copies_the_database_copies_its_files(tmp_path: Path) -> None:
    with LocalCluster(3, settings={"log_retention_bytes": "1MiB"}) as cluster:
        lost = next(node for node in cluster.nodes if node != cluster.primary())
        cluster.kill(lost)
        cluster.wipe(lost)
        with client(cluster) as primary:
            for at in range(1, 11):
                primary.commit(bytes(7) + bytes([at]), CONTENT[: at * 100_000])
            for at in range(20):
                fill(primary, at)

        cluster.start(lost)
        cluster.wait_in_sync()

        assert "copying the database" in cluster.logs(lost, 1_000)
        wait_for_files(cluster, 10)
        check_equal(cluster)


def test_files_survive_when_every_node_is_killed_at_once(cluster: LocalCluster) -> None:
    with client(cluster) as primary:
        tids = [primary.commit(bytes(7) + bytes([at]), CONTENT[: at * 1000]) for at in range(1, 20)]
        for node in cluster.nodes:
            cluster.kill(node)  # some of it is not applied yet

    for node in cluster.nodes:
        cluster.start(node, wait=False)
    cluster.wait_in_sync()
    with client(cluster) as primary:
        for at, tid in enumerate(tids, 1):
            assert primary.fetch(bytes(7) + bytes([at]), tid).size == at * 1000
    wait_for_files(cluster, len(tids))
    with cluster.admin() as admin:
        assert compare(admin, files=True).differences == []


def test_a_copy_that_is_interrupted_goes_on_and_has_every_file(tmp_path: Path) -> None:
    with LocalCluster(3, settings={"log_retention_bytes": "1MiB"}) as cluster:
        lost = next(node for node in cluster.nodes if node != cluster.primary())
        cluster.kill(lost)
        cluster.wipe(lost)
        with client(cluster) as primary:
            for at in range(1, 61):
                primary.commit(bytes(7) + bytes([at]), CONTENT[at:])
            for at in range(20):
                fill(primary, at)
        cluster.start(lost, wait=False)
        wait_until("a few files are there", lambda: whole(cluster, lost) > 5)

        cluster.kill(lost)
        there = whole(cluster, lost)
        cluster.start(lost)
        cluster.wait_in_sync()

        assert 5 < there < 60, "it was interrupted in the middle"
        wait_for_files(cluster, 60)
        with cluster.admin() as admin:
            assert compare(admin, files=True).equal


def whole(cluster: LocalCluster, node: str) -> int:
    """How many files have come, and are whole."""
    return sum(not path.suffix for path in cluster.data(node).glob("blobs/incoming/*"))


def fill(primary: BlobClient, number: int) -> None:
    """Records enough for the log to forget what came before them."""
    transaction = os.urandom(24)
    writes = [write((number * 1000 + at).to_bytes(8, "big"), None) for at in range(100, 130)]
    for one in writes:
        one.data = bytes(10_000)
    voted = primary.vote(transaction, writes)
    primary.finish(transaction, voted.epoch)
