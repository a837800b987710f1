"""What is larger than one message travels in several, and nothing else notices."""

from __future__ import annotations

import contextlib
import os

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.utils import load_current, p64, u64, z64

from springtide import ClusterStorage
from springtide.testing.cluster import LocalCluster
from tests.cluster.load import check_equal

OBJECTS = 200_000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_64_mb_record_and_a_transaction_of_200_000_objects() -> None:
    record = os.urandom(64 * 2**20)
    with LocalCluster(3) as cluster, contextlib.closing(cluster.storage()) as storage:
        large = commit(storage, [(p64(1), record)])
        many = commit(storage, [(p64(number), b"object %d" % number) for number in range(10, 10 + OBJECTS)])

        for node in cluster.nodes:
            with contextlib.closing(ClusterStorage([cluster.address(node)], balance_reads=False)) as reader:
                assert load_current(reader, p64(1)) == (record, large)
                for number in (10, OBJECTS // 2, OBJECTS + 9):
                    assert load_current(reader, p64(number)) == (b"object %d" % number, many)
        first, second = storage.iterator()
        assert [(r.oid, r.data) for r in first] == [(p64(1), record)]
        assert sum(1 for _ in second) == OBJECTS
        assert u64(storage.new_oid()) > OBJECTS + 9, "oids that an application chose are not given out again"
        check_equal(cluster)


def commit(storage: ClusterStorage, records: list[tuple[bytes, bytes]]) -> bytes:
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    for oid, data in records:
        storage.store(oid, z64, data, "", meta)
    storage.tpc_vote(meta)
    return bytes(storage.tpc_finish(meta))
