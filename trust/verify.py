"""Owns the verification of an image: reference in, ``Verdict`` out. Every gate asks here, and nowhere else.

  1. the policy names the one collection that decides; none means deny
  2. its trusted state is refreshed, or taken as it is (``offline``)
  3. the signed target, or its tombstone, is looked up
  4. the policy decides over the evidence, at ``now``

Distrust comes back as ``Denied``; so does "could not decide", with a reason of its own. Nothing is raised but
``InputError`` for what is wrong with this machine's own configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from trust.attestations import attestations_of
from trust.chain import TrustedChain
from trust.client import Current, refresh, trusted_offline
from trust.deadline import Deadline
from trust.digest import Digest
from trust.errors import InputError, LimitError, RefusedError, StateError, TrustError
from trust.policy import Evidence, Match, Policy, Stanza, decide, decide_pinned
from trust.reference import RESERVED_TAG_PREFIX, Reference
from trust.state import TrustedState
from trust.targets import Target, Tombstone, lookup_path, tag_path
from trust.value import dataclass, replace
from trust.verdict import Allowed, Denied, Reason, Verdict

if TYPE_CHECKING:
    from trust.stores.interface import Store

ROLE = "targets"


class Lookup(Protocol):
    """What a collection signs, by target path: on disk here, in memory in the shim."""

    def target(self, path: str) -> Target | None:
        """Return the signed target under ``path``, or None."""

    def tombstone(self, path: str) -> Tombstone | None:
        """Return the tombstone of a revoked ``path``, or None."""


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
            current = self._current(match.stanza, store)
            lookup = _Stored(state=self.state, pin=match.stanza.root)
            verdict = judge(self.policy, match, reference, chain=current.chain, lookup=lookup, now=self.now)
        except InputError:
            raise  # this machine's own configuration: credentials, certificates, the policy
        except TrustError as err:
            return _denied(reference, reason_of(err), str(err), err.hint)
        if isinstance(verdict, Allowed) and current.is_first_use:
            notice = f"first use of {match.stanza.collection} here: trusted from the pinned root, no older state"
            return replace(verdict, notices=(notice, *verdict.notices))
        return verdict

    def _current(self, stanza: Stanza, store: Store | None) -> Current:
        if store is None:
            return trusted_offline(stanza, self.state, now=self.now)
        return refresh(stanza, self.state, store, now=self.now, deadline=self.deadline)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The look-up in the trusted state on disk."""

    state: TrustedState
    pin: Digest

    def target(self, path: str) -> Target | None:
        return self.state.target(self.pin, ROLE, path)

    def tombstone(self, path: str) -> Tombstone | None:
        return self.state.tombstone(self.pin, ROLE, path)


def judge(
    policy: Policy, match: Match, reference: Reference, *, chain: TrustedChain, lookup: Lookup, now: datetime
) -> Verdict:
    """Return the verdict on ``reference`` by verified metadata (steps 3 and 4)."""
    path = lookup_path(match.path, reference)
    target = lookup.target(path)
    both = reference.tag is not None and reference.digest is not None
    attestations = attestations_of(lookup.target, match.path, target.digest) if target is not None else {}
    evidence = Evidence(
        attestations=attestations,
        chain=chain.facts(ROLE),
        target=target,
        tombstone=lookup.tombstone(path) if target is None else None,
        tag_target=lookup.target(tag_path(match.path, reference.tag or "")) if both else None,
    )
    return decide(policy, match, reference, evidence, now)


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
    return _denied(
        reference,
        Reason.NO_POLICY,
        f"no collection of the policy covers {reference.repository}",
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


def reason_of(err: TrustError) -> Reason:
    """Return the reason of a verdict that ended with ``err``."""
    match err:
        case RefusedError():
            return Reason(err.reason)
        case LimitError():
            return Reason.LIMIT_REACHED
        case StateError():
            return Reason.STATE_DAMAGED
        case _:
            return Reason.UNREACHABLE
