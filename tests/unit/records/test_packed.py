"""Writes that stay where they are say the same as writes in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.records import digests, entries, packed
from springtide.records.entries import Kind, Malformed, Transaction, Write
from springtide.records.ids import TransactionId, oid
from springtide.records.position import ORIGIN
from tests.unit.build import tid
from tests.unit.records.test_entries import transactions

ID = TransactionId(bytes(24))


def packed_of(transaction: Transaction) -> Transaction:
    return packed.decode(memoryview(entries.encode_transaction(transaction)))


@given(transactions)
def test_a_packed_transaction_is_the_one_that_was_encoded(transaction):
    found = packed_of(transaction)

    assert tuple(found.writes) == tuple(transaction.writes)
    assert found == Transaction(
        **{name: getattr(transaction, name) for name in transaction.__slots__} | {"writes": found.writes}
    )
    assert packed.oids_of(found.writes) == packed.oids_of(transaction.writes) == [w.oid for w in transaction.writes]
    assert entries.encode_transaction(found) == entries.encode_transaction(transaction)


@given(transactions, st.data())
def test_a_packed_transaction_cut_or_changed_anywhere_in_its_writes_is_malformed(transaction, data):
    body = entries.encode_transaction(transaction)
    end = data.draw(st.integers(0, len(body) - 1))

    with pytest.raises(Malformed):
        packed.decode(memoryview(body[:end]))
    with pytest.raises(Malformed):
        packed.decode(memoryview(body + b"x"))


def test_a_flipped_bit_in_a_record_is_found():
    body = bytearray(entries.encode_transaction(Transaction(tid(1), ID, b"", b"", b"", (Write(oid(1), b"record"),))))
    body[-1] ^= 1

    with pytest.raises(Malformed, match="damaged"):
        packed.decode(memoryview(body))


@given(st.lists(st.integers(0, 20), max_size=30), st.data())
def test_parts_are_what_a_tuple_would_give(numbers, data):
    writes = tuple(Write(oid(number), b"%d" % at) for at, number in enumerate(numbers))
    found = packed_of(Transaction(tid(1), ID, b"u", b"", b"", writes)).writes
    cut = data.draw(st.slices(len(writes)))

    assert tuple(found[cut]) == writes[cut]
    assert tuple(found[cut]) == tuple(found)[cut]
    assert [found[at] for at in range(-len(writes), len(writes))] == [*writes, *writes]
    with pytest.raises(IndexError):
        found[len(writes)]
    assert list(packed.oids_of(found[cut])) == [write.oid for write in writes[cut]]


@given(st.lists(st.integers(0, 20), max_size=30))
def test_the_index_finds_the_last_write_of_an_object(numbers):
    writes = tuple(Write(oid(number), b"%d" % at) for at, number in enumerate(numbers))
    expected = {write.oid: write for write in writes}

    index = packed.Index(packed_of(Transaction(tid(1), ID, b"", b"", b"", writes)).writes)

    assert dict(index) == expected
    for number in range(-1, 22):
        name = oid(number % 2**64)
        assert (name in index) == (name in expected)
        assert index.get(name) == expected.get(name)


@given(transactions)
def test_the_sizes_of_packed_writes_are_those_of_their_records(transaction):
    found = packed_of(transaction).writes

    assert list(packed.sizes_of(found)) == list(packed.sizes_of(transaction.writes))


@given(st.integers(-2, 2), st.binary(min_size=8, max_size=8))
def test_a_mapped_body_is_digested_like_one_in_memory_also_ahead_of_its_tid(above, given_tid):
    size = digests.WHOLE_BYTES_MAX + above
    before, body = bytes(8) + bytes(size - 8), given_tid + bytes(size - 8)

    plain = entries.following(ORIGIN, 1, Kind.TRANSACTION, body)
    mapped = entries.following(ORIGIN, 1, Kind.TRANSACTION, memoryview(body), digests.rest_digest(memoryview(before)))

    assert plain == mapped
    assert entries.continues(ORIGIN, mapped) and entries.continues(ORIGIN, plain)


@pytest.mark.parametrize("place", [0, 7, 8, -1])
def test_every_byte_of_a_large_body_is_in_its_digest(place):
    body = bytearray(digests.WHOLE_BYTES_MAX + 1)
    first = entries.following(ORIGIN, 1, Kind.TRANSACTION, bytes(body))
    body[place] ^= 1

    assert entries.following(ORIGIN, 1, Kind.TRANSACTION, bytes(body)).digest != first.digest


def test_a_small_body_that_looks_like_a_digested_large_one_has_another_digest():
    large = bytes(digests.WHOLE_BYTES_MAX + 1)
    small = large[: digests.REST_FROM] + digests.rest_digest(large)

    assert digests.chain(b"x", 1, 1, 1, small) != digests.chain(b"x", 1, 1, 1, large)
