"""What is seen changes in one order, and every thread sees it change at once."""

from __future__ import annotations

import threading

import pytest

from springtide.client.events import Changed, Ticket
from springtide.client.messages import FOUND, Limits, Loaded, Purged, Welcome
from springtide.client.routing import Topology
from springtide.client.view import View
from springtide.records.ids import oid
from tests.unit.build import tid

A, B = oid(1), oid(2)
SESSION, OTHER = object(), object()


class Wrapper:
    def __init__(self):
        self.told = []

    def invalidate(self, at, oids):
        self.told.append((at, oids))

    def invalidateCache(self):
        self.told.append("everything")


def welcome(last, history="h1", packs=0, packed=0):
    return Welcome("n", "c1", history, tid(last), Topology(), Limits(), 1, packs, tid(packed))


def attached(last=10):
    view, wrapper = View(10**6), Wrapper()
    view.register(wrapper)
    view.attach(SESSION, welcome(last))
    view.apply()
    return view, wrapper


def commit(view, ticket, at, callback=lambda tid: None):
    with view.turn(ticket):
        view.commit(at, callback, {A: b"mine"}, (A,))


def test_changes_reach_the_wrapper_before_the_last_tid_shows_them():
    view, wrapper = attached()
    seen = []
    wrapper.invalidate = lambda at, oids: seen.append((at, view.last))

    view.changed(SESSION, tid(11), (A,))

    assert seen == [(tid(11), tid(10))]
    assert view.last == tid(11)


def test_what_is_told_twice_counts_once():
    view, wrapper = attached()
    view.changed(SESSION, tid(11), (A,))
    view.attach(OTHER, welcome(12))
    view.changed(OTHER, tid(11), (A,))
    view.changed(OTHER, tid(12), (B,))
    view.changed(SESSION, tid(13), (A,))  # the former session has nothing to say

    assert wrapper.told == [(tid(11), (A,)), (tid(12), (B,))]


def test_later_changes_wait_for_a_finish_that_comes_first():
    view, wrapper = attached()
    ticket = Ticket((A,))
    view.finished(SESSION, tid(11), ticket)
    view.changed(SESSION, tid(12), (B,))
    assert (wrapper.told, view.last) == ([], tid(10))

    told = []
    commit(view, ticket, tid(11), told.append)

    assert told == [tid(11)]
    assert wrapper.told == [(tid(12), (B,))]
    assert view.last == tid(12)
    assert view.cache.find(A, tid(13)).data == b"mine"


def test_the_reading_thread_does_not_wait_for_a_callback():
    view, wrapper = attached()
    ticket = Ticket((A,))
    view.finished(SESSION, tid(11), ticket)

    def callback(at):
        reader = threading.Thread(target=view.changed, args=(SESSION, tid(12), (B,)))
        reader.start()
        reader.join(5)
        assert not reader.is_alive()

    commit(view, ticket, tid(11), callback)

    assert wrapper.told == [(tid(12), (B,))]


def test_a_finish_nobody_waits_for_any_more_is_a_change_like_any_other():
    view, wrapper = attached()
    ticket = Ticket((A,))
    assert view.give_up(ticket)

    view.finished(SESSION, tid(11), ticket)

    assert wrapper.told == [(tid(11), (A,))]


def test_a_turn_that_was_handed_cannot_be_given_up():
    view, _ = attached()
    ticket = Ticket((A,))
    view.finished(SESSION, tid(11), ticket)

    assert not view.give_up(ticket)
    commit(view, ticket, tid(11))
    assert view.last == tid(11)


def test_a_finish_told_by_a_former_session_waits_until_the_present_one_gets_there():
    view, wrapper = attached()
    view.attach(OTHER, welcome(12))
    ticket = Ticket((A,))
    view.finished(SESSION, tid(12), ticket)
    assert not ticket.handed and ticket.pending.wait(0) == tid(12)

    view.changed(OTHER, tid(11), (B,))
    view.changed(OTHER, tid(12), (A,))
    assert view.wait_for(tid(12), 0)
    commit(view, ticket, tid(12))

    assert [at for at, _ in wrapper.told] == [tid(11), tid(12)]


