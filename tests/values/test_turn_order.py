"""The turns of branches, one by one: one that is through, or has had its turns, costs the next none of its."""

from __future__ import annotations

import pytest

from trust.turns import Turns

LETTERS = ("a", "b", "c")


def order(most: int, **below: int) -> list[str]:
    """Return the branches in the order of their turns, where each wants that many more."""
    turns, had = Turns(LETTERS, most=most), []
    for turn in turns:
        if turn.role == turn.branch:
            turns.add(turn, (f"{turn.branch}{number}" for number in range(below.get(turn.branch, 0))))
        had.append(turn.branch)
    return had


def test_branch_that_is_through_costs_the_next_no_turn() -> None:
    assert order(9, a=2, c=2) == ["a", "b", "c", "a", "c", "a", "c"]


def test_branch_that_has_had_its_turns_costs_the_next_no_turn() -> None:
    """``a`` is asked for once more than it may have: ``b`` and ``c`` are through in the same round."""
    turns = Turns(LETTERS, most=1)
    for turn in turns:
        turns.add(turn, iter(() if turn.branch == "c" else ("more",)))
    assert turns.unfinished == ("a", "b")


@pytest.mark.parametrize("most", [1, 2, 5])
def test_turns_are_as_many_as_were_given(most: int) -> None:
    assert order(most, a=9, b=9) == [
        letter for turn in range(most) for letter in LETTERS if letter != "c" or not turn
    ]
