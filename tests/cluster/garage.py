"""The classes of the examples in ``test_guide``: what is stored must be importable."""

from __future__ import annotations

from persistent import Persistent


class PlainWheel:
    """Not persistent: its state is part of the car's record."""

    def __init__(self) -> None:
        self.pressure = 2.0


class Wheel(Persistent):
    """Persistent: a record of its own."""

    def __init__(self) -> None:
        self.pressure = 2.0


class Car(Persistent):
    def __init__(self, kind_of_wheel: type) -> None:
        self.front = kind_of_wheel()
        self.rear = kind_of_wheel()
        self.owners: list[str] = []


class Trailer(Persistent):
    def __init__(self, load: str) -> None:
        self.load = load
