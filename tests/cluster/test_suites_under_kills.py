"""ZODB's own suites while the primary is killed, or hands over, every moment. Their calls must not notice.

All of them that a cluster passes at rest pass here, also through a wrapper that transforms records, but for those in
``NOT_HERE``, which name the reason. The one about blobs is in ``test_blob_suites_under_kills``.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from ZODB.tests.BasicStorage import BasicStorage
from ZODB.tests.MTStorage import MTStorage
from ZODB.tests.Synchronization import SynchronizedStorage

from tests.cluster.disturber import Disturber
from tests.cluster.test_pack_suites import Packs
from tests.cluster.test_recovery_suites import Recovery
from tests.cluster.test_undo_suites import OnHex, Past
from tests.cluster.test_zodb_suites import OnCluster, with_checks
from tests.facilities import ALL

#: Whose own calls do not allow it.
NOT_HERE = {
    "test_checkCurrentSerialInTransaction": "ZODB/tests/BasicStorage.py:264 has another transaction wait to change "
    "what a voted one has read; a takeover between the two frees it, and finish is the ConflictError that README names"
}


class Disturbed(OnCluster):
    store = "embedded"
    disturber: ClassVar[Disturber]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.disturber = Disturber()
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
        self.disturber.begin(self.cluster)

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
    class TestPacksUnderKills(Disturbed, Packs):
        pass

    @pytest.mark.timeout(300)
    @with_checks
    class TestBasicThroughHexUnderKills(Disturbed, OnHex, BasicStorage, SynchronizedStorage, MTStorage):
        pass

    @pytest.mark.timeout(300)
    @with_checks
    class TestPastThroughHexUnderKills(Disturbed, OnHex, Past):
        pass

    @pytest.mark.timeout(300)
    @with_checks
    class TestRecoveryThroughHexUnderKills(Recovery, Disturbed, OnHex):
        pass

    @pytest.mark.timeout(300)
    @with_checks
    class TestPacksThroughHexUnderKills(Disturbed, OnHex, Packs):
        pass
