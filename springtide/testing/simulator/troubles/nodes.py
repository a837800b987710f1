"""Processes that end or stop, and clocks that are wrong."""

from __future__ import annotations

from springtide.testing.simulator.troubles.base import Act, Trouble


class NodeTroubles(Trouble):
    def acts(self) -> dict[str, Act]:
        return {
            "crash": self._crash,
            "crash of all": self._crash_all,
            "restart in place": self._restart,
            "pause": self._pause,
            "clock jump": self._jump,
            "clock drift": self._drift,
        }

    def heal(self) -> None:
        for node in self._cluster.nodes.values():
            if node.life is not None:
                node.life.resume(self._cluster.loop)
                node.life.drift(1.0, self._cluster.loop.now)
            node.rate = 1.0
            self.start(node)

    def _crash(self) -> bool:
        node = self.some()
        if not node.up:
            return False
        self.tell(f"{node.name} crashes")
        self.down(node, self._random.uniform(0.01, 6.0))
        return True

    def _restart(self) -> bool:
        """So quickly that nobody may notice."""
        node = self.some()
        if not node.up:
            return False
        self.tell(f"{node.name} crashes and is back at once")
        self.down(node, 0.0)
        return True

    def _crash_all(self) -> bool:
        self.tell("power fails everywhere")
        for node in self._cluster.nodes.values():
            if node.up:
                self.down(node, self._random.uniform(0.01, 3.0))
        return True

    def _pause(self) -> bool:
        node = self.some()
        life = node.life
        if life is None or life.paused:
            return False
        seconds = self._random.choice((0.3, 1.5, 5.0))
        self.tell(f"{node.name} is paused for {seconds} s")
        life.pause(self._cluster.loop)
        self.later(seconds, lambda: life.resume(self._cluster.loop))
        return True

    def _jump(self) -> bool:
        """Of the wall clock. What measures how long something takes does not jump."""
        node = self.some()
        seconds = self._random.choice((-3600.0, -30.0, -1.0, 1.0, 30.0, 3600.0))
        self.tell(f"{node.name}'s wall clock jumps by {seconds:+.0f} s")
        node.clock_error += seconds
        return True

    def _drift(self) -> bool:
        """Of both clocks."""
        node = self.some()
        node.rate = self._random.choice((0.8, 0.98, 1.02, 1.25))
        self.tell(f"{node.name}'s clocks go {node.rate} times as fast as they should")
        if node.life is not None:
            node.life.drift(node.rate, self._cluster.loop.now)
        return True
