"""Owns the decision: from a policy, evidence and a moment to a ``Verdict``. Pure: no IO, no clock.

``decide`` goes through numbered steps and stops at the first that fails:
  1. the local deny list: digests and key ids
  2. the whole chain of roles is unexpired
  3. the signed target is there (or its tombstone says ``revoked``), and is of the digest that was asked for
  4. the role that signed it is one that the policy asks for
  5. with ``digests = "current"``, a tag still names the digest, or an index that it is in
  6. every attestation that the policy asks for is signed for the digest, or for an index that it is in
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from trust.chain import RoleFacts
from trust.delegations import TARGETS
from trust.digest import Digest
from trust.instant import format_span, format_utc
from trust.policy import Match, Pinned, Policy, Stanza
from trust.reference import Reference
from trust.targets import Attestations, Target, Tombstone
from trust.value import dataclass, field
from trust.verdict import Allowed, Denied, Reason, Verdict

WARN_FRACTION = 4  # a notice when less than a quarter of the signed period is left


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the verified metadata says of a reference; ``chain`` runs from root to the role that answers.

    ``tombstone`` is of the path that was asked for; ``overruled`` of the signed digest, by the role that signed it
    or one above it.
    """

    chain: tuple[RoleFacts, ...]
    line: tuple[str, ...] = ()  # from a delegate of targets down to the role that answers; see ``Route``
    target: Target | None
    tombstone: Tombstone | None
    overruled: Tombstone | None = None
    tag_target: Target | None = None  # of TAG@DIGEST: what the tag names now
    is_named: bool = False  # a tag names what the target belongs to; looked up where the policy asks for it
    attestations: Attestations = field(default_factory=dict)

    @property
    def role(self) -> str:
        """The role that answers, as people know it: of a bin, the role it belongs to."""
        return self.line[-1] if self.line else TARGETS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    policy: Policy
    stanza: Stanza
    reference: Reference
    evidence: Evidence
    now: datetime

    def denied(self, reason: Reason, detail: str, hint: str | None = None) -> Denied:
        return Denied(reference=self.reference, reason=reason, detail=detail, hint=hint)


def decide(policy: Policy, match: Match, reference: Reference, evidence: Evidence, now: datetime) -> Verdict:
    """Return the verdict on ``reference`` at ``now``, by the steps of this module."""
    case = _Case(policy=policy, stanza=match.stanza, reference=reference, evidence=evidence, now=now)
    denial = _first(step(case) for step in (_locally_denied, _expired, _revoked))
    if denial is not None:
        return denial
    target = evidence.target
    if target is None:
        return _unsigned(case)
    denial = _first(step(case, target) for step in (_misnamed, _by_another_role, _not_current, _unattested))
    if denial is not None:
        return denial
    return Allowed(
        reference=reference,
        digest=target.digest,
        size_bytes=target.size_bytes,
        role=evidence.role,
        signers=evidence.chain[-1].signers,
        versions={facts.name: facts.version for facts in evidence.chain},
        valid_until=min(facts.expires for facts in evidence.chain),
        notices=tuple(_notices(case)),
        attestations=evidence.attestations,
    )


def _first(denials: Iterable[Denied | None]) -> Denied | None:
    return next((denial for denial in denials if denial is not None), None)


def decide_pinned(policy: Policy, pin: Pinned, reference: Reference, now: datetime) -> Verdict:
    """Return the verdict on a reference that no collection covers and the policy pins by digest.

    Steps 1 and 2 of this module; of a pin there is nothing else to judge.
    """
    digest = pin.reference.digest
    if digest in policy.denied_digests:
        return Denied(reference=reference, reason=Reason.REVOKED, detail=_on_deny_list(digest))
    if digest is None or now >= pin.until:
        detail = f"the policy pinned {pin.reference} until {format_utc(pin.until)}"
        return Denied(reference=reference, reason=Reason.EXPIRED, detail=detail)
    return Allowed(
        reference=reference, digest=digest, size_bytes=0, role="pinned", signers=(), versions={},
        valid_until=pin.until,
    )  # fmt: skip


