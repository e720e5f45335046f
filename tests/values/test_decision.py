"""The decision: each step over what the stanza asks and the evidence says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.values.judgement import (
    BY_DIGEST,
    DIGEST,
    NOW,
    OTHER,
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
from trust.decision import decide_pinned, denied_as_typed
from trust.policy import Policy
from trust.reference import Reference, parse_reference
from trust.targets import Attests, Tombstone
from trust.value import replace
from trust.verdict import Allowed, Denied, Reason


def test_signed_image_is_allowed_and_the_verdict_tells_all() -> None:
    verdict = allowed(judge())
    assert (verdict.digest, verdict.size_bytes, verdict.role, verdict.signers) == (
        DIGEST,
        5,
        "targets",
        ("targets key",),
    )
    assert verdict.versions == {"root": 1, "timestamp": 2, "snapshot": 3, "targets": 4}
    assert verdict.valid_until == NOW + WEEK
    assert verdict.notices == ()


@pytest.mark.parametrize("role", ROLES)
def test_role_is_expired_from_the_very_second_on(role: str) -> None:
    for seconds, is_allowed in ((1, True), (0, False), (-1, False)):
        evidence = replace(SIGNED, chain=chain(**{role: {"expires": NOW + timedelta(seconds=seconds)}}))
        verdict = judge(evidence)
        assert isinstance(verdict, Allowed) == is_allowed
        if isinstance(verdict, Denied):
            assert verdict.reason is Reason.EXPIRED
            assert role in verdict.detail


def test_absent_target_is_unsigned_and_with_a_tombstone_revoked() -> None:
    tombstone = Tombstone(revoked_at=NOW, revoked_by=("t1",), paths=())
    assert reason(judge(UNSIGNED)) is Reason.UNSIGNED
    assert reason(judge(replace(UNSIGNED, tombstone=tombstone))) is Reason.REVOKED


def test_tag_that_was_signed_anew_is_no_longer_revoked() -> None:
    tombstone = Tombstone(revoked_at=NOW, revoked_by=("t1",), paths=())
    allowed(judge(replace(SIGNED, tombstone=tombstone)))


def test_role_that_the_policy_does_not_ask_for_is_a_wrong_signer() -> None:
    allowed(judge(roles=("acme.team", "targets")))
    assert reason(judge(roles=("acme.team",))) is Reason.WRONG_SIGNER
    assert reason(judge(roles=("target",))) is Reason.WRONG_SIGNER  # a beginning of the role's name is no name


def test_attestation_of_one_type_does_not_stand_in_for_another() -> None:
    attested = replace(SIGNED, attestations={"spdx": (OTHER,)})
    allowed(judge(attested, attestations=("spdx",)))
    assert reason(judge(attested, attestations=("slsa",))) is Reason.ATTESTATION_MISSING
    assert reason(judge(attested, attestations=("spdx", "slsa"))) is Reason.ATTESTATION_MISSING


@pytest.mark.parametrize(
    ("fields", "is_named", "is_current"),
    [({"tags": ("1.4",)}, False, True), ({"inside": (OTHER,)}, True, True), ({"inside": (OTHER,)}, False, False),
     ({}, False, False)],
)  # fmt: skip
def test_current_digests_are_those_that_a_tag_names_or_an_index_that_has_one(
    fields: dict[str, Any], *, is_named: bool, is_current: bool
) -> None:
    evidence = replace(SIGNED, target=target(**fields), is_named=is_named)
    allowed(judge(evidence, BY_DIGEST))
    allowed(judge(evidence, WEB, digests="current"))
    verdict = judge(evidence, BY_DIGEST, digests="current")
    assert isinstance(verdict, Allowed) == is_current
    if not is_current:
        assert reason(verdict) is Reason.REVOKED


@pytest.mark.parametrize("image", [WEB, BY_DIGEST, f"{WEB}@{DIGEST}"])
def test_locally_denied_digest_is_revoked_at_once(image: str) -> None:
    denying = Policy(denied_digests=frozenset({DIGEST}))
    assert reason(judge(image=image, policy=denying)) is Reason.REVOKED
    expired = replace(SIGNED, chain=chain(root={"expires": NOW}))
    assert "deny list" in str(judge(expired, image, policy=denying))


def test_locally_denied_digest_is_revoked_though_nobody_signs_it() -> None:
    denying = Policy(denied_digests=frozenset({DIGEST}))
    assert reason(judge(UNSIGNED, BY_DIGEST, policy=denying)) is Reason.REVOKED


@pytest.mark.parametrize("role", ROLES)
def test_locally_denied_key_leaves_a_role_only_while_the_others_reach_the_threshold(role: str) -> None:
    denying = Policy(denied_keys=frozenset({"b"}))
    for signers, threshold, is_allowed in [(("b",), 1, False), (("a", "b"), 1, True), (("a", "b"), 2, False)]:
        evidence = replace(SIGNED, chain=chain(**{role: {"signers": signers, "threshold": threshold}}))
        verdict = judge(evidence, policy=denying)
        assert isinstance(verdict, Allowed) == is_allowed
        if isinstance(verdict, Denied):
            assert verdict.reason is Reason.WRONG_SIGNER


def test_digest_asked_for_is_the_digest_given() -> None:
    swapped = replace(SIGNED, target=target(digest=OTHER))
    assert reason(judge(swapped, BY_DIGEST)) is Reason.TAMPERED
    assert reason(judge(swapped, f"{WEB}@{DIGEST}")) is Reason.TAMPERED
    assert allowed(judge(swapped)).digest == OTHER


def test_tag_beside_a_digest_is_reported_and_not_denied() -> None:
    both = f"{WEB}@{DIGEST}"
    moved, gone = replace(SIGNED, tag_target=target(digest=OTHER)), SIGNED
    assert allowed(judge(replace(SIGNED, tag_target=target()), both)).notices == ()
    assert allowed(judge(moved, both)).notices == (f"tag 1.4 has moved on to {OTHER}",)
    assert allowed(judge(gone, both)).notices == ("tag 1.4 is not signed; the digest is",)


def test_expiry_that_nears_is_a_notice_in_the_last_quarter() -> None:
    for days_left, is_told in ((2, False), (1, True)):
        fields = {"expires": NOW + timedelta(days=days_left), "period": WEEK}
        notices = allowed(judge(replace(SIGNED, chain=chain(timestamp=fields)))).notices
        assert bool(notices) == is_told
        assert all("timestamp expires in 1 day" in notice for notice in notices)


def test_pinned_digest_is_admitted_until_its_date() -> None:
    reference: Reference = parse_reference("registry.test/pause:3")
    before = decide_pinned(Policy(), PINNED, reference, NOW - timedelta(seconds=1))
    assert (allowed(before).digest, allowed(before).role, allowed(before).valid_until) == (DIGEST, "pinned", NOW)
    assert reason(decide_pinned(Policy(), PINNED, reference, NOW)) is Reason.EXPIRED


def test_pinned_digest_that_is_denied_here_is_revoked() -> None:
    denying = Policy(denied_digests=frozenset({DIGEST}))
    before = NOW - timedelta(seconds=1)
    for image in ("registry.test/pause:3", f"registry.test/pause@{DIGEST}"):
        assert reason(decide_pinned(denying, PINNED, parse_reference(image), before)) is Reason.REVOKED


def test_image_that_a_role_above_revoked_is_revoked_though_it_is_signed() -> None:
    stone = Tombstone(revoked_at=NOW, revoked_by=("t1",), paths=())
    for image in (WEB, BY_DIGEST):
        assert reason(judge(replace(SIGNED, overruled=stone), image)) is Reason.REVOKED


def test_attestation_needs_none_that_speaks_of_it() -> None:
    said = replace(SIGNED, target=target(attests=Attests(subject=OTHER, type="spdx")))
    allowed(judge(said, BY_DIGEST, attestations=("spdx",)))
    assert reason(judge(SIGNED, BY_DIGEST, attestations=("spdx",))) is Reason.ATTESTATION_MISSING


def test_digest_that_is_typed_and_denied_needs_no_evidence() -> None:
    policy = Policy(denied_digests=frozenset({DIGEST}))
    denied = denied_as_typed(policy, parse_reference(BY_DIGEST))
    assert denied is not None
    assert (denied.reason, denied.detail) == (Reason.REVOKED, f"digest {DIGEST} is on the local deny list")
    assert denied_as_typed(policy, parse_reference(WEB)) is None
    assert denied_as_typed(Policy(denied_digests=frozenset({OTHER})), parse_reference(BY_DIGEST)) is None
