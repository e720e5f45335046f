"""Who answers for a path: the walk is TUF's and ends, whatever roles delegate; a pattern is read in one way."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest

from trust.delegations import (
    DEPTH_MAX,
    NAME_MAX,
    NO_DELEGATIONS,
    VISITED_MAX,
    Bins,
    Delegation,
    Delegations,
    Route,
    checked_pattern,
    checked_role,
    expanded,
    is_of_tags,
    matches,
    walk,
)
from trust.errors import InputError, LimitError

PATH = "acme/web:1"


class Known:
    """Roles by what each delegates; ``holding`` are those that have the path."""

    def __init__(self, roles: Mapping[str, Delegations], *holding: str) -> None:
        self._roles = roles
        self._holding = holding
        self.entered: list[tuple[str, str]] = []

    def enter(self, role: str, delegator: str) -> Delegations:
        self.entered.append((role, delegator))
        return self._roles.get(role, NO_DELEGATIONS)

    def holds(self, role: str, path: str) -> bool:
        return path == PATH and role in self._holding


def to(*names: str, pattern: str = "acme/web:*", terminating: bool = False) -> Delegations:
    """Delegate the pattern to each of ``names``."""
    return Delegations(
        roles=tuple(
            Delegation(name=name, patterns=(pattern,), keyids=("k",), threshold=1, terminating=terminating)
            for name in names
        )
    )


def route(roles: Mapping[str, Delegations], *holding: str) -> Route:
    return walk(PATH, Known(roles, *holding))


def test_role_that_holds_the_path_answers_before_any_that_it_delegates_to() -> None:
    roles = {"targets": to("a")}
    assert (route(roles, "targets", "a").last, route(roles, "a").last) == ("targets", "a")


def test_delegations_are_searched_in_order_and_depth_first() -> None:
    roles = {"targets": to("a", "d"), "a": to("b", "c")}
    assert route(roles).visited == ("targets", "a", "b", "c", "d")
    assert route(roles, "c", "d").links == (("targets", "root"), ("a", "targets"), ("b", "a"), ("c", "a"))


def test_delegation_that_ends_the_search_ends_it_also_where_nothing_is_found() -> None:
    roles = {"targets": to("a", "d"), "a": to("b", "c", terminating=True)}
    assert route(roles, "d").visited == ("targets", "a", "b")
    assert route(roles, "d").last == "b"


def test_delegation_whose_patterns_do_not_match_is_not_entered() -> None:
    assert route({"targets": to("a", pattern="acme/web@*")}, "a").visited == ("targets",)


@pytest.mark.parametrize(
    "roles",
    [
        {"targets": to("a"), "a": to("b"), "b": to("a")},
        {"targets": to("a", "b"), "a": to("b")},
        {"targets": to("a"), "a": to("targets", "b")},
    ],
    ids=["circle", "diamond", "back to the top"],
)
def test_role_is_searched_once_however_often_it_is_delegated_to(roles: Mapping[str, Delegations]) -> None:
    known = Known(roles)
    assert walk(PATH, known).visited == ("targets", "a", "b")
    assert [role for role, _ in known.entered] == ["targets", "a", "b"]


def test_chain_of_more_roles_than_are_searched_is_not_decided() -> None:
    names = ["targets", *(f"r{number}" for number in range(VISITED_MAX))]
    roles = {above: to(below) for above, below in pairwise(names)}
    assert route(roles, names[VISITED_MAX - 1]).last == names[VISITED_MAX - 1]
    with pytest.raises(LimitError, match=f"go on after {VISITED_MAX} roles"):
        route(roles, names[VISITED_MAX])


def test_route_names_the_delegators_of_the_role_that_answers_and_none_that_was_passed_by() -> None:
    roles = {"targets": to("early", "acme"), "acme": to("acme.web"), "acme.web": to("web.ci")}
    found = route(roles, "web.ci")
    assert found.line == ("acme", "acme.web", "web.ci")
    assert found.owner == "web.ci"
    assert (route(roles, "targets").line, route(roles, "targets").owner) == ((), "targets")
    assert route(roles, "early").line == ("early",)


def test_bin_answers_by_the_name_of_the_role_that_it_belongs_to() -> None:
    bins = Bins(prefix="acme.web.g1", count=16, keyids=("k",), threshold=1)
    found = route({"targets": to("acme.web"), "acme.web": Delegations(bins=bins)})
    assert (found.last, found.owner) == (bins.name_of(PATH), "acme.web")
    assert list(Delegations(bins=bins).names()) == [f"acme.web.g1-{number:x}" for number in range(16)]
    assert list(to("a", "b").names()) == ["a", "b"]
    assert to("a", "b").named("b") == to("b").roles[0]
    assert to("a").named("b") is None


@pytest.mark.parametrize(
    ("pattern", "path", "is_so"),
    [
        ("acme/web:*", "acme/web:1", True),
        ("acme/web:*", "acme/web@sha256:0", False),
        ("acme/web:*", "acme/web/api:1", False),
        ("acme/*:1", "acme/web:1", True),
        ("acme/*", "acme/web/api:1", False),
        ("acme/web:1", "acme/web:1", True),
        ("acme/web:1", "acme/web:12", False),
        ("acme/web:a*b*c", "acme/web:aXbYc", True),
        ("acme/web:a*b*c", "acme/web:aXYc", False),
        ("acme/web:a*b*b*c", "acme/web:abc", False),
        ("acme/web:ab*bc", "acme/web:abc", False),
        ("acme/web:**", "acme/web:", True),
    ],
)
def test_star_stands_for_anything_but_a_slash(pattern: str, path: str, *, is_so: bool) -> None:
    assert matches(pattern, path) == is_so


@pytest.mark.parametrize("pattern", ["acme/web:?", "acme/[w]eb:*", "", "acme/web:1 ", "acme/web:\n", "acme/wéb:*"])
def test_pattern_that_two_readers_read_differently_is_refused(pattern: str) -> None:
    assert checked_pattern("acme/web:*") == "acme/web:*"
    with pytest.raises(InputError, match="pattern is not supported"):
        checked_pattern(pattern)


@pytest.mark.parametrize(
    "name",
    ["", "root", "timestamp", "snapshot", "targets", "Acme", "acme/web", "a..b", ".a", "a" * (NAME_MAX + 1)],
)
def test_name_that_no_delegated_role_may_have_is_refused(name: str) -> None:
    assert checked_role("a" * NAME_MAX) == "a" * NAME_MAX
    with pytest.raises(InputError, match="role name is malformed"):
        checked_role(name)


def test_paths_of_a_delegation_mean_tags_and_their_digests() -> None:
    assert expanded("acme/web") == ("acme/web:*", "acme/web@*")
    assert expanded("acme/web:dev-*") == ("acme/web:dev-*", "acme/web@*")
    below = expanded("acme/team/**")
    assert len(below) == 2 * DEPTH_MAX
    assert any(matches(pattern, "acme/team/a/b:1") for pattern in below)
    assert not any(matches(pattern, "acme/team:1") for pattern in below)


@pytest.mark.parametrize(
    "text",
    ["", "acme//web", "acme/**/web", "acme/team/**:1", "acme/web:", "acme/web:1?", "Acme/web", "/acme", "**"],
)
def test_paths_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="paths are malformed"):
        expanded(text)


def test_role_for_some_tags_shares_the_digests_with_its_delegator() -> None:
    assert is_of_tags(expanded("acme/web:dev-*"))
    assert not is_of_tags(expanded("acme/web"))
    assert not is_of_tags(expanded("acme/team/**"))