def denied_as_typed(policy: Policy, reference: Reference) -> Denied | None:
    """Return the denial of a reference whose digest is on the local deny list: it needs no evidence (step 1)."""
    if reference.digest not in policy.denied_digests:
        return None
    return Denied(reference=reference, reason=Reason.REVOKED, detail=_on_deny_list(reference.digest))


def _locally_denied(case: _Case) -> Denied | None:
    target = case.evidence.target
    digest = target.digest if target else case.reference.digest
    if digest in case.policy.denied_digests:
        return case.denied(Reason.REVOKED, _on_deny_list(digest))
    for facts in case.evidence.chain:
        if len(set(facts.signers) - case.policy.denied_keys) < facts.threshold:
            return case.denied(Reason.WRONG_SIGNER, f"a key of role {facts.name} is on the local deny list")
    return None


def _on_deny_list(digest: Digest | None) -> str:
    return f"digest {digest} is on the local deny list"


def _expired(case: _Case) -> Denied | None:
    for facts in case.evidence.chain:
        if case.now >= facts.expires:
            return case.denied(
                Reason.EXPIRED,
                f"role {facts.name} version {facts.version} expired on {format_utc(facts.expires)}, "
                f"{format_span(case.now - facts.expires)} ago",
                "the publisher must renew, or newer metadata is being withheld; check this clock too",
            )
    return None


def _revoked(case: _Case) -> Denied | None:
    stone = case.evidence.overruled
    if case.evidence.target is None:
        stone = stone or case.evidence.tombstone
    if stone is None:
        return None
    when = format_utc(stone.revoked_at)
    return case.denied(
        Reason.REVOKED, f"the publisher revoked {case.reference} on {when}", "use another tag that is signed"
    )


def _unsigned(case: _Case) -> Denied:
    collection = case.stanza.collection
    return case.denied(
        Reason.UNSIGNED,
        f"collection {collection} does not sign {case.reference}",
        f"see what is signed: trust list {collection}",
    )


def _misnamed(case: _Case, target: Target) -> Denied | None:
    asked = case.reference.digest
    if asked is None or target.digest == asked:
        return None
    detail = f"the signed target of {asked} is another manifest: got {target.digest}"
    return case.denied(Reason.TAMPERED, detail)


def _by_another_role(case: _Case, _target: Target) -> Denied | None:
    role = "/".join(case.evidence.line) or TARGETS
    if not case.stanza.roles or role in case.stanza.roles:
        return None
    asked = ", ".join(case.stanza.roles)
    return case.denied(
        Reason.WRONG_SIGNER,
        f"signed by role {role}, the policy asks for {asked}",
        f'if it may sign: roles = ["{role}"] in the policy',
    )


def _not_current(case: _Case, target: Target) -> Denied | None:
    if case.stanza.digests == "signed" or case.reference.digest is None:
        return None
    if target.tags or case.evidence.is_named:
        return None
    return case.denied(
        Reason.REVOKED, f"no tag names {target.digest} any more, and the policy admits current digests only"
    )


def _unattested(case: _Case, target: Target) -> Denied | None:
    if target.attests is not None:  # an attestation needs none that speaks of it
        return None
    missing = [kind for kind in case.stanza.attestations if not case.evidence.attestations.get(kind)]
    if not missing:
        return None
    return case.denied(
        Reason.ATTESTATION_MISSING,
        f"the policy asks for {', '.join(missing)}, and none is signed for {target.digest}",
        f"its publisher adds one: trust attest {case.reference.at(target.digest)} --type {missing[0]} FILE",
    )


def _notices(case: _Case) -> Iterable[str]:
    reference, evidence = case.reference, case.evidence
    for facts in evidence.chain:
        left = facts.expires - case.now
        if facts.period is not None and left < facts.period / WARN_FRACTION:
            yield f"role {facts.name} expires in {format_span(left)}, on {format_utc(facts.expires)}"
    if reference.digest is not None and reference.tag is not None:
        current = evidence.tag_target
        if current is None:
            yield f"tag {reference.tag} is not signed; the digest is"
        elif current.digest != reference.digest:
            yield f"tag {reference.tag} has moved on to {current.digest}"
