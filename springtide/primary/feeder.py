"""Feed one follower: tell it where it stands, stream what follows, take its acknowledgements.

A shell around ``primary.feed``. The follower decides where to continue; this side
answers probes from its log and never changes anything of the follower's.
"""

from __future__ import annotations

import asyncio

from springtide import errors
from springtide.primary.feed import Progress, answer_probe
from springtide.primary.reign import Reign
from springtide.records import feed
from springtide.records.ids import NodeId
from springtide.wire.ports import Duplex, first_of

#: One message carries about this much; a batch is at least one entry, however large.
BATCH_BYTES = 2**20


async def serve(
    reign: Reign,
    stream: Duplex[feed.Downward, feed.Upward],
    hello: feed.Hello,
    cluster: str,
    history: str,
    uptime: str,
) -> None:
    """Serve one follower's stream until either side ends it.

    A follower that has promised a later epoch deposes this primary: the reign ends.
    """
    refusal = _refusal(reign, hello, cluster)
    if refusal is not None:
        await stream.send(refusal)
        return
    disk, heard = reign.disk, asyncio.get_running_loop().time()
    await stream.send(feed.Welcome(reign.epoch, NodeId(reign.me.node), uptime, history, disk.last, disk.oldest))
    while (message := await stream.receive()) is not None:
        match message:
            case feed.Probe(at):
                await stream.send(answer_probe(message, disk.point(at.lsn), disk.oldest))
            case feed.Copy(after) if disk.point(after.lsn) == after:
                await _stream(reign, stream, hello, after.lsn, heard)
                return
            case feed.Copy():
                await stream.send(feed.TooOld(disk.oldest))
            case _:
                raise errors.BadRequest(f"a follower sends {type(message).__name__} before it asked to copy")


def _refusal(reign: Reign, hello: feed.Hello, cluster: str) -> feed.Refused | None:
    if hello.cluster and hello.cluster != cluster:
        return feed.Refused(f"this is cluster {cluster}, node {hello.member.node} belongs to {hello.cluster}", 0)
    if hello.promised > reign.epoch:
        reign.end(f"node {hello.member.node} has promised epoch {hello.promised}, this is {reign.epoch}")
    if reign.ended.done():
        return feed.Refused(f"node {reign.me.node} is no longer the primary: {reign.ended.result()}", reign.epoch)
    return None


async def _stream(
    reign: Reign, stream: Duplex[feed.Downward, feed.Upward], hello: feed.Hello, after: int, heard: float
) -> None:
    loop = asyncio.get_running_loop()
    progress = Progress(hello.member, after, loop.time(), hello.electable)
    progress.clock = (hello.wall, heard) if hello.wall else None
    for former in [m for m in reign.followers if m.node == hello.member.node]:
        # An older stream, or another life of the directory: whoever it is must come again to be heard.
        reign.drop_follower(former)
    reign.followers[hello.member] = progress
    reign.announced.begun(progress)
    reign.bodies.begun(progress)
    reign.lost.pop(hello.member, None)
    wakeup = asyncio.Event()
    reign.wakeups.add(wakeup)
    try:
        await first_of(_send(reign, stream, progress, wakeup), _receive(reign, stream, progress, wakeup))
    finally:
        reign.wakeups.discard(wakeup)
        reign.announced.ended(progress)
        reign.bodies.ended(progress)
        if reign.followers.get(hello.member) is progress:
            del reign.followers[hello.member]
            reign.lost[hello.member] = loop.time()


async def _send(
    reign: Reign, stream: Duplex[feed.Downward, feed.Upward], progress: Progress, wakeup: asyncio.Event
) -> None:
    disk = reign.disk
    while not reign.ended.done() and not progress.superseded:
        wakeup.clear()
        news = reign.announced.untold(progress)
        if news:
            await stream.send(feed.Blobs(news))
        room = progress.room()
        if progress.sent < disk.last.lsn and room:
            batch = await disk.read(progress.sent, min(room, BATCH_BYTES))
            known = reign.bodies.known(progress, batch)
            await stream.send(progress.send(batch, reign.commits.commit, asyncio.get_running_loop().time(), known))
            del batch  # it may be large, and the next one a long time coming
            continue
        if progress.round_sent < progress.round:
            progress.round_sent, progress.commit_sent = progress.round, reign.commits.commit
            now = asyncio.get_running_loop().time()
            age = max(0.0, now - reign.proven_at(now))
            await stream.send(feed.Heartbeat(progress.round, reign.commits.commit, age))
            continue
        if progress.commit_sent < reign.commits.commit:
            # So that reads there are not behind; nothing is answered to it.
            progress.commit_sent = reign.commits.commit
            await stream.send(feed.Append((), reign.commits.commit))
            continue
        if (ahead := reign.bodies.next(progress)) is not None:
            await stream.send(ahead)
            del ahead
            continue
        try:
            async with asyncio.timeout(reign.settings.heartbeat_seconds):
                await wakeup.wait()
        except TimeoutError:
            progress.round += 1
    stream.close()


async def _receive(
    reign: Reign, stream: Duplex[feed.Downward, feed.Upward], progress: Progress, wakeup: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    while (message := await stream.receive()) is not None:
        progress.heard_at = loop.time()
        match message:
            case feed.Ack(durable):
                progress.acknowledged(message, loop.time())
                if reign.followers.get(progress.member) is progress:
                    reign.acknowledged(progress.member, durable)
                wakeup.set()
            case feed.Held(ids):
                reign.announced.held(progress, ids)
                reign.bodies.held(progress, ids)
                reign.changed.notify()
            case feed.Confirm(round, wall):
                progress.clock = (wall, loop.time()) if wall else None
                progress.confirmed = max(progress.confirmed, round)
                reign.confirmed()
            case _:
                raise errors.BadRequest(f"a follower sends {type(message).__name__} while it copies")
