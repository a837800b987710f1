"""A cluster in memory that speaks the session protocol: what the client is tested against.

``FakeCluster`` holds one database and several ``FakeNode`` servers on real ports. A
test can stop a node, move the lead, and name what happens at a step of the protocol:
``cluster.trip("finish", ...)`` runs once, on the serving thread, when that step is next.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from springtide.engine.overlay import Revision
from springtide.engine.past import repeats
from springtide.records.entries import Write
from springtide.records.ids import TID_ZERO, Oid, Tid, number, tid
from springtide.wire.v1 import records_pb2 as records
from springtide.wire.v1 import session_pb2 as wire
from tests.unit.client import fake_blobs

LOCK_SECONDS = 5.0
CHUNK = 64 * 1024


class Refusal(Exception):
    def __init__(self, code: int, message: str, primary: str = "") -> None:
        super().__init__(message)
        self.code, self.primary = code, primary


class Drop(Exception):
    """End the session here."""


@dataclass
class Work:
    """A transaction as the primary holds it."""

    session: Any
    writes: dict[tuple[bytes, bool], wire.Write] = field(default_factory=dict)
    partial: list[bytes] = field(default_factory=list)
    vote: wire.Vote | None = None
    epoch: int = 0


class FakeCluster:
    def __init__(self, nodes: int = 1, cluster: str = "c1") -> None:
        self.id, self.history, self.epoch = cluster, "h1", 1
        self.lock = threading.Condition(threading.RLock())
        self.revisions: dict[bytes, list[tuple[bytes, bytes | None]]] = {}
        self.transactions: list[tuple[wire.IteratedHead, list[wire.IteratedRecord]]] = []
        self.outcomes: dict[bytes, bytes] = {}
        self.fenced: dict[bytes, int] = {}
        self.work: dict[tuple[bytes, int], Work] = {}
        self.locks: dict[bytes, tuple[bytes, int]] = {}
        self.next_oid = 1
        self.last = TID_ZERO
        self.packs = 0
        self.gone: list[tuple[int, tuple[bytes, ...]]] = []
        self.trips: dict[str, list[Callable[[], None]]] = {}
        self.seen: list[str] = []
        self.record_bytes_max = 16 * 2**20
        self.blob_bytes_max = 0
        self.blobs: dict[tuple[bytes, bytes], wire.Blob] = {}
        self.packed = TID_ZERO
        self.untold = False  # nobody is told what changes, nor what has
        self.page = 3  # objects in one answer
        self.nodes = [FakeNode(self, f"n{i}") for i in range(nodes)]
        self.primary: FakeNode | None = self.nodes[0]

    # -- for tests -----------------------------------------------------------------------------

    @property
    def addresses(self) -> list[str]:
        return [node.address for node in self.nodes]

    def trip(self, step: str, action: Callable[[], None]) -> None:
        with self.lock:
            self.trips.setdefault(step, []).append(action)

    def refuse(self, step: str, code: int, message: str = "refused", primary: str = "") -> None:
        def action() -> None:
            raise Refusal(code, message, primary)

        self.trip(step, action)

    def drop(self, step: str) -> None:
        def action() -> None:
            raise Drop

        self.trip(step, action)

    def write(self, oid: bytes, data: bytes) -> Tid:
        """Somebody commits this."""
        with self.lock:
            at = tid(max(number(self.last) + 1, int(time.time() * 1e6) << 12))
            self.revisions.setdefault(oid, []).append((at, data))
            self.transactions.append((wire.IteratedHead(tid=at), [wire.IteratedRecord(oid=oid, data=data)]))
            self.last = at
            for node in self.nodes:
                node.push(wire.NodeMessage(invalidation=wire.Invalidation(tid=at, oids=[oid])))
            return at

    def purge(self, *oids: bytes, told: bool = True) -> None:
        """A pack takes these objects away."""
        with self.lock:
            self.packs += 1
            self.gone.append((self.packs, oids))
            for oid in oids:
                del self.revisions[oid]
            for node in self.nodes if told else ():
                node.push(wire.NodeMessage(purged=wire.Purged(packs=self.packs, oids=oids)))

    def lead(self, node: FakeNode | None) -> None:
        """Another node leads, in a new epoch: the old one's votes are gone."""
        with self.lock:
            self.primary = node
            self.epoch += 1
            self.work.clear()
            self.locks.clear()
            self.lock.notify_all()
            for each in self.nodes:
                each.push(wire.NodeMessage(topology=self.topology()))

    def close(self) -> None:
        for node in self.nodes:
            node.stop()

    # -- the database --------------------------------------------------------------------------

    def step(self, name: str) -> None:
        with self.lock:
            self.seen.append(name)
            actions = self.trips.get(name)
            action = actions.pop(0) if actions else None
        if action is not None:
            action()

    def topology(self) -> records.Topology:
        primary = self.primary.id if self.primary else ""
        nodes = [
            records.Node(id=node.id, address=node.address, primary=node.id == primary, in_sync=True)
            for node in self.nodes
        ]
        return records.Topology(epoch=self.epoch, primary=primary, nodes=nodes)

    def load_before(self, oid: bytes, before: bytes) -> wire.Loaded:
        answer = wire.Loaded(oid=oid, as_of=self.last)
        revisions = self.revisions.get(oid)
        if revisions is None:
            answer.result = wire.Loaded.RESULT_UNKNOWN
            return answer
        answer.result = wire.Loaded.RESULT_NOT_YET
        for index, (at, data) in enumerate(revisions):
            if at >= before:
                break
            answer.tid = at
            answer.result = wire.Loaded.RESULT_DELETED if data is None else wire.Loaded.RESULT_FOUND
            answer.data = data or b""
            answer.next_tid = revisions[index + 1][0] if index + 1 < len(revisions) else b""
        if (blob := self.blobs.get((oid, answer.tid))) is not None:
            answer.blob.CopyFrom(blob)
        return answer

    def load_serial(self, oid: bytes, at: bytes) -> wire.Loaded:
        answer = self.load_before(oid, tid(number(at) + 1))
        if answer.tid != at:
            answer.result = wire.Loaded.RESULT_UNKNOWN
        return answer

    def revision(self, oid: bytes, at: bytes, data: bytes | None) -> Revision:
        """A revision as the engine has it."""
        (made,) = [records for head, records in self.transactions if head.tid == at]
        (record,) = [record for record in made if record.oid == oid]
        return Revision(Tid(at), Write(Oid(oid), data, Tid(record.data_tid) if record.data_tid else None))

    def current(self, oid: bytes) -> tuple[bytes, bytes | None]:
        revisions = self.revisions.get(oid)
        return revisions[-1] if revisions else (b"", None)

    def vote(self, key: tuple[bytes, int], vote: wire.Vote) -> wire.Voted:
        with self.lock:
            if key[0] in self.outcomes or self.fenced.get(key[0], 0) >= key[1]:
                raise Refusal(records.CODE_BAD_REQUEST, "this attempt is over")
            work = self.work.get(key) or self.work.setdefault(key, Work(None))
            assert len(work.writes) == vote.writes, "not what was sent"
            missing = fake_blobs.missing(self.primary, work.writes.values())
            if missing:
                return wire.Voted(epoch=self.epoch, missing_blobs=missing)
            deadline = time.monotonic() + LOCK_SECONDS
            for oid in sorted({oid for oid, _ in work.writes}):
                while self.locks.get(oid, key) != key:
                    if not self.lock.wait(deadline - time.monotonic()):
                        raise Refusal(records.CODE_VOTE_TIMED_OUT, "others hold the objects")
                if key not in self.work:
                    raise Refusal(records.CODE_NOT_PRIMARY, "the epoch ended")
                self.locks[oid] = key
            if vote.undoes and vote.undoes <= self.packed:
                raise Refusal(records.CODE_PACKED, "it was packed")
            if vote.tid and vote.tid <= self.last:
                raise Refusal(records.CODE_BAD_REQUEST, "tids only grow")
            work.vote, work.epoch = vote, self.epoch
            return wire.Voted(epoch=self.epoch, conflicts=self._conflicts(work))

    def _conflicts(self, work: Work) -> Iterator[wire.Conflict]:
        for (oid, check), write in work.writes.items():
            if write.kind == wire.Write.KIND_RESTORE:
                continue
            committed, data = self.current(oid)
            serial = write.serial if write.serial != TID_ZERO else b""
            if serial != committed:
                yield wire.Conflict(
                    oid=oid,
                    serial=write.serial,
                    committed=committed,
                    read_check=check,
                    data=data or b"",
                    deleted=bool(committed) and data is None,
                )

    def finish(self, key: tuple[bytes, int], epoch: int) -> Tid:
        with self.lock:
            work = self.work.get(key)
            if work is None or work.vote is None or epoch != self.epoch:
                raise Refusal(records.CODE_BAD_REQUEST, "no such vote")
            vote = work.vote
            at = Tid(vote.tid) or tid(max(number(self.last) + 1, int(time.time() * 1e6) << 12))
            head = wire.IteratedHead(
                tid=at, status=vote.status, user=vote.user, description=vote.description, extension=vote.extension
            )
            made = []
            for (oid, check), write in work.writes.items():
                if check:
                    continue
                gone = write.kind == wire.Write.KIND_DELETE or write.absent
                self.revisions.setdefault(oid, []).append((at, None if gone else write.data))
                self.next_oid = max(self.next_oid, number(oid) + 1)
                record = wire.IteratedRecord(oid=oid, data=write.data, data_tid=write.data_tid, absent=gone)
                fake_blobs.committed(self, write, at, record)
                made.append(record)
            self.transactions.append((head, made))
            self.outcomes[key[0]] = at
            self.last = at
            self.release(key)
            news = wire.NodeMessage(invalidation=wire.Invalidation(tid=at, oids=[r.oid for r in made]))
            for node in self.nodes:
                node.push(news, but=work.session)
            return at

    def release(self, key: tuple[bytes, int]) -> None:
        with self.lock:
            self.work.pop(key, None)
            for oid in [oid for oid, holder in self.locks.items() if holder == key]:
                del self.locks[oid]
            self.lock.notify_all()

    def outcome(self, ask: wire.AskOutcome) -> wire.Outcome:
        with self.lock:
            at = self.outcomes.get(ask.transaction)
            if at is not None:
                return wire.Outcome(result=wire.Outcome.RESULT_COMMITTED, tid=at)
            self.fenced[ask.transaction] = ask.attempt
            for key in [key for key in self.work if key[0] == ask.transaction and key[1] <= ask.attempt]:
                self.release(key)
            return wire.Outcome(result=wire.Outcome.RESULT_NEVER)