def test_a_commit_is_not_shown_before_what_came_before_it():
    view, wrapper = attached()
    told = []
    with view.turn():
        view.owe(tid(15), told.append, (A,))
    assert wrapper.told == [(tid(10), (A,))], "the connection that committed it does not see it either"
    assert (told, view.last, view.owed.writer(A), view.owed.writer(B)) == ([], tid(10), tid(15), None)

    view.changed(SESSION, tid(12), (B,))
    assert told == []
    view.changed(SESSION, tid(15), (A,))

    assert wrapper.told[1:] == [(tid(12), (B,)), (tid(15), (A,))]
    assert (told, view.last, view.owed.writer(A)) == ([tid(15)], tid(15), None)


def test_a_commit_that_waits_to_be_shown_is_forgotten_with_its_history():
    view, _ = attached()
    told = []
    with view.turn():
        view.owe(tid(15), told.append, (A,))
    view.attach(OTHER, welcome(4, history="h2"))
    view.apply()
    view.changed(OTHER, tid(20), (B,))

    assert (told, view.owed.writer(A)) == ([], None)


def test_a_callback_that_fails_reaches_everybody_in_another_way():
    view, wrapper = attached()

    def fail(at):
        raise RuntimeError("callback")

    ticket = Ticket((A,))
    view.finished(SESSION, tid(11), ticket)
    with pytest.raises(RuntimeError):
        commit(view, ticket, tid(11), fail)

    assert wrapper.told == [(tid(11), (A,))]
    assert view.last == tid(11)


def test_another_history_starts_over():
    view, wrapper = attached()
    view.attach(OTHER, welcome(4, history="h2"))
    view.apply()

    assert wrapper.told == ["everything", (tid(4), ())], "and transactions begin there"
    assert view.last == tid(4)


def test_purged_objects_are_forgotten_here_and_by_connections():
    view, wrapper = attached()
    with view.lock:
        view.keep(Loaded(A, FOUND, b"x", tid(5), None, tid(10)))
        view.keep(Loaded(B, FOUND, b"x", tid(5), None, tid(10)))
    view.purged(SESSION, Purged(1, (A,)))
    view.purged(OTHER, Purged(2, (B,)))  # not the session that tells

    assert wrapper.told == [(tid(10), (A,))]
    assert view.cache.find(A, tid(11)) is None and view.cache.find(B, tid(11)) is not None
    assert (view.kept.packs, view.last) == (1, tid(10))


def test_what_had_been_replaced_when_a_pack_ended_is_forgotten_and_what_is_current_or_later_stays():
    view, wrapper = attached()
    with view.lock:
        view.keep(Loaded(A, FOUND, b"1", tid(1), tid(3), tid(10)))
        view.keep(Loaded(A, FOUND, b"3", tid(3), tid(7), tid(10)))
        view.keep(Loaded(A, FOUND, b"7", tid(7), None, tid(10)))
    view.purged(SESSION, Purged(1, ()))
    assert view.cache.find(A, tid(3)) is not None

    view.purged(SESSION, Purged(2, (), tid(5)))

    assert view.cache.find(A, tid(3)) is None
    assert [view.cache.find(A, tid(before)).data for before in (5, 8)] == [b"3", b"7"]
    assert wrapper.told == []


def test_what_was_read_before_a_known_pack_is_not_kept():
    view, _ = attached()
    view.purged(SESSION, Purged(3, ()))
    with view.lock:
        view.keep(Loaded(A, FOUND, b"x", tid(5), None, tid(10), packs=2))
        view.keep(Loaded(B, FOUND, b"x", tid(5), None, tid(10), packs=3))

    assert view.cache.find(A, tid(11)) is None
    assert view.cache.find(B, tid(11)) is not None


def test_what_was_missed_below_a_pack_point_is_one_change():
    view, wrapper = attached()
    with view.lock:
        view.keep(Loaded(A, FOUND, b"x", tid(5), None, tid(10)))
        view.keep(Loaded(B, FOUND, b"y", tid(5), None, tid(10)))
    view.attach(OTHER, welcome(40, packs=1, packed=25))
    view.changed(OTHER, tid(20), (oid(3),))
    view.changed(OTHER, tid(24), (A,))  # perhaps there were others between 10 and 20, which went
    assert (wrapper.told, view.last, view.since) == ([], tid(10), (tid(24), 0))

    view.changed(OTHER, tid(30), ())
    view.changed(OTHER, tid(40), (B,))

    assert [(at, set(oids)) for at, oids in wrapper.told] == [(tid(30), {A, oid(3)}), (tid(40), {B})]
    assert view.last == tid(40)
    assert view.cache.find(A, tid(11)).data == b"x" and view.cache.find(A, tid(12)) is None
    assert view.cache.find(B, tid(40)).data == b"y"


