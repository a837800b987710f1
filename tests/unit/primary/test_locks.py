from hypothesis import given
from hypothesis import strategies as st

from springtide.primary.locks import Locks, Mode

SHARE, EXCLUDE = Mode.SHARE, Mode.EXCLUDE


def test_a_writer_excludes_a_writer_and_the_next_in_line_gets_the_lock():
    locks = Locks()

    assert locks.take("t1", {b"a": EXCLUDE})
    assert not locks.take("t2", {b"a": EXCLUDE})
    assert not locks.take("t3", {b"a": EXCLUDE})

    assert locks.release("t1") == ["t2"]
    assert locks.release("t2") == ["t3"]


def test_readers_share_and_wait_behind_a_waiting_writer():
    locks = Locks()

    assert locks.take("r1", {b"a": SHARE})
    assert locks.take("r2", {b"a": SHARE})
    assert not locks.take("w", {b"a": EXCLUDE})
    assert not locks.take("r3", {b"a": SHARE})

    assert locks.release("r1") == []
    assert locks.release("r2") == ["w"]
    assert locks.release("w") == ["r3"]


def test_whoever_gives_up_waiting_lets_those_behind_pass():
    locks = Locks()
    locks.take("r1", {b"a": SHARE})
    locks.take("w", {b"a": EXCLUDE})
    locks.take("r2", {b"a": SHARE})

    assert locks.release("w") == ["r2"]


def test_opposite_orders_do_not_deadlock():
    locks = Locks()
    locks.take("t0", {b"a": EXCLUDE})

    assert not locks.take("t1", {b"b": EXCLUDE, b"a": EXCLUDE})  # waits for a, does not hold b
    assert locks.take("t2", {b"b": EXCLUDE})

    assert locks.release("t0") == []
    assert locks.release("t2") == ["t1"]


def test_nothing_is_kept_of_locks_that_nobody_holds():
    locks = Locks()
    locks.take("t1", {b"a": EXCLUDE, b"b": SHARE})

    locks.release("t1")

    assert not locks.holds(b"a") and not locks.holds(b"b")
    assert len(locks) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.dictionaries(st.integers(0, 3), st.sampled_from(Mode), min_size=1))))
def test_everybody_gets_their_locks_once_those_before_them_are_done(steps):
    locks, complete, known = Locks(), [], set()
    for owner, wants in steps:
        if owner in known:
            complete += locks.release(owner)
            complete = [other for other in complete if other != owner]
            known.discard(owner)
        else:
            known.add(owner)
            if locks.take(owner, {bytes([name]): mode for name, mode in wants.items()}):
                complete.append(owner)
    while known:
        assert complete, "somebody waits for nobody"
        owner = complete.pop(0)
        known.discard(owner)
        complete += locks.release(owner)
    assert len(locks) == 0