class FakeNode:
    def __init__(self, cluster: FakeCluster, id: str) -> None:
        self.cluster, self.id = cluster, id
        self.sessions: list[FakeSession] = []
        self.frozen_at: Tid | None = None  # it has not caught up beyond this
        self.loads = 0
        self.unchanged = 0  # of these, how many needed no data
        self.uploaded: dict[bytes, bytearray] = {}
        self.files: dict[tuple[bytes, bytes], bytes] = {}
        self.address = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(200), options=(("grpc.so_reuseport", 0),))
        handlers = {
            "Session": grpc.stream_stream_rpc_method_handler(
                self._session, wire.ClientMessage.FromString, wire.NodeMessage.SerializeToString
            ),
            "Iterate": grpc.unary_stream_rpc_method_handler(
                self._iterate, wire.IterateRequest.FromString, wire.IterateAnswer.SerializeToString
            ),
            **fake_blobs.handlers(self),
        }
        service = grpc.method_handlers_generic_handler("springtide.wire.v1.Storage", handlers)
        self._server.add_generic_rpc_handlers((service,))
        port = self._server.add_insecure_port(self.address)
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        self.drop_sessions()
        self._server.stop(0).wait(5)

    def drop_sessions(self) -> None:
        for session in list(self.sessions):
            session.out.put(None)

    def push(self, message: wire.NodeMessage, but: Any = None) -> None:
        for session in list(self.sessions):
            if session.wants_news and session is not but and not self.cluster.untold:
                session.out.put(message)

    def _iterate(self, request: wire.IterateRequest, context: Any) -> Iterator[wire.IterateAnswer]:
        self.cluster.step("iterate")
        for head, made in list(self.cluster.transactions):
            if request.start <= head.tid <= request.stop:
                yield wire.IterateAnswer(head=head)
                for record in made:
                    yield wire.IterateAnswer(record=record)

    def _session(self, requests: Iterator[wire.ClientMessage], context: Any) -> Iterator[wire.NodeMessage]:
        session = FakeSession(self)
        threading.Thread(target=session.serve, args=(requests,), daemon=True).start()
        try:
            while (message := session.out.get()) is not None:
                yield message
        finally:
            session.ended()


