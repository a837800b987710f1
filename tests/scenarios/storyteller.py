"""Tell stories of one follower: a line of what happens, then what the follower does about it.

    replica log=1*7 1b*2 commit=5      a node's log and commit point; `joined=c/h promised=2 durable=4 trimmed=3`
    primary epoch=2 log=1*7 2*3        what the primary holds; `oldest=4 history=h2`
    hello / meets / answers            begin; the Welcome of the primary; its answer to the open question
    finds                              its answers to all questions, one after the other
    sends 2 commit=8                   its next two entries; `damaged` spoils the last one
    heartbeat round=1 commit=8         `too-old`, `refused epoch=3` likewise
    durable 9 / promised 4 / stands    the disk's word; another's promise; the node stands for election

A log's sketch: `1*7 2b` is seven entries of epoch 1, then one of epoch 2 on branch b.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from springtide.records import feed
from springtide.records.feed import Ack, Confirm, Copy, Hello, Probe
from springtide.records.ids import NodeId
from springtide.records.position import Point
from springtide.replica import follower
from springtide.replica.follower import Effect, Follower, Status, Streaming
from tests.unit.build import member
from tests.unit.replica.logs import Log


class Story:
    def __init__(self) -> None:
        self._follower: Follower | None = None
        self._mine = self._primary = Log()
        self._epoch, self._history = 1, "h"
        self._sent = 0
        self._open: Point | None = None
        self._lines: dict[str, Callable[[dict[str, str], str], list[Effect]]] = {
            "replica": self._replica,
            "primary": self._primary_is,
            "hello": self._hello,
            "meets": self._meets,
            "answers": self._answers,
            "finds": self._finds,
            "sends": self._sends,
            "heartbeat": self._heartbeat,
            "too-old": self._too_old,
            "refused": self._refused,
            "durable": self._durable,
            "promised": self._promised,
            "stands": self._stands,
        }

    def tell(self, line: str) -> str:
        word, _, rest = line.partition(" ")
        values, free = _values(rest)
        effects = self._lines[word](values, free)
        return "\n".join([self._where(), *("  " + self._say(effect) for effect in effects)])

    def _where(self) -> str:
        phase = self._follower.phase if self._follower is not None else None
        if isinstance(phase, Streaming):
            return f"streaming at {phase.received}, durable {phase.durable}, committed {phase.committed}"
        return type(phase).__name__.lower() if phase is not None else "nobody follows"

    # -- lines ---------------------------------------------------------------------------------

    def _replica(self, values: dict[str, str], free: str) -> list[Effect]:
        self._mine = Log(values.get("log", ""), int(values.get("commit", 0)), int(values.get("trimmed", 0)))
        self._mine.durable = int(values.get("durable", self._mine.durable))
        cluster, _, history = values.get("joined", "c/h").partition("/")
        self._follower = Follower(
            member("b"),
            "b-1",
            "c",
            joined=(cluster, history),
            promised=int(values.get("promised", 0)),
            log=self._mine,
            status=Status(applied=0, headroom_bytes=0, reads=True),
        )
        return []

    def _primary_is(self, values: dict[str, str], free: str) -> list[Effect]:
        self._epoch, self._history = int(values["epoch"]), values.get("history", "h")
        self._primary = Log(values["log"], trimmed=int(values.get("oldest", 0)))
        return []

    def _hello(self, values: dict[str, str], free: str) -> list[Effect]:
        return self._note(self._machine.begin())

    def _meets(self, values: dict[str, str], free: str) -> list[Effect]:
        primary = self._primary
        return self._receive(feed.Welcome(self._epoch, NodeId("a"), "a-1", self._history, primary.last, primary.oldest))

    def _answers(self, values: dict[str, str], free: str) -> list[Effect]:
        assert self._open is not None, "nothing was asked"
        asked, self._open = self._open, None
        return self._receive(self._primary.answer(asked))

    def _finds(self, values: dict[str, str], free: str) -> list[Effect]:
        effects: list[Effect] = []
        while self._open is not None:
            effects += self._answers(values, free)
        return effects

    def _sends(self, values: dict[str, str], free: str) -> list[Effect]:
        words = free.split()
        count = int(words[0])
        entries = self._primary.entries[self._sent : self._sent + count]
        self._sent += count
        if "damaged" in words:
            entries[-1] = replace(entries[-1], body=entries[-1].body[:-1] + b"?")
        return self._receive(feed.Append(tuple(entries), int(values["commit"])))

    def _heartbeat(self, values: dict[str, str], free: str) -> list[Effect]:
        return self._receive(feed.Heartbeat(int(values["round"]), int(values["commit"])))

    def _too_old(self, values: dict[str, str], free: str) -> list[Effect]:
        return self._receive(feed.TooOld(self._primary.oldest))

    def _refused(self, values: dict[str, str], free: str) -> list[Effect]:
        return self._receive(feed.Refused("not primary", int(values["epoch"])))

    def _durable(self, values: dict[str, str], free: str) -> list[Effect]:
        return self._note(self._machine.durable(int(free)))

    def _promised(self, values: dict[str, str], free: str) -> list[Effect]:
        return self._note(self._machine.promised(int(free)))

    def _stands(self, values: dict[str, str], free: str) -> list[Effect]:
        self._machine.stop_acknowledging()
        return []

    # -- the rest ------------------------------------------------------------------------------

    @property
    def _machine(self) -> Follower:
        assert self._follower is not None, "a story begins with a replica"
        return self._follower

    def _receive(self, message: feed.Downward) -> list[Effect]:
        return self._note(self._machine.receive(message))

    def _note(self, effects: tuple[Effect, ...]) -> list[Effect]:
        for effect in effects:
            match effect:
                case follower.Send(message=Probe(at=at)):
                    self._open = at
                case follower.Send(message=Copy(after=after)):
                    self._sent = after.lsn
        return list(effects)

    def _say(self, effect: Effect) -> str:
        match effect:
            case follower.Send(message=Hello(last=last, promised=promised)):
                return f"hello, last {last}, promised {promised}"
            case follower.Send(message=Probe(at=at)):
                return f"asks for {at}"
            case follower.Send(message=Copy(after=after)):
                return f"asks to copy after {after}"
            case follower.Send(message=Ack(durable=durable)):
                return f"acknowledges {durable}"
            case follower.Send(message=Confirm(round=round_)):
                return f"confirms round {round_}"
            case follower.Promise(epoch=epoch):
                return f"promises epoch {epoch}"
            case follower.Cut(keep=keep):
                return f"sets aside what follows {keep}"
            case follower.Adopt(cluster=cluster, history=history):
                return f"joins cluster {cluster}, history {history}"
            case follower.Append(entries=entries):
                return f"appends {entries[0].point} to {entries[-1].point}"
            case follower.CommitTo(lsn=lsn):
                return f"commits up to {lsn}"
            case follower.Leave(why=why, detail=detail):
                return f"leaves: {why.value} ({detail})"


def _values(rest: str) -> tuple[dict[str, str], str]:
    """``log=1*7 2b commit=3`` as {"log": "1*7 2b", "commit": "3"}: a value goes on until the next key."""
    values: dict[str, str] = {}
    free: list[str] = []
    key = ""
    for word in rest.split():
        name, equals, value = word.partition("=")
        if equals:
            key, values[name] = name, value
        elif key and word[0].isdigit():
            values[key] += " " + word
        else:
            free.append(word)
    return values, " ".join(free)
