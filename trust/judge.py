"""Owns the judging of an image by what its collection signs: reference and verified roles in, ``Verdict`` out.

  1. the policy names the one collection that decides; none means deny
  2. the signed target, or its tombstone, is looked up by the way of its delegations
  3. the policy decides over the evidence, at ``now``

It is one function for whoever keeps the roles: the verifier has them on disk, the shim in memory. Pure: it asks
nobody, and what was not verified before is named as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Protocol

from trust.attestations import attestations_of
from trust.chain import TrustedChain
from trust.decision import Evidence, decide, decide_pinned
from trust.delegations import Roles, walk
from trust.digest import Digest
from trust.errors import TrustError, UnverifiedRoleError
from trust.naming import is_named
from trust.policy import Match, Policy
from trust.reference import RESERVED_TAG_PREFIX, Reference
from trust.targets import Attestations, Target, Tombstone, digest_path, lookup_path, tag_path
from trust.verdict import Denied, Reason, Verdict


class Lookup(Roles, Protocol):
    """What a collection signs, by role and target path: on disk here, in memory in the shim."""

    def target(self, role: str, path: str) -> Target | None:
        """Return the target that ``role`` signs under ``path``, or None."""

    def tombstone(self, role: str, path: str) -> Tombstone | None:
        """Return the tombstone of a ``path`` that ``role`` revoked, or None."""


def match_or_verdict(policy: Policy, reference: Reference, now: datetime) -> Match | Verdict:
    """Return the collection that decides on ``reference``, or the verdict where none is needed."""
    if reference.tag is not None and reference.tag.startswith(RESERVED_TAG_PREFIX):
        return _denied(reference, Reason.UNSIGNED, f"tag {reference.tag} is reserved for trust metadata")
    match = policy.match(reference)
    if match is not None:
        return match
    pin = policy.pin_of(reference)
    if pin is not None:
        return decide_pinned(policy, pin, reference, now)
    tied = [str(each.stanza.collection) for each in policy.tied(reference)]
    return _denied(
        reference,
        Reason.NO_POLICY,
        f"collections {' and '.join(tied)} cover {reference.repository} alike: none decides"
        if tied
        else f"no collection of the policy covers {reference.repository}",
        "trust policy add COLLECTION --root sha256:… --metadata URL",
    )


def paths_of(match: Match, reference: Reference) -> tuple[str, ...]:
    """Return the target paths that a verdict on ``reference`` looks at."""
    path = lookup_path(match.path, reference)
    if reference.tag is None or reference.digest is None:
        return (path,)
    return (path, tag_path(match.path, reference.tag))


def judge(
    policy: Policy, match: Match, reference: Reference, *, chain: TrustedChain, lookup: Lookup, now: datetime
) -> Verdict:
    """Return the verdict on ``reference`` by verified metadata.

    Raises:
        TrustError: a role that is to answer is not verified.
    """
    path, *of_tag = paths_of(match, reference)
    route = walk(path, lookup)
    target = lookup.target(route.last, path)
    evidence = Evidence(
        is_named=_is_named(lookup, match, reference, target),
        attestations=_attestations(policy, lookup, match, target) if target is not None else {},
        chain=chain.facts(route.links),
        line=route.line,
        target=target,
        tombstone=_stone(lookup, route.visited, path) if target is None else None,
        overruled=_stone(lookup, route.visited, digest_path(match.path, target.digest)) if target else None,
        tag_target=lookup.target(walk(of_tag[0], lookup).last, of_tag[0]) if of_tag else None,
    )
    return decide(policy, match, reference, evidence, now)


def _is_named(lookup: Lookup, match: Match, reference: Reference, target: Target | None) -> bool:
    """Tell whether a tag names what ``target`` belongs to; looked up only where the policy asks for it.

    Raises:
        UnverifiedRoleError: a role that would tell was not verified; the error has the path to verify.
    """
    if target is None or reference.digest is None or match.stanza.digests == "signed":
        return False
    return is_named(partial(_find, lookup), match.path, target)


def _find(lookup: Lookup, path: str) -> Target | None:
    """Return the signed target of ``path``; the error of a role that was not verified has the path."""
    try:
        return lookup.target(walk(path, lookup).last, path)
    except UnverifiedRoleError as err:
        err.path = path
        raise


def _attestations(policy: Policy, lookup: Lookup, match: Match, target: Target) -> Attestations:
    """Return what is signed about ``target`` and stands: neither revoked nor denied here.

    Of a role that was not verified it is looked up only where the policy asks for it.

    Raises:
        UnverifiedRoleError: it does; the error has the path to verify.
        TrustError: it does, and a role that would tell is not accepted.
    """
    try:
        found = attestations_of(partial(_find, lookup), match.path, target.digest)
    except UnverifiedRoleError:
        if match.stanza.attestations:
            raise
        return {}
    standing = {
        kind: tuple(digest for digest in digests if _stands(policy, lookup, match, digest))
        for kind, digests in found.items()
    }
    return {kind: digests for kind, digests in standing.items() if digests}


def _stands(policy: Policy, lookup: Lookup, match: Match, attestation: Digest) -> bool:
    if attestation in policy.denied_digests:
        return False
    path = digest_path(match.path, attestation)
    try:
        return _find(lookup, path) is not None and _stone(lookup, walk(path, lookup).visited, path) is None
    except TrustError:
        if match.stanza.attestations:
            raise
        return True  # nobody relies on it


def _stone(lookup: Lookup, roles: Iterable[str], path: str) -> Tombstone | None:
    """Return the first tombstone of ``path`` that one of ``roles`` has."""
    stones = (lookup.tombstone(role, path) for role in roles)
    return next((stone for stone in stones if stone is not None), None)


def _denied(reference: Reference, reason: Reason, detail: str, hint: str | None = None) -> Denied:
    return Denied(reference=reference, reason=reason, detail=detail, hint=hint)
