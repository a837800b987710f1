from __future__ import annotations

import asyncio
import itertools

from springtide.records.ids import TID_MAX, oid, tid
from tests.unit.engine.disk import commit, log, opened

MANY = log(*[{n: b"%d" % n, n + 200: b"x"} for n in range(200)])


def test_equal_states_have_equal_digests_whichever_way_they_came_about(tmp_path):
    async def story():
        async with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
            await commit(one, MANY)
            for entry in MANY:
                await commit(two, [entry])

            assert list(one.digests(TID_MAX, range_records=10)) == list(two.digests(TID_MAX, range_records=10))

    asyncio.run(story())


def test_one_record_that_differs_shows_in_one_range(tmp_path):
    other = [
        *MANY[:150],
        *log({150: b"?", 350: b"x"}, *[{n: b"%d" % n, n + 200: b"x"} for n in range(151, 200)], after=MANY[149].point),
    ]

    async def story():
        async with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
            await commit(one, MANY)
            await commit(two, other)

            pairs = zip(one.digests(TID_MAX, range_records=10), two.digests(TID_MAX, range_records=10), strict=True)
            (differing,) = [(a, b) for a, b in pairs if a != b]

            assert differing[0].first <= oid(150) <= differing[0].last

    asyncio.run(story())


def test_ranges_cover_every_record_once(tmp_path):
    async def story():
        async with opened(tmp_path) as engine:
            await commit(engine, MANY)
            found = list(engine.digests(TID_MAX, range_records=10))

            assert sum(one.records for one in found) == 400
            assert 20 < len(found) < 80
            assert all(a.last < b.first for a, b in itertools.pairwise(found))

    asyncio.run(story())


def test_later_transactions_and_other_objects_do_not_count(tmp_path):
    async def story():
        async with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
            await commit(one, MANY)
            await commit(two, MANY[:100])

            assert list(one.digests(tid(100))) == list(two.digests(tid(100)))
            assert list(one.digests(tid(100), transactions=True)) == list(two.digests(tid(100), transactions=True))
            (part,) = one.digests(TID_MAX, oid(5), oid(9), range_records=1_000_000)
            assert (part.first, part.last, part.records) == (oid(5), oid(9), 5)

    asyncio.run(story())
