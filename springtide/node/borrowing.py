"""A file that was lost on this node, and is needed to make another from it: other nodes have it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from springtide import errors
from springtide.node.ports import Disk, Peers
from springtide.records.blobs import Named
from springtide.records.entries import Blob
from springtide.replica.files import copy
from springtide.replica.ports import Gone

log = logging.getLogger(__name__)


async def borrow(disk: Disk, peers: Peers, addresses: Sequence[str], cluster: str, repeating: Iterable[Named]) -> None:
    """Have the files that these repeat, from whichever node gives them. What nobody gives is logged, and stays away."""
    for named in repeating:
        former = _former(disk, named)
        if former is not None:
            await _borrow(disk, peers, addresses, cluster, former)


def _former(disk: Disk, named: Named) -> Named | None:
    """The file that ``named`` repeats; None where it is another one, or there is none."""
    assert named.data_tid is not None, "it repeats another"
    try:
        blob: Blob | None = disk.load_serial(named.oid, named.data_tid).blob
    except errors.TryAgain:
        return None
    if blob is None or (blob.size, blob.digest) != (named.blob.size, named.blob.digest):
        return None
    return Named(blob, named.oid, named.data_tid)


async def _borrow(disk: Disk, peers: Peers, addresses: Sequence[str], cluster: str, named: Named) -> None:
    what = f"the file of oid {named.oid.hex()} as of tid {named.tid.hex() if named.tid else None}"
    for address in addresses:
        try:
            await copy(disk.blobs, peers, address, cluster, named)
        except (errors.SpringtideError, Gone) as error:
            log.warning("%s, which is missing here, is not to be had from %s: %s", what, address, error)
        else:
            log.warning("%s is missing here, and was taken from %s: see 'springtide verify --files'", what, address)
            return
