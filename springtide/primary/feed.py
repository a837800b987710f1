"""What to send to one follower next?

Pure. The window bounds what is under way, so that a slow follower costs the
primary a bounded amount of memory and nobody else anything.
"""

from __future__ import annotations

from springtide.records import feed
from springtide.records.entries import Entry
from springtide.records.ids import Member
from springtide.records.position import Point

#: Bytes sent and not yet acknowledged: a LAN's bandwidth-delay product many times over, and two full batches.
WINDOW_BYTES = 8 * 2**20

#: What the slowest disk and network that are not called stalled take in: large entries need their time.
BYTES_PER_SECOND_MIN = 5 * 2**20


class Progress:
    """How far one follower is in this epoch.

    Invariant: ``acked <= sent``, both in lsn; ``in_flight`` is the size of what lies between.
    """

    def __init__(self, member: Member, after: int, now: float, electable: bool = True) -> None:
        self.member = member
        self.electable = electable
        self.sent = after
        self.acked = 0
        self.applied = 0
        self.reads = False
        self.headroom_bytes = 0
        self.commit_sent = 0
        self.heard_at = now
        #: What its clock showed, and when it said so by ours; None: it does not say.
        self.clock: tuple[float, float] | None = None
        #: Another feed of the same node has taken the place of this one, which ends.
        self.superseded = False
        self.round = 0  # of the last heartbeat that was asked for
        self.round_sent = 0
        self.confirmed = 0
        self._in_flight: list[tuple[int, int, float]] = []
        self._bytes = 0

    def room(self) -> int:
        """Bytes that may be sent now; at least one entry goes out when nothing is under way."""
        return max(0, WINDOW_BYTES - self._bytes)

    @property
    def owes_since(self) -> float | None:
        """Since when an acknowledgement is due: the oldest one, allowing for the size of its entry."""
        if not self._in_flight:
            return None
        _, size, sent_at = self._in_flight[0]
        return sent_at + size / BYTES_PER_SECOND_MIN

    def send(
        self, entries: tuple[Entry, ...], commit: int, now: float, known: frozenset[int] = frozenset()
    ) -> feed.Append:
        """``known``: the lsns of those whose body the follower has."""
        assert entries[0].lsn == self.sent + 1, "entries are sent in order, without gaps"
        for entry in entries:
            size = (0 if entry.lsn in known else len(entry.body)) + 64
            self._in_flight.append((entry.lsn, size, now))
            self._bytes += size
        self.sent = entries[-1].lsn
        self.commit_sent = max(self.commit_sent, commit)
        return feed.Append(entries, commit, known)

    def acknowledged(self, ack: feed.Ack, now: float) -> None:
        """Take an acknowledgement; raises ValueError for one of something never sent."""
        if ack.durable > self.sent:
            raise ValueError(f"{self.member} acknowledges {ack.durable}, but was sent up to {self.sent}")
        self.acked = max(self.acked, ack.durable)
        self.applied, self.reads, self.headroom_bytes = ack.applied, ack.reads, ack.headroom_bytes
        self.heard_at = now
        done = 0
        while done < len(self._in_flight) and self._in_flight[done][0] <= self.acked:
            self._bytes -= self._in_flight[done][1]
            done += 1
        del self._in_flight[:done]


def answer_probe(probe: feed.Probe, mine: Point | None, oldest: Point) -> feed.Downward:
    """Whether this log (which has ``mine`` at the probed lsn, if anything) contains the probed point."""
    if probe.at.lsn < oldest.lsn:
        return feed.TooOld(oldest)
    return feed.Found() if mine == probe.at else feed.Missing()
