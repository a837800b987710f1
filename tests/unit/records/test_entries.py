import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.records import entries
from springtide.records.entries import Blob, EpochStart, Kind, Malformed, OidRange, Transaction, Write
from springtide.records.ids import TransactionId, oid
from springtide.records.position import ORIGIN
from tests.unit.build import tid

writes = st.builds(
    Write,
    st.integers(0, 2**64 - 1).map(oid),
    st.none() | st.binary(max_size=50),
    st.none() | st.integers(0, 2**63).map(tid),
    st.none() | st.lists(st.binary(min_size=8, max_size=8), max_size=3).map(b"".join),
    st.none() | st.builds(Blob, st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1), st.just(b"d" * 16)),
)
transactions = st.builds(
    Transaction,
    st.integers(0, 2**63).map(tid),
    st.binary(min_size=24, max_size=24).map(TransactionId),
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.lists(writes, max_size=5).map(tuple),
    st.sampled_from([b" ", b"p", b"u"]),
)


@given(transactions)
def test_a_transaction_is_what_was_encoded(transaction):
    assert entries.decode_transaction(entries.encode_transaction(transaction)) == transaction


@given(transactions, st.data())
def test_a_transaction_cut_anywhere_is_malformed(transaction, data):
    body = entries.encode_transaction(transaction)
    end = data.draw(st.integers(0, len(body) - 1))

    with pytest.raises(Malformed):
        entries.decode_transaction(body[:end])


def test_a_flipped_bit_in_a_record_is_found():
    write = Write(oid(1), b"record")
    body = bytearray(entries.encode_transaction(Transaction(tid(1), TransactionId(bytes(24)), b"", b"", b"", (write,))))
    body[-1] ^= 1

    with pytest.raises(Malformed, match="damaged"):
        entries.decode_transaction(bytes(body))


def test_other_entries_are_what_was_encoded():
    assert entries.decode_oid_range(entries.encode_oid_range(OidRange(7, 100))) == OidRange(7, 100)
    assert entries.decode_epoch_start(entries.encode_epoch_start(EpochStart("ä", "up"))) == EpochStart("ä", "up")


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\x09\xff"])
def test_other_entries_that_are_malformed_are_refused(body):
    with pytest.raises(Malformed):
        entries.decode_oid_range(body)
    if len(body) != 3:
        return
    with pytest.raises(Malformed):
        entries.decode_epoch_start(b"\0\x01\xff")


def test_equal_digests_mean_equal_histories():
    first = entries.following(ORIGIN, 1, Kind.OIDS, b"a")
    other = entries.following(ORIGIN, 1, Kind.OIDS, b"b")
    after_first = entries.following(first.point, 2, Kind.OIDS, b"c")
    after_other = entries.following(other.point, 2, Kind.OIDS, b"c")

    assert entries.continues(first.point, after_first)
    assert not entries.continues(other.point, after_first)
    assert after_first.digest != after_other.digest
