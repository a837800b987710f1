"""What is said of records that nodes cannot read."""

from __future__ import annotations

import zlib

import pytest
from ZODB.tests.MinPO import MinPO
from ZODB.tests.StorageTestBase import zodb_pickle
from ZODB.utils import p64

from springtide.client.references import hidden_references

A_RECORD = zodb_pickle(MinPO(1))


def referring(*numbers):
    """A record that refers to these oids, as ZODB makes it."""
    from ZODB.serialize import ObjectWriter

    made = MinPO([])
    for number in numbers:
        each = MinPO(number)
        each._p_oid = p64(number)
        each._p_jar = JAR
        made.value.append(each)
    made._p_jar = JAR
    return ObjectWriter(made).serialize(made)


class Jar:
    def db(self):
        return self

    database_name = "main"

    def new_oid(self):
        raise AssertionError("all have one")


JAR = Jar()


def test_of_a_transformed_record_all_references_are_said():
    data = zlib.compress(referring(3, 7))

    said = hidden_references(data, zlib.decompress)

    assert sorted(said[at : at + 8] for at in range(0, len(said), 8)) == [p64(3), p64(7)]


def test_that_there_are_none_is_said_as_well():
    assert hidden_references(zlib.compress(A_RECORD), zlib.decompress) == b""


@pytest.mark.parametrize(
    ("what", "data", "untransform"),
    [
        ("no record", None, zlib.decompress),
        ("a record that nodes can read", A_RECORD, lambda data: data),
        ("what the wrapper did not make", b"raw", zlib.decompress),
        ("what is no record of ZODB's", zlib.compress(b"no pickle"), zlib.decompress),
    ],
)
def test_nothing_is_said_where_it_is_not_needed_or_not_known(what, data, untransform):
    assert hidden_references(data, untransform) is None, what
