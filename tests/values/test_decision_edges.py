"""The decision at its edges: digests on both sides of the right one, moments to the second."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.values.judgement import (
    BY_DIGEST,
    DIGEST,
    HIGH,
    LOW,
    NOW,
    PINNED,
    ROLES,
    SIGNED,
    UNSIGNED,
    WEB,
    WEEK,
    allowed,
    chain,
    judge,
    reason,
    target,
)
from trust.decision import Evidence, decide_pinned
from trust.digest import Digest
from trust.policy import Policy
from trust.reference import parse_reference
from trust.targets import Tombstone
from trust.value import replace
from trust.verdict import Denied, Reason


@pytest.mark.parametrize("digest", [LOW, HIGH])
def test_target_of_another_digest_is_tampered_with(digest: Digest) -> None:
    swapped = replace(SIGNED, target=target(digest=digest))
    assert reason(judge(swapped, BY_DIGEST)) is Reason.TAMPERED


@pytest.mark.parametrize("digest", [LOW, HIGH])
def test_tag_that_moved_on_is_told(digest: Digest) -> None:
    moved = replace(SIGNED, tag_target=target(digest=digest))
    assert allowed(judge(moved, f"{WEB}@{DIGEST}")).notices == (f"tag 1.4 has moved on to {digest}",)
    assert allowed(judge(moved, BY_DIGEST)).notices == ()
    assert allowed(judge(moved)).notices == ()


@pytest.mark.parametrize("role", ROLES)
def test_expiry_is_a_notice_from_the_second_after_the_last_quarter_began(role: str) -> None:
    for seconds, is_told in ((1, False), (0, False), (-1, True)):
        fields = {"expires": NOW + WEEK / 4 + timedelta(seconds=seconds), "period": WEEK}
        notices = allowed(judge(replace(SIGNED, chain=chain(**{role: fields})))).notices
        assert bool(notices) == is_told
    silent = {"expires": NOW + timedelta(seconds=1), "period": None}
    assert allowed(judge(replace(SIGNED, chain=chain(**{role: silent})))).notices == ()


def test_tombstone_speaks_only_where_nothing_is_signed_unless_a_role_above_set_it() -> None:
    stone = Tombstone(revoked_at=NOW, revoked_by=("k",), paths=())
    allowed(judge(replace(SIGNED, tombstone=stone)))
    assert reason(judge(replace(UNSIGNED, overruled=stone))) is Reason.REVOKED
    assert reason(judge(replace(UNSIGNED, tombstone=stone))) is Reason.REVOKED


@pytest.mark.parametrize("role", ["acme.web", "targets", "z"])
def test_any_of_the_roles_that_the_policy_asks_for_will_do(role: str) -> None:
    evidence = replace(SIGNED, line=() if role == "targets" else (role,))
    allowed(judge(evidence))
    allowed(judge(evidence, roles=("a", role, "zz")))
    verdict = judge(evidence, roles=("a", "zz"))
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.WRONG_SIGNER


def test_role_below_another_has_the_names_of_both() -> None:
    """Names are whoever's who delegates: another team could call a role of its own as this one is called."""
    evidence = replace(SIGNED, line=("evil", "acme.web"))
    assert allowed(judge(evidence, roles=("evil/acme.web",))).role == "acme.web"
    for roles in (("acme.web",), ("evil",), ("targets",), ("acme.web/evil",), ("evil/acme.web/z",)):
        verdict = judge(evidence, roles=roles)
        assert isinstance(verdict, Denied)
        assert verdict.reason is Reason.WRONG_SIGNER
        assert "signed by role evil/acme.web" in verdict.detail


def test_each_attestation_that_is_missing_is_named_and_an_empty_list_is_none() -> None:
    verdict = judge(
        replace(SIGNED, attestations={"spdx": (), "vuln": (LOW,)}), attestations=("spdx", "vuln", "slsa")
    )
    assert isinstance(verdict, Denied)
    assert "asks for spdx, slsa, and none" in verdict.detail


def test_digest_that_nobody_looked_up_a_tag_for_is_not_current() -> None:
    evidence = Evidence(chain=chain(), target=target(), tombstone=None)
    allowed(judge(evidence, BY_DIGEST))
    assert reason(judge(evidence, BY_DIGEST, digests="current")) is Reason.REVOKED


@pytest.mark.parametrize("seconds", [0, 1, 86_400])
def test_pin_is_over_from_its_date_on_for_ever(seconds: int) -> None:
    reference = parse_reference("registry.test/pause:3")
    verdict = decide_pinned(Policy(), PINNED, reference, NOW + timedelta(seconds=seconds))
    assert reason(verdict) is Reason.EXPIRED


def test_pin_says_nothing_of_sizes_signers_and_versions() -> None:
    found = allowed(decide_pinned(Policy(), PINNED, parse_reference("registry.test/pause:3"), NOW - WEEK))
    assert (found.size_bytes, found.signers, found.versions, found.notices) == (0, (), {}, ())


@pytest.mark.parametrize("role", ROLES)
def test_denied_key_costs_nothing_where_more_than_enough_others_signed(role: str) -> None:
    denying = Policy(denied_keys=frozenset({"b"}))
    fields = {"signers": ("a", "b", "c", "d"), "threshold": 1}
    allowed(judge(replace(SIGNED, chain=chain(**{role: fields})), policy=denying))
