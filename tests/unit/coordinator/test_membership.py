from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from springtide.coordinator import topology
from springtide.coordinator.membership import Membership, Reign, Unknown, choose_change
from springtide.coordinator.store import Refused, Swapped, View
from springtide.coordinator.topology import Progress, Record
from tests.unit.coordinator.build import members, one, progress, record, view


def proposing(present: Record, proposed: Record) -> Membership:
    membership = Membership(present, 1)
    membership.propose(proposed)
    return membership


GROWN = record("a b c", change="c1")


# -- whose acknowledgement a commit needs -------------------------------------------------------


def test_without_a_change_the_set_of_the_record_is_required() -> None:
    assert Membership(record("a b"), 1).required == (members("a b"),)


@pytest.mark.parametrize(
    ("present", "proposed", "required"),
    [
        ("a b", "a b c", "a b c"),
        ("a b c", "a b", "a b c"),
        ("a b", "a b2", "a b b2"),
    ],
)
def test_while_a_change_is_unsettled_both_sets_are_required(present: str, proposed: str, required: str) -> None:
    membership = proposing(record(present), record(proposed, change="c1"))
    sent = membership.members
    membership.answered(Unknown())

    assert sent == membership.members == members(required)
    assert membership.required == (members(present), members(proposed))


def test_an_expansion_that_landed_requires_the_new_set() -> None:
    membership = proposing(record("a b"), GROWN)

    membership.answered(Swapped(view(GROWN, revision=2)))

    assert membership.settled and membership.required == (members("a b c"),)
    assert (membership.record, membership.revision) == (GROWN, 2)


def test_the_larger_minimum_counts_while_a_change_of_it_is_unsettled() -> None:
    raised = proposing(record("a b c", minimum=2), record("a b c", minimum=3, change="c1"))
    lowered = proposing(record("a b c", minimum=3), record("a b c", minimum=2, change="c1"))

    assert (raised.minimum, lowered.minimum) == (3, 3)


@pytest.mark.parametrize(
    ("in_sync", "minimum", "acknowledged", "committed"),
    [
        ("a b", 2, {"a": 9, "b": 7}, 7),
        ("a b", 2, {"a": 9}, 0),
        ("a b", 2, {"a": 9, "b": 7, "c": 1}, 7),
        ("a b2", 2, {"a": 9, "b": 7}, 0),
        ("a", 2, {"a": 9, "b": 7}, 0),  # below the minimum
        ("a", 1, {"a": 9}, 9),
    ],
)
def test_an_entry_is_committed_when_everyone_required_holds_it(
    in_sync: str, minimum: int, acknowledged: dict[str, int], committed: int
) -> None:
    membership = Membership(record(in_sync, minimum=minimum), 1)

    assert membership.committed({one(name): lsn for name, lsn in acknowledged.items()}) == committed


def test_a_creator_that_is_alone_commits_only_after_the_set_has_grown_to_the_minimum() -> None:
    holding = {one("a"): 5, one("b"): 5}
    membership = proposing(record("a"), record("a b", change="c1"))
    before = membership.committed(holding)

    membership.answered(Swapped(view(record("a b", change="c1"), revision=2)))

    assert (before, membership.committed(holding)) == (0, 5)


# -- how a lost answer is settled ---------------------------------------------------------------


def test_a_view_that_has_not_moved_settles_nothing() -> None:
    membership = proposing(record("a b c"), record("a b", change="c1"))
    membership.answered(Unknown())

    membership.saw(view(record("a b c"), revision=1))

    assert membership.unanswered and membership.members == members("a b c")


def test_a_lost_swap_is_written_again_with_a_fresh_change_at_the_same_revision() -> None:
    membership = proposing(record("a b"), GROWN)
    membership.answered(Unknown())

    again = membership.again("c2")

    assert again == replace(GROWN, change="c2")
    assert membership.revision == 1 and membership.unanswered is None and not membership.settled
    assert membership.members == members("a b c")


def test_the_refusal_of_the_second_try_shows_that_the_first_has_landed() -> None:
    membership = proposing(record("a b"), GROWN)
    membership.answered(Unknown())
    membership.again("c2")

    membership.answered(Refused(view(GROWN, revision=2)))

    assert membership.settled and membership.record == GROWN


