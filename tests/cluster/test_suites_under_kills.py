"""ZODB's own suites while the primary is killed, or hands over, every moment. Their calls must not notice.

All of them that a cluster passes at rest pass here, but for those in ``NOT_HERE``, which name the reason. Those about
blobs have tests of their own under kills, in ``test_blob_client``.
"""

from __future__ import annotations

import random
import threading
from typing import ClassVar

import pytest
from ZODB.tests.BasicStorage import BasicStorage
from ZODB.tests.MTStorage import MTStorage
from ZODB.tests.PackableStorage import PackableStorageWithOptionalGC, PackableUndoStorage
from ZODB.tests.Synchronization import SynchronizedStorage

from springtide.errors import SpringtideError
from springtide.testing.admin import Admin, cluster_status
from springtide.testing.cluster import LocalCluster
from springtide.wire.v1 import admin_pb2
from tests.cluster.test_recovery_suites import Recovery
from tests.cluster.test_undo_suites import Past
from tests.cluster.test_zodb_suites import OnCluster, with_checks
from tests.facilities import ALL

#: Whose own calls do not allow it.
NOT_HERE = {
    "test_checkCurrentSerialInTransaction": "ZODB/tests/BasicStorage.py:264 has another transaction wait to change "
    "what a voted one has read; a takeover between the two frees it, and finish is the ConflictError that README names"
}
#: Between two events, once the cluster has recovered. The first one of a test comes at once: most are short.
QUIET_SECONDS = 1.0
FIRST_SECONDS_MAX = 0.03


class Disturber(threading.Thread):
    """Kills the primary, or has it hand over, again and again while a test runs."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__(name="disturber", daemon=True)
        self.events = 0
        self.failure: BaseException | None = None
        self._cluster = cluster
        self._chance = random.Random(0)
        self._condition = threading.Condition()
        self._running = self._busy = self._ended = False

    def begin(self) -> None:
        with self._condition:
            self._running = True
            self._condition.notify_all()

    def pause(self) -> None:
        """Return when the cluster is whole again."""
        with self._condition:
            self._running = False
            self._condition.notify_all()
            self._condition.wait_for(lambda: not self._busy)
        if self.failure is not None:
            raise AssertionError("the cluster did not recover") from self.failure

    def end(self) -> None:
        with self._condition:
            self._ended = True
            self._condition.notify_all()
        self.join()

    def run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._running or self._ended)
                quiet = self._chance.uniform(0, FIRST_SECONDS_MAX)
                self._busy = True
            while not self._over(quiet):
                try:
                    self._disturb()
                except BaseException as failure:
                    self.failure = failure
                    with self._condition:
                        self._running = False
                quiet = QUIET_SECONDS
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                if self._ended:
                    return

    def _over(self, seconds: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: not self._running or self._ended, seconds)

    def _disturb(self) -> None:
        self.events += 1
        if self._chance.random() < 0.5:
            primary = self._cluster.primary()
            self._cluster.kill(primary)
            self._cluster.start(primary)
        else:
            with self._cluster.admin() as admin:
                hand_over(admin, self._cluster)
        self._cluster.wait_in_sync()


def hand_over(admin: Admin, cluster: LocalCluster) -> None:
    primary = cluster.primary()
    address = next(n["address"] for n in cluster_status(admin)["nodes"] if n["node"] == primary)
    try:
        admin.call(address, "HandOver", admin_pb2.HandOverRequest(to=""), 10)
    except SpringtideError as refused:
        print(f"no hand-over this time: {refused}")


class Disturbed(OnCluster):
    store = "embedded"
    disturber: ClassVar[Disturber]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.disturber = Disturber(cls.cluster)
        cls.disturber.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.disturber.end()
        super().tearDownClass()
        assert cls.disturber.events, "nothing was disturbed"

    def setUp(self) -> None:
        if self._testMethodName in NOT_HERE:
            self.skipTest(NOT_HERE[self._testMethodName])
        super().setUp()
        self.disturber.begin()

    def tearDown(self) -> None:
        self.disturber.pause()
        super().tearDown()


@pytest.mark.slow
@pytest.mark.timeout(300)
@with_checks
class TestBasicUnderKills(Disturbed, BasicStorage):
    pass


if ALL:

    @pytest.mark.timeout(300)
    @with_checks
    class TestThreadsUnderKills(Disturbed, SynchronizedStorage, MTStorage):
        pass

    @pytest.mark.timeout(300)
    @with_checks
    class TestPastUnderKills(Disturbed, Past):
        pass

    @pytest.mark.timeout(300)
    @with_checks
    class TestRecoveryUnderKills(Recovery, Disturbed):
        pass

    @pytest.mark.timeout(300)
    @with_checks
    class TestPacksUnderKills(Disturbed, PackableStorageWithOptionalGC, PackableUndoStorage):
        testPackUndoLog = PackableUndoStorage.testPackUndoLog.__wrapped__  # as in test_pack_suites
