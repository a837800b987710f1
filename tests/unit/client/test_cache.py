"""For which snapshots a kept revision is the answer."""

from __future__ import annotations

import random

from springtide.client.cache import REVISION_OVERHEAD_BYTES, Cache, Recent
from springtide.records.ids import TID_MAX, number, oid
from tests.unit.build import tid

A, B = oid(1), oid(2)


class Kept:
    """A cache and the invalidations beside it, as the view keeps them."""

    def __init__(self, last: int = 10, bytes_max: int = 10**6):
        self.cache, self.recent, self.last = Cache(bytes_max), Recent(), last
        self.recent.restart(tid(last))

    def loaded(self, name, at, next_=None, as_of=None, data=b"x"):
        as_of = tid(self.last if as_of is None else as_of)
        next_ = None if next_ is None else tid(next_)
        self.cache.add(name, data, tid(at), next_, as_of, self.recent, tid(self.last))

    def committed(self, at, *oids):
        self.cache.invalidate(tid(at), oids)
        self.recent.add(tid(at), oids)
        self.last = at

    def answers(self, name, *before):
        """The tid that each snapshot gets; None where a node must be asked."""
        found = [self.cache.find(name, tid(b)) for b in before]
        return [None if revision is None else number(revision.tid) for revision in found]


def test_a_current_revision_answers_from_its_tid_on():
    kept = Kept()
    kept.loaded(A, 5)
    assert kept.answers(A, 5, 6, 11) == [None, 5, 5]


def test_an_invalidation_ends_it_there():
    kept = Kept()
    kept.loaded(A, 5)
    kept.committed(12, A)
    assert kept.answers(A, 6, 12, 13) == [5, 5, None]
    assert kept.cache.find(A, tid(12)).next == tid(12)


def test_an_answer_from_the_past_is_current_if_no_invalidation_named_it_since():
    kept = Kept()
    kept.committed(12, B)
    kept.loaded(A, 5, as_of=11)
    assert kept.answers(A, 13) == [5]


def test_an_answer_from_the_past_goes_no_further_than_its_moment_if_one_did():
    kept = Kept()
    kept.committed(12, A)
    kept.loaded(A, 5, as_of=11)
    assert kept.answers(A, 12, 13) == [5, None]


def test_an_answer_older_than_the_kept_invalidations_proves_nothing():
    kept = Kept()
    kept.loaded(A, 5, as_of=9)
    assert kept.answers(A, 10, 11) == [5, None]


def test_an_answer_from_the_future_is_not_ended_by_what_it_contains():
    kept = Kept()
    kept.loaded(A, 12, as_of=13)
    kept.committed(12, A)
    kept.committed(14, A)
    assert kept.answers(A, 13, 14, 15) == [12, 12, None]


def test_between_an_old_current_revision_and_a_newer_one_there_may_be_others():
    kept = Kept()
    kept.loaded(A, 5)
    kept.loaded(A, 15, as_of=16)  # 13 wrote it, too, and nobody has told us yet
    kept.committed(13, A)
    kept.committed(15, A)
    assert kept.answers(A, 11, 14, 15, 16) == [5, None, None, 15]


def test_past_revisions_answer_between_their_tids():
    kept = Kept(last=20)
    kept.loaded(A, 3, next_=6)
    kept.loaded(A, 6, next_=9)
    assert kept.answers(A, 3, 4, 6, 7, 9, 10) == [None, 3, 3, 6, 6, None]
    assert kept.cache.exactly(A, tid(6)).data == b"x"


def test_knowledge_of_a_past_revision_grows():
    kept = Kept()
    kept.loaded(A, 5, as_of=7)
    kept.loaded(A, 5, as_of=10)
    assert kept.answers(A, 11) == [5]
    assert len(kept.cache) == 1


def test_a_broken_run_of_invalidations_bounds_what_was_current():
    kept = Kept()
    kept.loaded(A, 5)
    kept.loaded(B, 12, as_of=12)
    kept.cache.bound(tid(10), (A, B))
    assert kept.answers(A, 11, 12) == [5, None]
    assert kept.answers(B, 13) == [None]


def test_what_followed_a_bounded_revision_is_not_guessed():
    kept = Kept()
    kept.loaded(A, 5)
    kept.cache.bound(tid(10), (A,))
    assert kept.cache.find(A, tid(8), tid(11)).tid == tid(5)  # none followed before 11
    assert kept.cache.find(A, tid(8), tid(13)) is None  # one may have, in 11 or 12
    assert kept.cache.newest(A, tid(8)).tid == tid(5)


