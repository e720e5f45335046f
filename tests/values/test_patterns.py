"""A pattern is read as another client of TUF reads it: every short pattern, with every short path."""

from __future__ import annotations

from itertools import product

from tuf.api.metadata import DelegatedRole

from trust.delegations import NAME_MAX, checked_role, matches


def _texts(letters: str, length: int) -> list[str]:
    return ["".join(each) for size in range(1, length + 1) for each in product(letters, repeat=size)]


def test_pattern_covers_what_it_covers_for_another_client() -> None:
    patterns, paths = _texts("ab*/", 4), _texts("ab/", 4)
    differing = [
        (pattern, path)
        for pattern, path in product(patterns, paths)
        if matches(pattern, path) != DelegatedRole._is_target_in_pathpattern(path, pattern)
    ]
    assert differing == []


def test_pieces_of_a_pattern_do_not_share_a_letter() -> None:
    for pattern in ("acme/web:a*bc*c", "acme/web:a*b*ab", "acme/web:ab*b*", "acme/web:*ab*b"):
        assert not matches(pattern, "acme/web:ab")
        assert not matches(pattern, "acme/web:abc")
    assert matches("acme/web:a*bc*c", "acme/web:abcc")


def test_name_of_any_length_up_to_the_limit_is_taken() -> None:
    names = ["a" * length for length in range(1, NAME_MAX + 1)]
    assert [checked_role(name) for name in names] == names
