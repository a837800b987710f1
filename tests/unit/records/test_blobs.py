"""Which files an entry names."""

from __future__ import annotations

import struct

import pytest

from springtide.records import entries, packed
from springtide.records.blobs import Named, names_in
from springtide.records.entries import Blob, Kind, Malformed, OidRange, Transaction, Write
from springtide.records.ids import TransactionId, oid, tid
from springtide.records.position import ORIGIN

ONE, TWO = Blob(b"1" * 16, 10, b"d" * 16), Blob(b"2" * 16, 2**40, b"e" * 16)
WRITES = (
    Write(oid(1), b"record" * 1000),
    Write(oid(2), b"with a file", None, oid(9) + oid(8), ONE),
    Write(oid(3), None),
    Write(oid(4), b"a copy", tid(3), None, TWO),
)
BODY = entries.encode_transaction(Transaction(tid(7), TransactionId(bytes(24)), b"u", b"d", b"e", WRITES))


def entry(body, kind=Kind.TRANSACTION):
    return entries.following(ORIGIN, 1, kind, body)


def test_the_files_of_a_transaction_are_named_with_their_revisions():
    assert names_in(entry(BODY)) == (Named(ONE, oid(2), tid(7)), Named(TWO, oid(4), tid(7), tid(3)))
    assert names_in(entry(memoryview(BODY))) == names_in(entry(BODY))


def test_what_has_no_files_is_not_looked_through():
    plain = Transaction(tid(7), TransactionId(bytes(24)), b"", b"", b"", WRITES[:1])
    cut = entries.encode_transaction(plain)[:-3000]

    assert names_in(entry(cut)) == ()
    assert names_in(entry(entries.encode_oid_range(OidRange(1, 1)), Kind.OIDS)) == ()


@pytest.mark.parametrize("decode", [entries.decode_transaction, packed.decode])
@pytest.mark.parametrize("said", [0, 1, 3])
def test_a_head_that_counts_other_files_than_there_are_is_malformed(decode, said):
    at = struct.calcsize(">8s24scIIII")
    lies = BODY[:at] + said.to_bytes(4, "big") + BODY[at + 4 :]

    with pytest.raises(Malformed, match=f"names 2 blobs, and its head says {said}"):
        decode(lies)


@pytest.mark.parametrize("end", [10, 60, 100, 6100])
def test_a_body_that_is_cut_off_is_malformed(end):
    with pytest.raises(Malformed):
        names_in(entry(BODY[:end]))