class FakeSession:
    def __init__(self, node: FakeNode) -> None:
        self.node, self.cluster = node, node.cluster
        self.out: queue.SimpleQueue[wire.NodeMessage | None] = queue.SimpleQueue()
        self.wants_news = False

    def ended(self) -> None:
        with self.cluster.lock:
            if self in self.node.sessions:
                self.node.sessions.remove(self)
            for key, work in list(self.cluster.work.items()):
                if work.session is self:
                    self.cluster.release(key)

    def serve(self, requests: Iterator[wire.ClientMessage]) -> None:
        try:
            self._welcome(next(requests).hello)
            for message in requests:
                kind = message.WhichOneof("body")
                if kind in ("vote", "finish", "load", "ask_outcome", "sync"):  # these may wait
                    threading.Thread(target=self._handle, args=(kind, message), daemon=True).start()
                else:
                    self._handle(kind, message)
        except (StopIteration, grpc.RpcError):
            pass
        except Refusal as refusal:
            self._refuse(0, refusal)
        finally:
            self.out.put(None)

    def _refuse(self, request: int, refusal: Refusal) -> None:
        error = records.Error(code=refusal.code, message=str(refusal), primary=refusal.primary)
        self.out.put(wire.NodeMessage(request=request, error=error))

    def _welcome(self, hello: wire.SessionHello) -> None:
        cluster = self.cluster
        cluster.step("hello")
        if hello.wire_version != 1:
            raise Refusal(records.CODE_WRONG_VERSION, "speaks version 1")
        if hello.cluster not in ("", cluster.id):
            raise Refusal(records.CODE_WRONG_CLUSTER, "this is another cluster")
        with cluster.lock:
            if hello.last_tid > cluster.last:
                raise Refusal(records.CODE_NOT_CAUGHT_UP, "behind the client")
            self.out.put(
                wire.NodeMessage(
                    welcome=wire.SessionWelcome(
                        wire_version=1,
                        cluster=cluster.id,
                        history=cluster.history,
                        node=self.node.id,
                        last_tid=cluster.last,
                        topology=cluster.topology(),
                        packs=cluster.packs,
                        packed=cluster.packed,
                        limits=wire.Limits(
                            record_bytes_max=cluster.record_bytes_max, blob_bytes_max=cluster.blob_bytes_max
                        ),
                    )
                )
            )
            if hello.invalidations and hello.last_tid and not cluster.untold:
                for packs, oids in cluster.gone:
                    if packs > hello.packs:
                        self.out.put(wire.NodeMessage(purged=wire.Purged(packs=packs, oids=oids)))
                for head, made in cluster.transactions:
                    if head.tid > hello.last_tid:
                        oids = [record.oid for record in made]
                        self.out.put(wire.NodeMessage(invalidation=wire.Invalidation(tid=head.tid, oids=oids)))
            self.wants_news = hello.invalidations
            self.node.sessions.append(self)

    def _handle(self, kind: str, message: wire.ClientMessage) -> None:
        request = message.request
        try:
            self.cluster.step(kind)
            answer = getattr(self, kind)(request, getattr(message, kind))
            if answer is not None:
                self.out.put(wire.NodeMessage(request=request, **answer))
        except Refusal as refusal:
            self._refuse(request, refusal)
        except Drop:
            self.out.put(None)

    def _primary(self) -> None:
        leader = self.cluster.primary
        if leader is not self.node:
            raise Refusal(records.CODE_NOT_PRIMARY, "not the primary", leader.address if leader else "")

    def _caught_up(self, floor: bytes) -> None:
        behind = self.node.frozen_at is not None and floor > self.node.frozen_at
        if floor > self.cluster.last or behind:
            raise Refusal(records.CODE_NOT_CAUGHT_UP, "behind")

    def _loaded(self, request: int, answer: wire.Loaded) -> None:
        data, answer.packs = answer.data, self.cluster.packs
        answer.data, answer.more = data[:CHUNK], len(data) > CHUNK
        self.out.put(wire.NodeMessage(request=request, loaded=answer))
        for at in range(CHUNK, len(data), CHUNK):
            part = wire.Loaded(oid=answer.oid, data=data[at : at + CHUNK], more=at + CHUNK < len(data))
            self.out.put(wire.NodeMessage(request=request, loaded=part))

    def load(self, request: int, load: wire.Load) -> None:
        with self.cluster.lock:
            self._caught_up(load.floor)
            self.node.loads += 1
            answer = self.cluster.load_before(load.oid, load.before)
            if answer.tid and answer.tid == load.have:
                self.node.unchanged += 1
                answer.data, answer.unchanged = b"", True
            self._loaded(request, answer)

    def load_serial(self, request: int, load: wire.LoadSerial) -> None:
        with self.cluster.lock:
            self._caught_up(load.floor)
            self._loaded(request, self.cluster.load_serial(load.oid, load.tid))

    def prefetch(self, request: int, many: wire.Prefetch) -> dict[str, Any]:
        with self.cluster.lock:
            for oid in many.oids:
                self._loaded(request, self.cluster.load_before(oid, many.before))
        return {"done": wire.Done()}

    def heads(self, request: int, heads: wire.Heads) -> dict[str, Any]:
        with self.cluster.lock:
            self._caught_up(heads.floor)
            found = [head for head, _ in reversed(self.cluster.transactions) if head.tid < heads.before]
            for head in found[: heads.count]:
                self._told(request, head)
        return {"done": wire.Done()}

    def _told(self, request: int, head: wire.IteratedHead, **more: Any) -> None:
        past = wire.Past(
            tid=head.tid,
            status=head.status,
            user=head.user,
            description=head.description,
            extension=head.extension,
            packed=head.tid <= self.cluster.packed,
            **more,
        )
        self.out.put(wire.NodeMessage(request=request, past=past))

    def history(self, request: int, asked: wire.History) -> dict[str, Any]:
        with self.cluster.lock:
            self._caught_up(asked.floor)
            heads = {head.tid: head for head, _ in self.cluster.transactions}
            revisions = [(at, data) for at, data in self.cluster.revisions.get(asked.oid, ()) if at < asked.before]
            for at, data in revisions[::-1][: asked.count]:
                self._told(request, heads[at], size=len(data or b""), absent=data is None)
        return {"done": wire.Done()}

    def undo_read(self, request: int, asked: wire.UndoRead) -> dict[str, Any]:
        with self.cluster.lock:
            self._caught_up(asked.floor)
            found = [(head, made) for head, made in self.cluster.transactions if head.tid == asked.tid]
            if not found:
                return {"done": wire.Done()}
            head, made = found[0]
            self._told(request, head)
            oids = list(asked.oids) or [record.oid for record in made][asked.first :]
            for oid in oids[: self.cluster.page]:
                self._undone(request, head.tid, oid)
        more = len(oids) > self.cluster.page
        return {"done": wire.Done(next=(asked.first + self.cluster.page).to_bytes(8, "big") if more else b"")}

    def _undone(self, request: int, at: bytes, oid: bytes) -> None:
        revisions = self.cluster.revisions[oid]
        said, (newest, current) = dict(revisions)[at], revisions[-1]
        older = [revision for revision in revisions if revision[0] < at]
        before, data = older[-1] if older else (b"", None)
        told = wire.Undone(
            oid=oid,
            current=newest,
            current_absent=current is None,
            same=repeats(self.cluster.revision(oid, *revisions[-1]), self.cluster.revision(oid, at, said)),
            undone_absent=said is None,
            before=before,
            before_absent=bool(before) and data is None,
        )
        pieces = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)] if data else [b""]
        for at, piece in enumerate(pieces, 1):
            told.data, told.more = piece, at < len(pieces)
            self.out.put(wire.NodeMessage(request=request, undone=told))
            told = wire.Undone(oid=oid)

    def records(self, request: int, asked: wire.Records) -> dict[str, Any]:
        with self.cluster.lock:
            self._caught_up(asked.floor)
            living = [o for o, kept in sorted(self.cluster.revisions.items()) if kept[-1][1] is not None]
            oids = [oid for oid in living if oid >= asked.start]
            for oid in oids[: self.cluster.page]:
                self._loaded(request, self.cluster.load_before(oid, b"\x7f" + b"\xff" * 7))
        return {"done": wire.Done(next=oids[self.cluster.page] if len(oids) > self.cluster.page else b"")}

    def new_oids(self, request: int, new: wire.NewOids) -> dict[str, Any]:
        self._primary()
        with self.cluster.lock:
            first = self.cluster.next_oid
            self.cluster.next_oid += new.count
        return {"oids": wire.Oids(first=first, count=new.count)}

    def stores(self, request: int, stores: wire.Stores) -> None:
        key = stores.transaction, stores.attempt
        with self.cluster.lock:
            work = self.cluster.work.setdefault(key, Work(self))
            for write in stores.writes:
                if work.partial:
                    work.partial.append(write.data)
                    last = max(work.writes)  # the one that was begun last is completed
                    last = next(reversed(work.writes))
                    if not write.more:
                        work.writes[last].data = b"".join(work.partial)
                        work.partial = []
                    continue
                check = write.kind == wire.Write.KIND_CHECK
                work.writes.pop((write.oid, check), None)
                work.writes[write.oid, check] = write
                if write.more:
                    work.partial = [write.data]

    def vote(self, request: int, vote: wire.Vote) -> dict[str, Any]:
        self._primary()
        key = vote.transaction, vote.attempt
        if vote.stores:
            self.stores(0, wire.Stores(transaction=vote.transaction, attempt=vote.attempt, writes=vote.stores))
        try:
            return {"voted": self.cluster.vote(key, vote)}
        except Refusal:
            self.cluster.release(key)
            raise

    def finish(self, request: int, finish: wire.Finish) -> None:
        self._primary()
        with self.cluster.lock:
            at = self.cluster.finish((finish.transaction, finish.attempt), finish.epoch)
            self.cluster.step("finished")
            self.out.put(wire.NodeMessage(request=request, finished=wire.Finished(tid=at)))

    def abort(self, request: int, abort: wire.Abort) -> None:
        self.cluster.release((abort.transaction, abort.attempt))

    def ask_outcome(self, request: int, ask: wire.AskOutcome) -> dict[str, Any]:
        self._primary()
        return {"outcome": self.cluster.outcome(ask)}

    def info(self, request: int, info: wire.Info) -> dict[str, Any]:
        with self.cluster.lock:
            return {"info": wire.InfoAnswer(objects=len(self.cluster.revisions), bytes=1, last_tid=self.cluster.last)}

    def sync(self, request: int, sync: wire.Sync) -> dict[str, Any]:
        with self.cluster.lock:
            return {"synced": wire.Synced(last_tid=self.cluster.last)}
