"""A trusted chain: a role counts only under the root and the delegator by which it was verified."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from trust.chain import STALE, RoleFacts, TrustedChain, TrustedRole
from trust.value import replace

NOW = datetime(2031, 5, 1, 12, tzinfo=timezone.utc)


def role(name: str, delegator: str = "root", *, version: int = 7, above: int = 7) -> TrustedRole:
    facts = RoleFacts(name=name, version=version, expires=NOW, signers=(f"{name} key",), threshold=1)
    return TrustedRole(facts=facts, root_version=7, delegator=delegator, delegator_version=above)


ROLES = {name: role(name) for name in ("root", "timestamp", "snapshot", "targets")}
TEAMS = {name: role(name, "targets") for name in ("one", "other")}
SHARED = {("below", "other"): role("below", "other", version=2)}
CHAIN = TrustedChain(
    name="registry.test/acme/", identity="id", root_version=7, token=None, checked_at=NOW,
    roles={**ROLES, **TEAMS, "below": role("below", "one", version=2)}, shared=SHARED,
)  # fmt: skip


@pytest.mark.parametrize("name", ROLES)
@pytest.mark.parametrize("change", [{"root_version": 6}, {"root_version": STALE}, {"delegator_version": 6}])
def test_top_level_role_that_was_verified_under_an_older_root_makes_the_chain_incoherent(
    name: str, change: dict[str, Any]
) -> None:
    assert CHAIN.is_coherent()
    assert not replace(CHAIN, roles={**CHAIN.roles, name: replace(ROLES[name], **change)}).is_coherent()


@pytest.mark.parametrize("name", ROLES)
def test_chain_without_a_top_level_role_is_incoherent(name: str) -> None:
    rest = {each: found for each, found in CHAIN.roles.items() if each != name}
    assert not replace(CHAIN, roles=rest).is_coherent()


def test_role_is_current_under_each_delegator_that_it_was_verified_under_and_no_other() -> None:
    assert [CHAIN.is_current("below", above) for above in ("one", "other", "targets")] == [True, True, False]
    assert not CHAIN.is_current("elsewhere", "targets")
    newer = replace(CHAIN, roles={**CHAIN.roles, "other": role("other", "targets", version=8)})
    assert [newer.is_current("below", above) for above in ("one", "other")] == [True, False]
    gone = replace(CHAIN, roles={name: found for name, found in CHAIN.roles.items() if name != "one"})
    assert not gone.is_current("below", "one")


def test_every_link_is_told_of_once() -> None:
    links = [(link.facts.name, link.delegator) for link in CHAIN.links()]
    assert sorted(links) == sorted([*((name, found.delegator) for name, found in CHAIN.roles.items()), *SHARED])


def test_facts_are_of_the_top_and_of_the_roles_that_were_searched() -> None:
    top = ["root", "timestamp", "snapshot"]
    assert [facts.name for facts in CHAIN.facts()] == [*top, "targets"]
    assert [facts.name for facts in CHAIN.facts([("other", "targets"), ("below", "other")])] == [
        *top,
        "other",
        "below",
    ]
    with pytest.raises(KeyError, match="role below was not verified under targets"):
        CHAIN.facts([("below", "targets")])