def test_a_refusal_by_a_record_that_has_not_moved_leaves_both_sets_required() -> None:
    membership = proposing(record("a b c"), record("a b", change="c1"))

    membership.answered(Refused(view(record("a b c"), revision=1)))

    assert membership.unanswered and membership.members == members("a b c")


@pytest.mark.parametrize(
    "shown",
    [
        record("a b", primary="b", epoch=2, change="c9"),
        record("a b", epoch=2, uptime="a.2", change="c9"),
        record("a b", uptime="a.2", change="c9"),
    ],
)
def test_another_epoch_or_another_run_deposes(shown: Record) -> None:
    membership = proposing(record("a b"), GROWN)

    membership.saw(view(shown, revision=2))

    assert membership.deposed_by == shown
    assert not membership.enough and membership.committed({one("a"): 9, one("b"): 9, one("c"): 9}) == 0


def test_a_hand_over_that_landed_deposes_and_one_that_is_under_way_ends_new_finishes() -> None:
    handed = topology.hand_over(record("a b"), target=one("b"), target_uptime="b.1", acked=9, log_end=9, change="c1")
    membership = proposing(record("a b"), handed)
    under_way = membership.handing_over

    membership.answered(Swapped(view(handed, revision=2)))

    assert under_way and membership.deposed_by == handed


def test_a_late_view_says_nothing() -> None:
    membership = Membership(record("a b", change="c5"), 5)

    membership.saw(view(record("a b c", uptime="a.0", change="c4"), revision=4))
    membership.saw(View())

    assert membership.settled and membership.record.change == "c5"


@dataclass
class Registry:
    """The store: swaps land when they like, once, and only at the revision they expect."""

    record: Record
    revision: int = 1
    under_way: list[tuple[Record, int]] = field(default_factory=list)

    def land(self, index: int) -> Swapped | Refused:
        proposed, expected = self.under_way.pop(index % len(self.under_way))
        if expected != self.revision:
            return Refused(self.view)
        self.record, self.revision = proposed, self.revision + 1
        return Swapped(self.view)

    @property
    def view(self) -> View:
        return View(self.revision, self.record)


class LostAndLateAnswers(RuleBasedStateMachine):
    """Whatever is delayed, lost or written again: whom the store may elect is required by the primary.

    (Until another reigns: then acknowledgements of this epoch have ended, and with them its commits.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(record("a b"))
        self.membership = Membership(self.registry.record, 1)
        self.changes = 0
        self.old_views = [self.registry.view]

    def fresh(self) -> str:
        self.changes += 1
        return f"c{self.changes}"

    def send(self, proposed: Record) -> None:
        self.registry.under_way.append((proposed, self.membership.revision))

    @precondition(lambda self: self.membership.settled)
    @rule(name=st.sampled_from(["b", "b2", "c", "c2", "d"]))
    def propose_to_join(self, name: str) -> None:
        transition = topology.expand if self.record.member_of(one(name).node) is None else topology.replace
        try:
            made = transition(self.record, follower=progress(name), commit=1, epoch_start=1, change=self.fresh())
        except topology.Refusal:
            return
        self.membership.propose(made)
        self.send(made)

    @precondition(lambda self: self.membership.settled)
    @rule(index=st.integers(0, 5))
    def propose_to_leave(self, index: int) -> None:
        leaving = sorted(self.record.in_sync)[index % len(self.record.in_sync)]
        try:
            made = topology.shrink(self.record, member=leaving, change=self.fresh())
        except topology.Refusal:
            return
        self.membership.propose(made)
        self.send(made)

    @rule()
    def lose_the_answer(self) -> None:
        self.membership.answered(Unknown())

    @precondition(lambda self: self.membership.unanswered is not None)
    @rule()
    def write_again(self) -> None:
        self.send(self.membership.again(self.fresh()))

    @precondition(lambda self: self.registry.under_way)
    @rule(index=st.integers(0, 9), answered=st.booleans())
    def land(self, index: int, answered: bool) -> None:
        outcome = self.registry.land(index)
        self.old_views.append(self.registry.view)
        if answered:
            self.membership.answered(outcome)

    @rule(index=st.integers(0, 99))
    def show_any_view(self, index: int) -> None:
        self.membership.saw(self.old_views[index % len(self.old_views)])

    @rule()
    def show_the_newest_view(self) -> None:
        self.membership.saw(self.registry.view)

    @precondition(lambda self: self.registry.record.epoch < 3)
    @rule()
    def be_deposed(self) -> None:
        standing = sorted(self.registry.record.in_sync)[-1]
        change = self.fresh()
        self.registry.record = topology.take_over(self.registry.record, me=standing, uptime=change, change=change)
        self.registry.revision += 1
        self.old_views.append(self.registry.view)

    @property
    def record(self) -> Record:
        return self.membership.record

    @invariant()
    def who_may_be_elected_is_required(self) -> None:
        if self.registry.record.uptime == self.record.uptime:
            assert self.membership.deposed_by is None
            assert self.registry.record.in_sync in self.membership.required
            assert self.registry.record.minimum <= self.membership.minimum

    @invariant()
    def what_is_required_includes_a_member_of_every_later_election(self) -> None:
        """Who deposed this reign was required by it: its promise ends the old epoch's commits."""
        if self.registry.record.epoch == 2 and self.membership.deposed_by is None:
            assert self.registry.record.primary in self.membership.members


