"""What a reigning primary derives from its followers and the record.

Pure: values in, values out; the loop in ``node.core`` acts on them.
"""

from __future__ import annotations

from springtide import errors
from springtide.coordinator import membership, topology
from springtide.coordinator.membership import Membership
from springtide.coordinator.store import Announcement, View
from springtide.coordinator.topology import Record
from springtide.primary.feed import Progress
from springtide.primary.reign import Reign
from springtide.records.ids import NodeId


def progress(follower: Progress) -> topology.Progress:
    """A follower as the rules of the in-sync set see it."""
    return topology.Progress(
        follower.member,
        acked=follower.acked or None,
        heard=follower.heard_at,
        electable=follower.electable,
        complete=follower.reads,
        owes_since=follower.owes_since,
    )


def wanted_change(
    reign: Reign, members: Membership, view: View, began: float, now: float, change: str
) -> Record | None:
    """The change of the in-sync set to propose now, if any."""
    facts = membership.Reign(
        reign.commits.commit,
        reign.commits.start,
        began,
        now,
        reign.settings.stall_seconds,
        members.record.in_sync - {announcement.member for announcement in view.announcements.values()},
    )
    followers = [progress(follower) for follower in reign.followers.values()]
    here = {follower.member.node for follower in followers}
    followers += [
        topology.Progress(member, acked=None, heard=at)
        for member, at in sorted(reign.lost.items())
        if member in members.record.in_sync and member.node not in here
    ]
    return membership.choose_change(members.record, followers, facts, change)


def describe(record: Record) -> str:
    return ", ".join(str(member) for member in sorted(record.in_sync))


def successor(reign: Reign, members: Membership, view: View, to: NodeId | None) -> Announcement:
    """Who takes the role: the named in-sync node, else the in-sync one that is furthest. BadRequest if none can."""
    fit = [
        announcement
        for announcement in view.announcements.values()
        if announcement.member in members.record.in_sync
        and announcement.member in reign.followers
        and announcement.node != reign.me.node
        and to in (None, announcement.node)
    ]
    if not fit:
        who = f"node {to} is" if to else "no other node is"
        raise errors.BadRequest(f"{who} in sync and connected, so nobody can take over from {reign.me.node}")
    return max(fit, key=lambda a: (reign.commits.acked(a.member), a.node))


#: How long the log that leads on from a copy is kept after it: whoever took it must still ask the primary for the rest,
#: or goes on where it was interrupted.
PIN_SECONDS = 30.0


def snapshot_source(record: Record, view: View, me: NodeId) -> str | None:
    """The address of an in-sync replica to copy from, if there is one beside the primary."""
    for member in sorted(record.in_sync):
        announcement = view.announcements.get(member.node)
        if announcement is not None and announcement.member == member and member.node not in (me, record.primary.node):
            return announcement.address
    return None
