"""Disks that fail, or are lost."""

from __future__ import annotations

from springtide.testing.simulator.cluster import SimNode
from springtide.testing.simulator.damage import is_noticed
from springtide.testing.simulator.troubles.base import Act, Trouble


class DiskTroubles(Trouble):
    """Invariant: disks are lost no faster than the guarantee allows (minimum - 1 at a time)."""

    def acts(self) -> dict[str, Act]:
        return {
            "disk failure": self._fails,
            "disk lost": self._lose,
            "disk slow": self._slow,
            "disk hangs": self._hang,
            "disk full": self._full,
            "write torn": self._tear,
            "bit flipped in a log": self._flip_log,
            "bit flipped in a state": self._flip_state,
        }

    def heal(self) -> None:
        for node in self._cluster.nodes.values():
            health = node.platter.health
            health.slow_seconds, health.hangs_until, health.free_bytes = 0.0, 0.0, 2**40
            if health.damaged:
                self.tell(f"the scrub finds what is damaged at {node.name}")
                self._replace(node)

    def _fails(self) -> bool:
        node = self.some()
        if not node.up:
            return False
        self.tell(f"{node.name}'s disk refuses to write")
        node.fail_disk()
        self.later(self._random.uniform(0.5, 6.0), lambda: self.down(node, 0.1))
        return True

    def _lose(self) -> bool:
        node = self.some()
        if not self.may_lose(node.name):
            return False
        self.tell(f"{node.name} loses its disk")
        self._replace(node)
        return True

    def _replace(self, node: SimNode) -> None:
        node.crash()
        node.insert_disk()
        self.start_later(node, self._random.uniform(0.01, 3.0))

    def _slow(self) -> bool:
        node, seconds = self.some(), self._random.choice((0.02, 0.2, 1.0))
        self.tell(f"{node.name}'s disk takes up to {seconds} s longer")
        health = node.platter.health
        health.slow_seconds = seconds

        def end() -> None:
            health.slow_seconds = 0.0

        self.later(self._random.uniform(1.0, 6.0), end)
        return True

    def _hang(self) -> bool:
        node, seconds = self.some(), self._random.choice((0.5, 2.0, 8.0))
        self.tell(f"{node.name}'s disk hangs for {seconds} s")
        node.platter.health.hangs_until = self._cluster.loop.now + seconds
        return True

    def _full(self) -> bool:
        """Nearly, so that votes are refused; or wholly, so that nothing more can be written."""
        node, left = self.some(), self._random.choice((2**20, 0))
        self.tell(f"{node.name}'s disk has {left} bytes left")
        health = node.platter.health
        health.free_bytes = left

        def end() -> None:
            health.free_bytes = 2**40
            self.start(node)

        self.later(self._random.uniform(0.5, 5.0), end)
        return True

    def _tear(self) -> bool:
        """Power fails while something is being written."""
        node = self.some()
        engine = node.engine
        if engine is None:
            return False
        delay, down = self._random.uniform(0.0, 0.002), self._random.uniform(0.01, 3.0)

        def torn() -> None:
            if node.engine is engine:
                self.tell(f"{node.name} crashes while it writes")
                self._counts["write torn"] += 1
                self.down(node, down)

        engine.on_unsynced = lambda: self.later(delay, torn)
        return False  # counted when it happens

    def _flip_log(self) -> bool:
        node = self.some()
        entries = node.platter.entries
        if not entries or not self.may_lose(node.name):
            return False
        entry = self._random.choice(entries)
        self.tell(f"a bit flips in the log of {node.name}, in lsn {entry.lsn}")
        if not is_noticed(entry, self._random):
            self._cluster.judge.violated(f"a flipped bit in {entry.point} is not noticed")
        node.platter.health.flipped.add(entry.lsn)
        return True

    def _flip_state(self) -> bool:
        node = self.some()
        revisions = node.platter.state.revisions
        if not revisions or not self.may_lose(node.name):
            return False
        oid = self._random.choice(sorted(revisions))
        tid = max(revisions[oid])
        self.tell(f"a bit flips in the state of {node.name}, in oid {oid.hex()} at {tid.hex()}")
        node.platter.health.rotten.add((oid, tid))
        return True

    def may_lose(self, name: str) -> bool:
        """Whether another disk may be lost: what is promised holds for fewer than the minimum."""
        record = self._cluster.store.record
        if record is None or len(record.in_sync) < record.minimum or self._cluster.store.doubted:
            return False  # a cluster that is just being made: nothing is promised yet
        return self._cluster.lost_disks() + 1 <= record.minimum - 1
