"""What operators do while all that goes on."""

from __future__ import annotations

import asyncio

from springtide import errors
from springtide.testing.simulator.troubles.base import Act, Trouble


class OperatorActs(Trouble):
    def acts(self) -> dict[str, Act]:
        self._switches: list[asyncio.Task[None]] = []
        return {"hand over": self._hand_over}

    def _hand_over(self) -> bool:
        primary = self._cluster.primary()
        if primary is None or primary.life is None or primary.core is None or primary.life.paused:
            return False
        core = primary.core
        self.tell(f"{primary.name} is asked to hand over")

        async def switch() -> None:
            try:
                await core.hand_over(None)
            except errors.SpringtideError as error:
                self.tell(f"it did not: {error}")

        self._switches.append(primary.life.start(switch()))
        return True
