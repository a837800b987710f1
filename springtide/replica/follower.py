"""What a replica does with each message of one feed.

Pure: messages in, effects out. The order of the effects is part of the contract,
and whoever performs them finishes each before the next: an epoch is on disk before
anything of it is acted on, a tail is set aside before the log is cut, the cut is
done before the primary is asked to send. ``Append``, ``Fetch`` and ``Settle`` alone are only
begun: several may be under way, and ``durable``, ``held`` and ``settled`` report the end of each.

Keeps rule R4: what is older than the highest epoch on this disk is refused, and an acknowledgement
belongs to one epoch. With ``replica.divergence`` it keeps R8, and with ``continues`` invariant I2:
an entry is taken only where its digest says that all of the history before it is the same.

An entry is appended when the files it names are here, never before: whatever is in
a log, of whoever leads next, can be committed with its files.

One follower is one stream and so one epoch. A new epoch is a new follower, and
nothing said to one counts for another.
"""

from __future__ import annotations

from springtide import errors
from springtide.records import feed
from springtide.records.blobs import names_in
from springtide.records.entries import Entry, continues
from springtide.records.feed import Ack, Confirm, Copy, Downward, Held, Hello, Probe
from springtide.records.ids import Member
from springtide.records.position import Point
from springtide.replica import divergence
from springtide.replica.divergence import Ask, Common, Contradicts, Log, Search, TooFarBehind
from springtide.replica.effects import Adopt, Append, CommitTo, Cut, Effect, Fetch, Leave, Promise, Send, Settle, Why
from springtide.replica.phases import Ended, Greeting, Probing, Status, Streaming, Waiting

__all__ = [
    "Adopt",
    "Append",
    "CommitTo",
    "Cut",
    "Effect",
    "Ended",
    "Fetch",
    "Follower",
    "Greeting",
    "Leave",
    "Probing",
    "Promise",
    "Send",
    "Settle",
    "Status",
    "Streaming",
    "Why",
]


