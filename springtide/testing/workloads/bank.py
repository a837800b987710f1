"""Money moves between accounts; a counter, whose conflicts are resolved, counts transfers; each leaves a receipt."""

from __future__ import annotations

from random import Random
from typing import Any

from BTrees.Length import Length
from persistent import Persistent
from persistent.mapping import PersistentMapping

from springtide.testing.recording.session import Session

_ACCOUNTS = 8
_EACH = 100


class Account(Persistent):  # type: ignore[misc]
    def __init__(self, balance: int) -> None:
        self.balance = balance


class Receipt(Persistent):  # type: ignore[misc]
    """A new object for every transfer, so that oids are used."""

    def __init__(self, text: str) -> None:
        self.text = text


class Bank:
    def __init__(self, number: int, chance: Random) -> None:
        self._chance = chance

    @classmethod
    def set_up(cls, root: Any) -> None:
        root["bank"] = PersistentMapping({str(number): Account(_EACH) for number in range(_ACCOUNTS)})
        root["transfers"] = Length()

    def attempt(self, session: Session) -> dict[str, Any]:
        accounts = {name: session.read(account) for name, account in session.root["bank"].items()}
        balances = {name: account.balance for name, account in accounts.items()}
        if self._chance.random() < 0.7:
            source, target = (accounts[name] for name in self._chance.sample(sorted(accounts), 2))
            moved = self._chance.randint(1, 10)
            source.balance -= moved
            target.balance += moved
            source.receipt = Receipt(f"{session.name} took {moved}")
            transfers = session.root["transfers"]
            session.resolves(transfers)
            transfers.change(1)
        return {"kind": "bank", "total": _ACCOUNTS * _EACH, "balances": balances}