def test_a_leap_goes_on_with_another_session_and_over_another_pack():
    view, wrapper = attached()
    view.attach(OTHER, welcome(40, packed=25))
    view.changed(OTHER, tid(20), (A,))
    view.attach(SESSION, welcome(50, packed=45))
    view.changed(SESSION, tid(30), (B,))
    view.changed(SESSION, tid(50), ())

    assert [(at, set(oids)) for at, oids in wrapper.told] == [(tid(50), {A, B})]


def test_what_packs_took_away_meanwhile_is_told_and_forgotten():
    view, wrapper = attached()
    with view.lock:
        view.keep(Loaded(A, FOUND, b"x", tid(5), None, tid(10)))
        view.keep(Loaded(B, FOUND, b"y", tid(5), None, tid(10)))
    assert view.since == (tid(10), 0)
    view.attach(OTHER, welcome(10, packs=3, packed=9))
    view.purged(OTHER, Purged(2, (A,)))

    assert wrapper.told == [(tid(10), (A,))]
    assert view.cache.find(A, tid(11)) is None and view.cache.find(B, tid(11)).data == b"y"
    assert view.since == (tid(10), 2)


def test_a_node_that_has_seen_fewer_packs_changes_nothing():
    view, _ = attached()
    view.purged(SESSION, Purged(2, ()))
    with view.lock:
        view.keep(Loaded(A, FOUND, b"x", tid(5), None, tid(10), packs=2))
    view.attach(OTHER, welcome(10, packs=1))
    view.apply()
    view.purged(OTHER, Purged(2, (A,)))  # told again

    assert view.cache.find(A, tid(11)) is not None
    assert view.kept.packs == 2


def test_a_wrapper_that_fails_costs_its_caches_and_nothing_else():
    view, wrapper = attached()

    def fail(at, oids):
        raise RuntimeError("wrapper")

    wrapper.invalidate = fail
    view.changed(SESSION, tid(11), (A,))
    del wrapper.invalidate
    view.changed(SESSION, tid(12), (A,))

    assert wrapper.told == ["everything", (tid(12), (A,))]
    assert view.last == tid(12)


def test_a_wrapper_drops_what_it_cannot_invalidate_before_anybody_sees_the_change():
    view, wrapper = attached()
    seen = []

    def fail(*told):
        seen.append(view.last)
        raise RuntimeError("wrapper")

    wrapper.invalidate = wrapper.invalidateCache = fail
    view.changed(SESSION, tid(11), (A,))

    assert seen == [tid(10), tid(10)]
    assert view.last == tid(11)


def test_what_could_not_be_applied_is_asked_for_again(caplog):
    view, wrapper = attached()
    ended, told = [], []
    view.broken = ended.append

    def fail(oids):
        if not told:
            told.append(oids)
            view.turns.told(SESSION, Changed(tid(12), (B,)))  # what waits behind it
            raise MemoryError

    view.watchers.append(fail)
    view.kept.recent.add = lambda at, oids: fail(oids)
    ticket = Ticket((B,))
    view.changed(SESSION, tid(11), (A,))
    view.finished(SESSION, tid(13), ticket)

    assert ended == [SESSION] and "asked for again" in caplog.text
    assert (view.last, view.since) == (tid(10), (tid(10), 0))
    assert not ticket.handed and ticket.pending.wait(0) == tid(13)
    view.attach(OTHER, welcome(13))
    for at, names in ((11, (A,)), (12, (B,)), (13, (B,))):
        view.changed(OTHER, tid(at), names)
    assert view.last == tid(13)
    assert [at for at, _ in wrapper.told[1:]] == [tid(11), tid(12), tid(13)]


def test_a_history_that_could_not_be_begun_is_begun_with_the_next_session():
    view, _ = attached()
    ended = []
    view.broken = ended.append
    restart, view.kept.restart = view.kept.restart, None
    view.attach(OTHER, welcome(4, history="h2"))
    view.apply()
    assert ended == [OTHER] and view.since is None

    view.kept.restart = restart
    view.attach(SESSION, welcome(5, history="h2"))
    view.apply()

    assert (view.last, view.history) == (tid(5), "h2")


def test_a_wrapper_that_was_taken_away_is_told_nothing():
    view, wrapper = attached()

    view.unregister()
    view.changed(SESSION, tid(11), (A,))

    assert wrapper.told == []
    assert view.last == tid(11)
