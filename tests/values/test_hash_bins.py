"""Hash bins are TUF's: its reference implementation names the same bins, and the same for each path."""

from __future__ import annotations

import pytest
from tuf.api.metadata import SuccinctRoles

from trust.delegations import BINS_MAX, Bins, Delegation, Delegations

PATHS = [f"acme/web:{number}" for number in range(60)]


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 14])
def test_bin_of_a_path_is_the_one_that_another_client_would_search(bits: int) -> None:
    ours = Bins(prefix="acme", count=2**bits, keyids=("k",), threshold=1)
    theirs = SuccinctRoles(["k"], 1, bits, "acme")
    assert ours.count <= BINS_MAX
    assert ours.bits == bits
    assert list(ours.names()) == list(theirs.get_roles())
    assert [ours.name_of(path) for path in PATHS] == [theirs.get_role_for_target(path) for path in PATHS]


def test_bin_ends_the_search() -> None:
    bins = Bins(prefix="acme", count=16, keyids=("k",), threshold=1)
    assert list(Delegations(bins=bins).of(PATHS[0])) == [(bins.name_of(PATHS[0]), True)]


def test_delegation_ends_the_search_unless_it_says_otherwise() -> None:
    assert Delegation(name="a", patterns=("acme/*",), keyids=("k",), threshold=1).terminating


def test_delegation_is_found_by_its_whole_name_alone() -> None:
    roles = [
        Delegation(name=name, patterns=("acme/*",), keyids=("k",), threshold=1) for name in ("b", "d", "a", "c")
    ]
    delegations = Delegations(roles=tuple(roles))
    assert [delegations.named(role.name) for role in roles] == roles
    assert [delegations.named(name) for name in ("", "0", "bb", "e")] == [None] * 4