class Follower:
    """One replica's side of one feed."""

    def __init__(
        self,
        me: Member,
        uptime: str,
        cluster: str,
        *,
        joined: tuple[str, str],
        promised: int,
        expected: int = 0,
        log: Log,
        status: Status,
        electable: bool = True,
    ) -> None:
        """``cluster`` is the one to follow, ``joined`` the cluster and history of the directory.

        ``promised`` is the highest epoch on this node's disk, ``expected`` the one in the record.
        """
        self.phase: Greeting | Probing | Streaming | Ended = Greeting()
        self.epoch = 0
        self._me, self._uptime, self._cluster, self._electable = me, uptime, cluster, electable
        self._joined = joined
        self._promised = promised
        self._expected = expected
        self._log = log
        self._status = status
        self._history = ""
        self._acknowledging = True
        self._acked: Ack | None = None

    # -- inputs --------------------------------------------------------------------------------

    def begin(self) -> tuple[Effect, ...]:
        last, wall = self._log.last, self._status.wall
        return (Send(Hello(self._me, self._uptime, self._cluster, self._promised, last, self._electable, wall)),)

    def receive(self, message: Downward) -> tuple[Effect, ...]:
        match self.phase, message:
            case Ended(), _:
                return ()
            case _, feed.Refused(reason=reason, epoch=epoch):
                return self._leave(Why.REFUSED, reason, epoch)
            case Greeting(), feed.Welcome():
                return self._welcomed(message)
            case Probing(search=search), feed.Found():
                return self._search(search.found())
            case Probing(search=search), feed.Missing():
                return self._search(search.missing())
            case ((Probing() | Streaming()), feed.TooOld(oldest=oldest)):
                return self._too_far_behind(oldest)
            case Probing(), feed.Heartbeat(round=round_):
                return self._confirm(round_)
            case Streaming(), feed.Heartbeat(round=round_, commit=commit):
                return (*self._confirm(round_), *self._heard(self.phase, commit), *self._ack(self.phase))
            case ((Probing() | Streaming()), feed.Part()):
                return self._confirm(0)  # says that this node is there, and confirms no round
            case Streaming(), feed.Append(entries=entries, commit=commit):
                return self._append(self.phase, entries, commit)
            case Streaming(announced=announced), feed.Blobs(names=names):
                announced.update(named.blob.id for named in names)
                return (Fetch(names),)
            case Streaming(), feed.Arrived(body=body):
                return (Settle(body),)
            case _:
                return self._leave(Why.FAULTY, f"{type(message).__name__} while {type(self.phase).__name__.lower()}")

    def durable(self, lsn: int) -> tuple[Effect, ...]:
        """Every entry up to ``lsn`` is on disk and synced."""
        match self.phase:
            case Streaming() as streaming:
                if lsn > streaming.appended:
                    raise errors.Broken("R3", f"{lsn} would be acknowledged, and {streaming.appended} is appended")
                streaming.durable = max(streaming.durable, lsn)
                return (*self._ack(streaming), *self._heard(streaming, streaming.heard))
            case _:
                return ()

    def held(self, id: bytes) -> tuple[Effect, ...]:
        """This file is here, whole and synced."""
        if not isinstance(self.phase, Streaming):
            return ()
        streaming = self.phase
        said: tuple[Effect, ...] = ()
        if id in streaming.announced:
            streaming.announced.discard(id)
            said = (Send(Held((id,))),)
        for waiting in streaming.waiting:
            waiting.lacking.discard(id)
        return (*said, *self._appendable(streaming))

    def settled(self, id: bytes) -> tuple[Effect, ...]:
        """This body, which came ahead of its entry, is synced."""
        return (Send(Held((id,))),) if isinstance(self.phase, Streaming) else ()

    def not_held(self, id: bytes, why: Why, detail: str) -> tuple[Effect, ...]:
        """This file cannot be had from the primary, which must have what its log names."""
        if not isinstance(self.phase, Streaming):
            return ()
        self.phase.announced.discard(id)
        if any(id in waiting.lacking for waiting in self.phase.waiting):
            return self._leave(why, f"an entry cannot be taken in: {detail}", self.epoch)
        return ()

    @property
    def waiting_bytes(self) -> int:
        """Received and not appended, because files are missing."""
        if not isinstance(self.phase, Streaming):
            return 0
        return sum(len(entry.body) for waiting in self.phase.waiting for entry in waiting.entries)

    def status(self, status: Status) -> None:
        """What the next acknowledgement will say."""
        self._status = status

    def promised(self, epoch: int) -> tuple[Effect, ...]:
        """The highest epoch on this node's disk, whoever put it there."""
        self._promised = max(self._promised, epoch)
        if isinstance(self.phase, Ended) or not self.epoch or self._promised <= self.epoch:
            return ()
        return self._leave(Why.OLD_EPOCH, f"epoch {self._promised} was promised", self._promised)

    def stop_acknowledging(self) -> None:
        """This node stands for election: from now on it says nothing that the old epoch could build on."""
        self._acknowledging = False

    # -- greeting and probing --------------------------------------------------------------------

    def _welcomed(self, welcome: feed.Welcome) -> tuple[Effect, ...]:
        if welcome.epoch < max(self._promised, self._expected):
            return self._leave(
                Why.OLD_EPOCH,
                f"{welcome.primary} offers epoch {welcome.epoch}; {max(self._promised, self._expected)} was promised",
                welcome.epoch,
            )
        promise = (Promise(welcome.epoch),) if welcome.epoch > self._promised else ()
        self.epoch = self._promised = welcome.epoch
        self._history = welcome.history
        return (*promise, *self._conclude(*divergence.compare(self._log, welcome.last, welcome.oldest)))

    def _search(self, search: Search) -> tuple[Effect, ...]:
        return self._conclude(*search.step())

    def _conclude(
        self, search: Search | None, verdict: Ask | Common | TooFarBehind | Contradicts
    ) -> tuple[Effect, ...]:
        match verdict:
            case Ask(at=at):
                assert search is not None
                self.phase = Probing(search)
                return (Send(Probe(at)),)
            case Common(at=at):
                return self._copy(at)
            case TooFarBehind(oldest=oldest):
                return self._too_far_behind(oldest)
            case Contradicts(committed=committed):
                return self._contradicts(committed)

    def _copy(self, at: Point) -> tuple[Effect, ...]:
        cut = (Cut(at),) if self._log.last != at else ()
        adopt = (Adopt(self._cluster, self._history),) if self._joined != (self._cluster, self._history) else ()
        durable, committed = min(self._log.durable, at.lsn), self._log.commit_lsn
        self.phase = Streaming(at, durable, committed, committed)
        return (*cut, *adopt, Send(Copy(at)), *self._ack(self.phase))

    def _too_far_behind(self, oldest: Point) -> tuple[Effect, ...]:
        return self._leave(
            Why.SNAPSHOT, f"the primary's log begins at {oldest}, this one ends at {self._log.last}", self.epoch
        )

    def _contradicts(self, committed: Point) -> tuple[Effect, ...]:
        """Within one history that is damage. After an operator's ``force`` it is what he accepted."""
        _, history = self._joined
        if history and history != self._history:
            return self._leave(Why.SNAPSHOT, f"{committed} is not part of history {self._history}", self.epoch)
        return self._leave(
            Why.CONTRADICTION,
            f"{committed} is committed here and not in the primary's history: one of the two logs is wrong. "
            "Nothing was cut; compare both with 'springtide verify' before you reset either node",
            self.epoch,
        )

    # -- streaming -------------------------------------------------------------------------------

    def _append(self, streaming: Streaming, entries: tuple[Entry, ...], commit: int) -> tuple[Effect, ...]:
        previous = streaming.received
        for entry in entries:
            if entry.epoch > self.epoch or not continues(previous, entry):
                return self._leave(
                    Why.FAULTY, f"entry {entry.point} does not continue {previous}, or is damaged", self.epoch
                )
            previous = entry.point
        streaming.received = previous
        names = tuple(named for entry in entries for named in names_in(entry))
        fetch = (Fetch(names),) if names else ()
        if entries:
            streaming.waiting.append(Waiting(entries, {named.blob.id for named in names}))
        return (*fetch, *self._appendable(streaming), *self._heard(streaming, commit))

    def _appendable(self, streaming: Streaming) -> tuple[Effect, ...]:
        """In the order of the log: what waits for nothing any more."""
        ready = []
        while streaming.waiting and not streaming.waiting[0].lacking:
            ready.append(Append(streaming.waiting.popleft().entries))
        return tuple(ready)

    def _heard(self, streaming: Streaming, commit: int) -> tuple[Effect, ...]:
        """Nothing is committed here before it is on this disk: the state must never be ahead of the log."""
        streaming.heard = max(streaming.heard, commit)
        reachable = min(streaming.heard, streaming.durable)
        if reachable <= streaming.committed:
            return ()
        streaming.committed = reachable
        return (CommitTo(reachable),)

    def _ack(self, streaming: Streaming) -> tuple[Effect, ...]:
        status = self._status
        ack = Ack(streaming.durable, status.applied, status.headroom_bytes, status.reads)
        if not self._acknowledging or ack == self._acked:
            return ()
        self._acked = ack
        return (Send(ack),)

    def _confirm(self, round_: int) -> tuple[Effect, ...]:
        if not self._acknowledging or self._promised > self.epoch:
            return ()
        return (Send(Confirm(round_, self._status.wall)),)

    def _leave(self, why: Why, detail: str, epoch: int = 0) -> tuple[Effect, ...]:
        leave = Leave(why, detail, epoch)
        self.phase = Ended(leave)
        return (leave,)
