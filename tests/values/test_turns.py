"""The order in which all roles are tried: no branch waits for the many of another."""

from __future__ import annotations

from itertools import count

from trust.turns import Turns


def test_each_branch_has_as_many_turns_however_many_another_wants() -> None:
    turns = Turns(["thief", "team"], most=100)
    tried: dict[str, list[tuple[str, int]]] = {"thief": [], "team": []}
    order = []
    for turn in turns:
        tried[turn.branch].append((turn.role, turn.depth))
        order.append(turn.branch)
        if turn.role == "thief":
            turns.add(turn, (f"t{number}" for number in count()))
        elif turn.role == "team":
            turns.add(turn, (f"b{number}" for number in range(99)))
    assert turns.unfinished == ("thief",)
    assert len(tried["thief"]) == len(tried["team"]) == 100
    assert tried["team"] == [("team", 1), *((f"b{number}", 2) for number in range(99))]
    assert order[:6] == ["thief", "team"] * 3


def test_nearer_roles_of_a_branch_come_first_and_each_says_who_names_it() -> None:
    turns = Turns(["a"], most=10)
    below = {"a": ["b", "c"], "b": ["d"], "c": ["e"]}
    tried = []
    for turn in turns:
        tried.append((turn.role, turn.delegator, turn.depth))
        turns.add(turn, iter(below.get(turn.role, ())))
    assert tried == [("a", "targets", 1), ("b", "a", 2), ("c", "a", 2), ("d", "b", 3), ("e", "c", 3)]
    assert turns.unfinished == ()