LostAndLateAnswers.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestLostAndLateAnswers = LostAndLateAnswers.TestCase


# -- which change to propose --------------------------------------------------------------------

#: Whoever was heard at 100 is well, at 98 is silent for too long.
REIGN = Reign(commit=10, epoch_start=5, began=90.0, now=100.0, stall_seconds_max=1.0)
YOUNG_REIGN = replace(REIGN, began=99.5)


def silent(name: str) -> Progress:
    return progress(name, heard=98.0)


def indebted(name: str) -> Progress:
    return progress(name, 9, owes_since=98.0)


@pytest.mark.parametrize(
    ("present", "followers", "expected"),
    [
        ("a b c", [progress("b"), progress("c")], None),
        # Silent, absent or indebted members leave, as long as enough remain that are well.
        ("a b c", [progress("b"), silent("c")], "a b"),
        ("a b c", [progress("b")], "a b"),
        ("a b c", [progress("b"), indebted("c")], "a b"),
        ("a b", [silent("b")], None),
        ("a b c", [silent("b"), silent("c")], None),
        ("a b c d", [silent("b"), silent("c"), progress("d")], "a c d"),
        # Who has caught up joins, and who has not does not.
        ("a b", [progress("b"), progress("c")], "a b c"),
        ("a b", [progress("b"), progress("c", 9)], None),
        ("a b", [progress("b"), progress("c", None)], None),
        ("a b", [progress("b"), silent("c")], None),
        ("a b", [progress("b"), progress("c", electable=False)], None),
        ("a b", [progress("b"), progress("c", complete=False)], None),
        ("a", [progress("b")], "a b"),
        # A stalled member at the minimum: a third joins first, then it can leave.
        ("a b", [silent("b"), progress("c")], "a b c"),
        # A disk that was lost and has caught up again takes the place of the old one.
        ("a b", [progress("b2")], "a b2"),
        ("a b c", [progress("b"), progress("c2")], "a b c2"),
        ("a b c", [progress("b"), progress("c2", 3)], "a b"),
        ("a b", [progress("b2", 3)], None),
        ("a b", [silent("b2")], None),
    ],
)
def test_which_change_helps_most(present: str, followers: list[Progress], expected: str | None) -> None:
    chosen = choose_change(record(present), followers, REIGN, "c1")

    assert chosen == (record(expected, change="c1") if expected is not None else None)


@pytest.mark.parametrize("followers", [[], [silent("b"), silent("c")]])
def test_a_new_primary_gives_its_members_time_to_arrive(followers: list[Progress]) -> None:
    assert choose_change(record("a b c"), followers, YOUNG_REIGN, "c1") is None


def test_a_new_primary_does_not_wait_for_a_member_that_has_said_goodbye() -> None:
    young = replace(YOUNG_REIGN, gone=frozenset({one("c")}))

    assert choose_change(record("a b c"), [progress("b")], young, "c1") == record("a b", change="c1")
    assert choose_change(record("a b"), [], replace(young, gone=frozenset({one("b")})), "c1") is None


def test_the_choice_does_not_depend_on_the_order_of_followers() -> None:
    followers = [progress("d"), progress("c"), progress("b")]

    assert choose_change(record("a"), followers, REIGN, "c1") == record("a b", change="c1")
