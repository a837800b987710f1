"""Kills primaries, or has them hand over, again and again while a test runs."""

from __future__ import annotations

import random
import threading

from springtide.errors import SpringtideError
from springtide.testing.admin import Admin, cluster_status
from springtide.testing.cluster import LocalCluster
from springtide.wire.v1 import admin_pb2

#: Between two events, once the cluster has recovered. The first one of a test comes at once: most are short.
QUIET_SECONDS = 1.0
FIRST_SECONDS_MAX = 0.03


class Disturber(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name="disturber", daemon=True)
        self.events = 0
        self.failure: BaseException | None = None
        self._cluster: LocalCluster | None = None
        self._chance = random.Random(0)
        self._condition = threading.Condition()
        self._running = self._busy = self._ended = False

    def begin(self, cluster: LocalCluster) -> None:
        with self._condition:
            self._cluster = cluster
            self._running = True
            self._condition.notify_all()

    def pause(self) -> None:
        """Return when the cluster is whole again."""
        with self._condition:
            self._running = False
            self._condition.notify_all()
            self._condition.wait_for(lambda: not self._busy)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise AssertionError("the cluster did not recover") from failure

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
                cluster = self._cluster
            while cluster is not None and not self._over(quiet):
                try:
                    self._disturb(cluster)
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

    def _disturb(self, cluster: LocalCluster) -> None:
        self.events += 1
        if self._chance.random() < 0.5:
            primary = cluster.primary()
            cluster.kill(primary)
            cluster.start(primary)
        else:
            with cluster.admin() as admin:
                hand_over(admin, cluster)
        cluster.wait_in_sync()


def hand_over(admin: Admin, cluster: LocalCluster) -> None:
    primary = cluster.primary()
    address = next(n["address"] for n in cluster_status(admin)["nodes"] if n["node"] == primary)
    try:
        admin.call(address, "HandOver", admin_pb2.HandOverRequest(to=""), 10)
    except SpringtideError as refused:
        print(f"no hand-over this time: {refused}")
