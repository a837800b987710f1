"""Every error an application meets, and which wire code becomes which.

All of them are ZODB's own kinds, so that existing code handles them: a
``TransientError`` says that repeating the transaction is safe and may help, any
other ``POSError`` that it is not, or will not. Nothing of gRPC, sockets or time
leaves the storage.

* ClusterUnavailable         transient: no node could do it before the deadline
  - TooFewInSync             ... commits wait for more in-sync members
* VoteTimedOut               transient, a ConflictError: others held the objects too long
* CommitOutcomeUnknown       look with ``storage.outcome(error.transaction_id)`` before repeating
* NotCommitted               finish failed, and certainly nothing was committed
* RecordTooLarge             one record, or the whole transaction, is above the cluster's limit
* UndoRefused                an UndoError: the transaction cannot be undone, and why
* ClusterOutOfSpace          a member's disk is nearly full: an operator must act
* SpillFailed                this machine's disk cannot hold a large transaction until its vote
* WrongCluster, WrongVersion these nodes are not what this client was made for
* RequestRefused             a node refused a request as malformed or out of order
* PackRefused                what a pack would take away cannot be known, or is needed
* ObjectCollected            transient, a ConflictError: a pack took away an object that the transaction refers to
* NodeFailed                 a node failed internally, or its files are damaged
* BlobDirectoryFailed        the blob directory of this storage cannot be written or read: its disk is full, say
* StorageClosed              the storage was closed before or during the call
"""

from __future__ import annotations

from transaction.interfaces import TransientError
from ZODB.POSException import (
    ConflictError,
    POSError,
    ReadConflictError,
    StorageError,
    StorageSystemError,
    TransactionTooLargeError,
    UndoError,
)

from springtide import errors
from springtide.records.ids import TransactionId
from springtide.wire.v1 import records_pb2 as wire


class ClusterUnavailable(errors.TryAgain, POSError, TransientError):  # type: ignore[misc]
    """No node could do what was asked before the deadline. Nothing was committed."""


class TooFewInSync(errors.BelowMinimum, ClusterUnavailable):
    """Commits wait until enough members are in sync again; reads go on."""


class VoteTimedOut(errors.VoteTimedOut, ConflictError):  # type: ignore[misc]
    """Other transactions held these objects for too long. Nothing was committed."""

    def __init__(self, message: str) -> None:
        ConflictError.__init__(self, message)
        self.args = (message,)


class CommitOutcomeUnknown(errors.OutcomeUnknown, StorageError):  # type: ignore[misc]
    """The transaction may or may not have been committed: nobody could say in time.

    Not transient: repeating it could commit twice. ``storage.outcome(transaction_id)``
    asks again later.
    """

    def __init__(self, message: str, transaction_id: TransactionId, epoch: int) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id
        #: The epoch in which it was finished: nobody of an earlier one can say what became of it.
        self.epoch = epoch


class NotCommitted(errors.SpringtideError, StorageError):  # type: ignore[misc]
    """``tpc_finish`` failed, and certainly nothing was committed."""


class RecordTooLarge(errors.TooLarge, TransactionTooLargeError):  # type: ignore[misc]
    """A record, or a transaction, is larger than the cluster accepts."""


class ClusterOutOfSpace(errors.NoSpace, StorageError):  # type: ignore[misc]
    """A member's disk is nearly full, so commits are refused until an operator acts."""


class UndoRefused(UndoError, errors.Packed):  # type: ignore[misc]
    """The transaction cannot be undone: the message names it and says why, and ``oid`` names the object, if one."""

    def __init__(self, reason: str, oid: bytes | None = None) -> None:
        super().__init__(reason, oid)
        self.args = (reason, oid)
        self.oid = oid

    def __str__(self) -> str:
        return str(self.args[0]) if self.oid is None else f"oid {self.oid.hex()}: {self.args[0]}"


class SpillFailed(errors.SpringtideError, StorageError):  # type: ignore[misc]
    """The temporary file that holds a large transaction's records on this machine cannot be written or read."""


class WrongCluster(errors.WrongCluster, StorageError):  # type: ignore[misc]
    """The nodes at the given addresses belong to another cluster."""


class WrongVersion(errors.WrongVersion, StorageError):  # type: ignore[misc]
    """The node does not speak this client's wire version: upgrade the older of the two."""


class RequestRefused(errors.BadRequest, StorageError):  # type: ignore[misc]
    """A node refused a request as malformed or out of order."""


class PackRefused(errors.PackRefused, StorageError):  # type: ignore[misc]
    """A pack was not done, or not to its end. What it did not take away is as it was."""


class ObjectCollected(errors.Collected, ReadConflictError):  # type: ignore[misc]
    """The transaction refers to an object that nothing referred to any more, and that a pack took away."""

    def __init__(self, message: str) -> None:
        ReadConflictError.__init__(self, message)
        self.args = (message,)


class NodeFailed(errors.Damaged, StorageSystemError):  # type: ignore[misc]
    """A node failed while it served a request, and no other node could serve it."""


class BlobDirectoryFailed(errors.OperatorError, StorageError):  # type: ignore[misc]
    """The directory in which this storage keeps blobs cannot be written or read."""


class StorageClosed(errors.Stopping, StorageError):  # type: ignore[misc]
    """The storage was closed before or during the call."""


# -- inside the client -------------------------------------------------------------------------


class SessionLost(errors.Unreachable):
    """The stream to a node ended. What was asked on it may or may not have been done."""


class Refused(errors.SpringtideError):
    """A node answered with an error."""

    def __init__(self, code: int, message: str, node: str, primary: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.node = node
        #: Address of the primary, where the node knows better.
        self.primary = primary

    @property
    def elsewhere(self) -> bool:
        """Whether another node, or this one a little later, may do it."""
        return self.code in _ELSEWHERE

    def __str__(self) -> str:
        return f"node {self.node}: {self.args[0]}"


_ELSEWHERE = frozenset(
    {
        wire.CODE_NOT_PRIMARY,
        wire.CODE_NOT_CAUGHT_UP,
        wire.CODE_STOPPING,
        wire.CODE_UNREACHABLE,
        wire.CODE_OUTCOME_UNKNOWN,
        wire.CODE_BLOB_MISSING,
    }
)

_FINAL: dict[int, type[Exception]] = {
    wire.CODE_BELOW_MINIMUM: TooFewInSync,
    wire.CODE_VOTE_TIMED_OUT: VoteTimedOut,
    wire.CODE_TOO_LARGE: RecordTooLarge,
    wire.CODE_BAD_REQUEST: RequestRefused,
    wire.CODE_WRONG_CLUSTER: WrongCluster,
    wire.CODE_WRONG_VERSION: WrongVersion,
    wire.CODE_PACKED: UndoRefused,
    wire.CODE_NO_SPACE: ClusterOutOfSpace,
    wire.CODE_PACK_REFUSED: PackRefused,
    wire.CODE_COLLECTED: ObjectCollected,
    wire.CODE_DAMAGED: NodeFailed,
    wire.CODE_INTERNAL: NodeFailed,
}


def translated(refusal: Refused) -> Exception:
    """What the application is told when a refusal is final."""
    kind = _FINAL.get(refusal.code, ClusterUnavailable)
    return kind(str(refusal))
