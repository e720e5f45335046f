"""Owns the verification of an image: reference in, ``Verdict`` out. Every gate asks here, and nowhere else.

  1. the policy names the one collection that decides; none means deny
  2. its trusted state is refreshed, or taken as it is (``offline``)
  3. the signed target, or its tombstone, is looked up
  4. the policy decides over the evidence, at ``now``

Distrust comes back as ``Denied``; so does "could not decide", with a reason of its own. Nothing is raised but
``InputError`` for what is wrong with this machine's own configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from trust.attestations import attestations_of
from trust.chain import TrustedChain
from trust.client import Current, StoredRoles, UnverifiedRoleError, refresh, trusted_offline
from trust.deadline import Deadline
from trust.decision import Evidence, decide, decide_pinned
from trust.delegations import Roles, walk
from trust.digest import Digest
from trust.errors import InputError, RefusedError, TrustError
from trust.naming import is_named
from trust.policy import Match, Policy, Stanza
from trust.reference import RESERVED_TAG_PREFIX, Reference
from trust.state import TrustedState
from trust.targets import Attestations, Target, Tombstone, digest_path, lookup_path, tag_path
from trust.value import dataclass, replace
from trust.verdict import Allowed, Denied, Reason, Verdict, reason_of

if TYPE_CHECKING:
    from trust.stores.interface import Store


class Lookup(Roles, Protocol):
    """What a collection signs, by role and target path: on disk here, in memory in the shim."""

    def target(self, role: str, path: str) -> Target | None:
        """Return the target that ``role`` signs under ``path``, or None."""

    def tombstone(self, role: str, path: str) -> Tombstone | None:
        """Return the tombstone of a ``path`` that ``role`` revoked, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """What a verification needs from outside: rules, state, a door to the metadata, the time."""

    policy: Policy
    state: TrustedState
    open_store: Callable[[Stanza], Store]
    now: datetime
    deadline: Deadline
    offline: bool = False

    def verify(self, reference: Reference) -> Verdict:
        """Return the verdict on ``reference``, by the steps of this module."""
        match = match_or_verdict(self.policy, reference, self.now)
        if not isinstance(match, Match):
            return match
        store = None if self.offline else self.open_store(match.stanza)
        try:
            current, verdict = self._judged(match, reference, store)
        except InputError:
            raise  # this machine's own configuration: credentials, certificates, the policy
        except TrustError as err:
            return _denied(reference, reason_of(err), str(err), err.hint)
        if isinstance(verdict, Allowed) and current.is_first_use:
            notice = f"first use of {match.stanza.collection} here: trusted from the pinned root, no older state"
            return replace(verdict, notices=(notice, *verdict.notices))
        return verdict

    def vet(self, allowed: Allowed, digest: Digest) -> None:
        """Refuse the child ``digest`` of an allowed index where whoever asks a gate for it is refused.

        What was verified for the index is enough, but for bins. Of an image that the policy pins there is no
        metadata: its child is held against the deny list alone.

        Raises:
            RefusedError: it is denied.
        """
        reference = allowed.reference.at(digest)
        if self.policy.match(reference) is None:
            if digest in self.policy.denied_digests:
                raise RefusedError(f"digest {digest} is on the local deny list", reason=Reason.REVOKED.value)
            return
        verdict = replace(self, offline=True).verify(reference)
        if isinstance(verdict, Denied) and verdict.reason is Reason.UNREACHABLE and not self.offline:
            verdict = self.verify(reference)
        if isinstance(verdict, Denied):
            raise RefusedError(
                f"{digest} in the allowed index is denied: {verdict.detail}",
                reason=verdict.reason.value,
                hint=verdict.hint,
            )

    def _judged(self, match: Match, reference: Reference, store: Store | None) -> tuple[Current, Verdict]:
        """Return the verdict, after as many roles were verified as it needs: bins know only their own paths."""
        paths = list(_paths(match, reference))
        while True:
            current = self._current(match, paths, store)
            lookup = StoredRoles(state=self.state, pin=match.stanza.root, chain=current.chain)
            try:
                return current, judge(
                    self.policy, match, reference, chain=current.chain, lookup=lookup, now=self.now
                )
            except UnverifiedRoleError as err:
                if store is None or err.path is None or err.path in paths:
                    raise
                paths.append(err.path)

    def _current(self, match: Match, paths: Sequence[str], store: Store | None) -> Current:
        if store is None:
            return trusted_offline(match.stanza, self.state, now=self.now)
        return refresh(match.stanza, self.state, store, paths=paths, now=self.now, deadline=self.deadline)


def _paths(match: Match, reference: Reference) -> tuple[str, ...]:
    """Return the target paths that a verdict on ``reference`` looks at."""
    path = lookup_path(match.path, reference)
    if reference.tag is None or reference.digest is None:
        return (path,)
    return (path, tag_path(match.path, reference.tag))


def judge(
    policy: Policy, match: Match, reference: Reference, *, chain: TrustedChain, lookup: Lookup, now: datetime
) -> Verdict:
    """Return the verdict on ``reference`` by verified metadata (steps 3 and 4).

    Raises:
        TrustError: a role that is to answer is not verified.
    """
    path, *of_tag = _paths(match, reference)
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


def match_or_verdict(policy: Policy, reference: Reference, now: datetime) -> Match | Verdict:
    """Return the collection that decides on ``reference``, or the verdict where none is needed (step 1)."""
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


def compare_tag(verdict: Allowed, registry_digest: Digest | None) -> Verdict:
    """Return ``verdict``, or ``tag-moved`` where the registry's tag is not at the signed digest.

    ``registry_digest`` is None where the registry has no such tag.
    """
    if verdict.reference.digest is not None or registry_digest == verdict.digest:
        return verdict
    got = f"the registry has {registry_digest}" if registry_digest else "the registry has no such tag"
    return Denied(
        reference=verdict.reference,
        reason=Reason.TAG_MOVED,
        detail=f"the publisher signed {verdict.digest}, {got}",
        hint=f"use the signed image: {verdict.pinned}",
        expected=verdict.digest,
        got=registry_digest,
    )


def _denied(reference: Reference, reason: Reason, detail: str, hint: str | None = None) -> Denied:
    return Denied(reference=reference, reason=reason, detail=detail, hint=hint)
