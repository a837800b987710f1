import pytest

from springtide.errors import BadRequest
from springtide.primary.oids import Oids
from springtide.records.entries import OidRange
from springtide.records.ids import OID_LIMIT


def test_ranges_follow_each_other():
    oids = Oids()

    assert (oids.take(10), oids.take(5)) == (OidRange(1, 10), OidRange(11, 5))


def test_what_is_stored_is_not_given_out():
    oids = Oids()

    oids.used(99)
    oids.used(7)

    assert oids.take(1) == OidRange(100, 1)


def test_there_is_an_end_of_oids():
    oids = Oids()
    oids.used(OID_LIMIT - 2)

    with pytest.raises(BadRequest, match="there are none above"):
        oids.take(2)
