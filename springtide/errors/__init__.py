"""Every error that crosses a border of this package, drawn as one tree that says who must act.

Pure. Names that applications meet are subclasses of ZODB's own errors and are
made in ``springtide.client.errors`` from these.

* SpringtideError
  + TryAgain                the client retries by itself
    - NotPrimary            ... at the node named in ``primary``, if any
    - NotCaughtUp           ... a little later, or at another node
    - BelowMinimum          ... later: too few in-sync members for commits
    - VoteTimedOut          ... from the start: others held the objects too long
    - Unreachable           ... a peer, a node or the coordinator did not answer
    - Stopping              ... elsewhere: this node is shutting down
    - BlobMissing           ... elsewhere: this node lacks the file of a blob
    - Collected             ... from the start: a pack took away an object that it refers to
  + Rejected                the caller must change what it asks for
    - TooLarge              a message, record or transaction is above its limit
    - BadRequest            malformed, out of order, or about an unknown vote
    - WrongCluster          the two sides belong to different clusters
    - WrongVersion          the two sides do not speak the same wire version
    - Packed                what is to be undone was packed
    - PackRefused           what this pack would take away cannot be known, or is needed
    - NoSpace               a member's disk is nearly full: an operator must act before writes go on
  + Fenced                  this node stops acting as primary, at once
  + OutcomeUnknown          the application must look before it repeats
  + OperatorError           an operator must act; the message says how
    - ConfigError           a setting is wrong
    - Occupied              the port, the directory or the name is in use by another
    - ForeignDirectory      the directory belongs to another node or cluster
    - NoRecord              data here, but the coordinator knows of no cluster
    - NewerFormat           the directory was written by a later version of springtide
    - Damaged               bytes on disk are not what was written; the node stops serving
    - DiskFailed            a write or a sync failed; the node stops and does not retry
    - Broken                a rule of the protocol does not hold; the node stops before anything follows from it
"""

from __future__ import annotations


class SpringtideError(Exception):
    """The root. The message names what happened, where, and what to do."""


class TryAgain(SpringtideError):
    pass


class NotPrimary(TryAgain):
    def __init__(self, message: str, primary: str | None = None) -> None:
        super().__init__(message)
        #: Address (host:port) of the primary, where known.
        self.primary = primary


class NotCaughtUp(TryAgain):
    pass


class BelowMinimum(TryAgain):
    pass


class VoteTimedOut(TryAgain):
    pass


class Unreachable(TryAgain):
    pass


class Stopping(TryAgain):
    pass


class BlobMissing(TryAgain):
    pass


class Collected(TryAgain):
    pass


class Rejected(SpringtideError):
    pass


class TooLarge(Rejected):
    pass


class BadRequest(Rejected):
    pass


class WrongCluster(Rejected):
    pass


class WrongVersion(Rejected):
    pass


class Packed(Rejected):
    pass


class NoSpace(Rejected):
    pass


class PackRefused(Rejected):
    pass


class Fenced(SpringtideError):
    pass


class OutcomeUnknown(SpringtideError):
    pass


class OperatorError(SpringtideError):
    pass


class ConfigError(OperatorError):
    pass


class Occupied(OperatorError):
    pass


class ForeignDirectory(OperatorError):
    pass


class NoRecord(OperatorError):
    pass


class NewerFormat(OperatorError):
    pass


class Damaged(OperatorError):
    pass


class DiskFailed(OperatorError):
    pass


class Broken(OperatorError):
    """An invariant that safety rests on. Not an ``assert``: it must hold under ``python -O``, too."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(
            f"{what}: this breaks {invariant}, so this node stops before anything follows from it. Keep its log and "
            "directory, and report this; the other nodes go on"
        )
        #: The rule, by the name it has in ARCHITECTURE.
        self.invariant = invariant
