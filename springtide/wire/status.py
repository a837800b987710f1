"""Errors as they travel: one table, used by both sides."""

from __future__ import annotations

from springtide import errors
from springtide.wire.v1 import records_pb2 as pb

CODES: dict[type[errors.SpringtideError], pb.Code] = {
    errors.NotPrimary: pb.CODE_NOT_PRIMARY,
    errors.NotCaughtUp: pb.CODE_NOT_CAUGHT_UP,
    errors.BelowMinimum: pb.CODE_BELOW_MINIMUM,
    errors.VoteTimedOut: pb.CODE_VOTE_TIMED_OUT,
    errors.Stopping: pb.CODE_STOPPING,
    errors.TooLarge: pb.CODE_TOO_LARGE,
    errors.BadRequest: pb.CODE_BAD_REQUEST,
    errors.WrongCluster: pb.CODE_WRONG_CLUSTER,
    errors.WrongVersion: pb.CODE_WRONG_VERSION,
    errors.Packed: pb.CODE_PACKED,
    errors.NoSpace: pb.CODE_NO_SPACE,
    errors.Damaged: pb.CODE_DAMAGED,
    errors.OutcomeUnknown: pb.CODE_OUTCOME_UNKNOWN,
    errors.Unreachable: pb.CODE_UNREACHABLE,
    errors.BlobMissing: pb.CODE_BLOB_MISSING,
    errors.PackRefused: pb.CODE_PACK_REFUSED,
    errors.Collected: pb.CODE_COLLECTED,
}
_TYPES = {code: kind for kind, code in CODES.items()}


def to_wire(error: Exception) -> pb.Error:
    """The message that stands for ``error``; one that is not ours travels as INTERNAL."""
    code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), pb.CODE_INTERNAL)
    primary = error.primary if isinstance(error, errors.NotPrimary) else None
    return pb.Error(code=code, message=str(error) or type(error).__name__, primary=primary or "")


def from_wire(error: pb.Error) -> errors.SpringtideError:
    kind = _TYPES.get(error.code, errors.SpringtideError)
    if kind is errors.NotPrimary:
        return errors.NotPrimary(error.message, error.primary or None)
    return kind(error.message)
