"""Where the record lives, as everyone above sees it: read, watch, swap, announce.

Pure apart from the async signatures: no store is touched here. Three stores keep
this promise (``embedded``, ``remote``, ``etcd``), and one suite tests them all. ``settle`` keeps
the other half of rule R1: what became of a swap is told by its change id, once the revision moved.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.topology import Record
from springtide.records.ids import Member, NodeId


@dataclass(frozen=True, slots=True)
class Announcement:
    """A node says: this run of me is here. It expires unless it is renewed."""

    node: NodeId
    address: str
    incarnation: str
    uptime: str

    @property
    def member(self) -> Member:
        return Member(self.node, self.incarnation)


@dataclass(frozen=True, slots=True)
class View:
    """All that a store knows of one cluster, at one moment.

    ``revision`` is the record's: it grows with every swap, and is 0 where there is no record.
    """

    revision: int = 0
    record: Record | None = None
    announcements: Mapping[NodeId, Announcement] = field(default_factory=dict)
    starts: Mapping[NodeId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Swapped:
    """The record is the proposed one."""

    view: View


@dataclass(frozen=True, slots=True)
class Refused:
    """The record is another one, and never becomes the proposed one through this swap."""

    view: View


class Store(Protocol):
    """Every method raises ``errors.Unreachable`` where the store does not answer in time."""

    async def read(self) -> View:
        """The view at a moment after the call: never an older one."""

    def watch(self) -> AsyncIterator[View]:
        """The view, and a new one after each change, for ever.

        Views are whole and the newest: those in between may be left out. While the store is
        unreachable nothing comes, and then again the newest. Ends only, with
        ``errors.Unreachable``, when the store is closed here.
        """

    async def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        """Write ``record`` if the revision is the expected one (0: if there is no record).

        ``errors.Unreachable`` means that the outcome is unknown: the swap may have landed, and
        it may still land until the revision moves.
        """

    async def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        """Announce a node, or renew its announcement. It lasts for ``ttl_seconds`` at least."""

    async def withdraw(self, node: NodeId, uptime: str) -> None:
        """End the announcement of ``node``, if it is of this uptime."""

    async def raise_starts(self, node: NodeId, starts: int) -> int:
        """Raise the start counter of ``node`` to ``starts``; the larger of what it was and that."""

    async def close(self) -> None:
        """Let go of channels and files. Announcements stay until they expire."""


def settle(view: View, record: Record, expected_revision: int) -> Swapped | Refused | None:
    """What became of a swap whose answer was lost, by a view read after it; None: not known yet.

    While the revision has not moved, the swap may be on its way still.
    """
    if view.revision <= expected_revision:
        return None
    if view.record is not None and view.record.change == record.change:
        return Swapped(view)
    return Refused(view)


def supersedes(view: View, record: Record | None, revision: int) -> bool:
    """Whether ``view`` shows a later record than the one known at ``revision``.

    Epochs come first: a store that was put back to an older state, and says so with an older
    epoch or revision, supersedes nothing. A record written by recovery, above every epoch, does.
    """
    if view.record is None:
        return False
    if record is None or view.record.epoch > record.epoch:
        return True
    return view.record.epoch == record.epoch and view.revision > revision


# -- as bytes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RawView:
    """A view as stores keep it: the record and the announcements are bytes."""

    revision: int
    record: bytes
    announcements: Mapping[str, bytes]
    starts: Mapping[str, int]

    def decoded(self) -> View:
        """``errors.Damaged`` if the record is none. A malformed announcement counts as none."""
        announcements = {}
        for node, data in self.announcements.items():
            announcement = decode_announcement(data)
            if announcement is not None and announcement.node == node:
                announcements[announcement.node] = announcement
        return View(
            self.revision,
            topology.decode(self.record) if self.revision else None,
            announcements,
            {NodeId(node): starts for node, starts in self.starts.items()},
        )


def encode_announcement(announcement: Announcement) -> bytes:
    return json.dumps(
        {
            "node": announcement.node,
            "address": announcement.address,
            "incarnation": announcement.incarnation,
            "uptime": announcement.uptime,
        }
    ).encode()


def decode_announcement(data: bytes) -> Announcement | None:
    """The announcement in ``data``; None if it is none."""
    try:
        fields = json.loads(data)
        texts = [fields[name] for name in ("node", "address", "incarnation", "uptime")]
    except (ValueError, KeyError, TypeError):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    node, address, incarnation, uptime = texts
    return Announcement(NodeId(node), address, incarnation, uptime)


#: A record of a hundred members is about 10 KB. etcd refuses values above 1.5 MB.
VALUE_BYTES_MAX = 256 * 1024


#: A watcher that hears nothing for some of these takes its stream for dead, and looks again.
WATCH_REFRESH_SECONDS = 2.0


def check_name(name: str) -> str:
    """``name``, if it can be a cluster's in a store: it becomes part of a key."""
    if not 0 < len(name) <= 200 or not all(c.isalnum() or c in "-_." for c in name):
        raise errors.BadRequest(f"a cluster's name has letters, digits, '-', '_' and '.' only, not {name!r}")
    return name