def test_the_newest_that_is_kept_is_offered_whatever_may_follow_it():
    kept = Kept()
    kept.loaded(A, 3, next_=5)
    kept.loaded(A, 7)
    offered = [kept.cache.newest(A, tid(before)) for before in (3, 6, 8)]
    assert [revision and revision.tid for revision in offered] == [None, tid(3), tid(7)]


def test_of_purged_objects_nothing_is_kept():
    kept = Kept()
    kept.loaded(A, 3, next_=5)
    kept.loaded(A, 5)
    kept.loaded(B, 5)
    kept.cache.purge((A, oid(9)))
    assert kept.answers(A, 4, 11) == [None, None]
    assert kept.answers(B, 11) == [5]
    assert kept.cache.bytes == REVISION_OVERHEAD_BYTES + 1


def test_own_commits_are_kept():
    kept = Kept()
    kept.loaded(A, 5)
    kept.committed(12, A)
    kept.cache.written(A, b"new", tid(12))
    assert kept.answers(A, 12, 13) == [5, 12]


def test_bytes_are_bounded_and_used_revisions_stay_longer():
    kept = Kept(bytes_max=10 * (REVISION_OVERHEAD_BYTES + 100))
    for n in range(10):
        kept.loaded(oid(n), 5, data=bytes(100))
    kept.cache.find(oid(0), TID_MAX)
    for n in range(10, 15):
        kept.loaded(oid(n), 5, data=bytes(100))

    assert kept.cache.bytes == kept.cache.bytes_max
    assert kept.answers(oid(0), 11) == [5]
    assert kept.answers(oid(1), 11) == [None]


def test_what_has_just_come_stays_even_where_all_others_were_used():
    kept = Kept(bytes_max=10 * (REVISION_OVERHEAD_BYTES + 100))
    for n in range(10):
        kept.loaded(oid(n), 5, data=bytes(100))
    for n in range(10):
        kept.cache.find(oid(n), TID_MAX)
    kept.loaded(oid(10), 5, data=bytes(100))

    assert kept.answers(oid(10), 11) == [5]
    assert kept.answers(oid(0), 11) == [None]


def test_a_record_too_large_for_the_cache_displaces_nothing():
    kept = Kept(bytes_max=10_000)
    kept.loaded(A, 5)
    kept.loaded(B, 5, data=bytes(9_000))
    assert kept.answers(A, 11) == [5]
    assert kept.answers(B, 11) == [None]


def test_recent_invalidations_are_given_oldest_first():
    kept = Kept()
    kept.committed(11, A)
    kept.committed(12, A, B)
    assert kept.recent.newest(1) == [(tid(12), [A, B])]
    assert kept.recent.newest(9) == [(tid(11), [A]), (tid(12), [A, B])]
    assert kept.recent.newest(0) == []


def test_whatever_comes_in_whatever_order_no_answer_is_wrong():
    """Random histories, with answers that are late or early, checked against the truth."""
    for seed in range(300):
        chance = random.Random(seed)
        truth = {A: [1], B: [1]}
        tids = list(range(2, 40))
        writes = {at: [name for name in (A, B) if chance.random() < 0.4] for at in tids}
        for at, names in writes.items():
            for name in names:
                truth[name].append(at)
        kept, late = Kept(last=1), []
        for at in tids:
            for name in (A, B):
                as_of = chance.randint(kept.last, min(39, kept.last + 4))
                before = chance.randint(2, as_of + 1)
                found = max(t for t in truth[name] if t < before)
                following = min((t for t in truth[name] if found < t <= as_of), default=None)
                late.append((name, found, following, as_of))
            chance.shuffle(late)
            while late and chance.random() < 0.6:
                name, found, following, as_of = late.pop()
                kept.loaded(name, found, following, as_of)
            if chance.random() < 0.03:
                kept.cache.bound(tid(kept.last), (A, B))
                kept.recent.add(tid(at), (A, B))
                kept.last = at
            else:
                kept.committed(at, *writes[at])
            for name in (A, B):
                for before in range(2, kept.last + 2):
                    (got,) = kept.answers(name, before)
                    assert got in (None, max(t for t in truth[name] if t < before)), (seed, at, before)
