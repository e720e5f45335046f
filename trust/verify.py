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
from typing import TYPE_CHECKING

from trust.client import Current, refresh, trusted_offline
from trust.deadline import Deadline
from trust.digest import Digest
from trust.errors import InputError, LimitError, RefusedError, StateError, TrustError
from trust.policy import Evidence, Match, Policy, Stanza, decide, decide_pinned
from trust.reference import RESERVED_TAG_PREFIX, Reference
from trust.state import TrustedState
from trust.targets import lookup_path, tag_path
from trust.value import dataclass, replace
from trust.verdict import Allowed, Denied, Reason, Verdict

if TYPE_CHECKING:
    from trust.stores.interface import Store

ROLE = "targets"


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
        if reference.tag is not None and reference.tag.startswith(RESERVED_TAG_PREFIX):
            return _denied(reference, Reason.UNSIGNED, f"tag {reference.tag} is reserved for trust metadata")
        match = self.policy.match(reference)
        if match is None:
            return self._without_collection(reference)
        store = None if self.offline else self.open_store(match.stanza)
        try:
            current = self._current(match.stanza, store)
            verdict = decide(self.policy, match, reference, self._evidence(match, reference, current), self.now)
        except InputError:
            raise  # this machine's own configuration: credentials, certificates, the policy
        except TrustError as err:
            return _denied(reference, _reason(err), str(err), err.hint)
        if isinstance(verdict, Allowed) and current.is_first_use:
            notice = f"first use of {match.stanza.collection} here: trusted from the pinned root, no older state"
            return replace(verdict, notices=(notice, *verdict.notices))
        return verdict

    def _without_collection(self, reference: Reference) -> Verdict:
        pin = self.policy.pin_of(reference)
        if pin is not None:
            return decide_pinned(pin, reference, self.now)
        return _denied(
            reference,
            Reason.NO_POLICY,
            f"no collection of the policy covers {reference.repository}",
            "trust policy add COLLECTION --root sha256:… --metadata URL",
        )

    def _current(self, stanza: Stanza, store: Store | None) -> Current:
        if store is None:
            return trusted_offline(stanza, self.state, now=self.now)
        return refresh(stanza, self.state, store, now=self.now, deadline=self.deadline)

    def _evidence(self, match: Match, reference: Reference, current: Current) -> Evidence:
        pin, path = match.stanza.root, lookup_path(match.path, reference)
        target = self.state.target(pin, ROLE, path)
        both = reference.tag is not None and reference.digest is not None
        tag = tag_path(match.path, reference.tag or "")
        return Evidence(
            chain=current.chain.facts(ROLE),
            target=target,
            tombstone=self.state.tombstone(pin, ROLE, path) if target is None else None,
            tag_target=self.state.target(pin, ROLE, tag) if both else None,
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


def _reason(err: TrustError) -> Reason:
    match err:
        case RefusedError():
            return Reason(err.reason)
        case LimitError():
            return Reason.LIMIT_REACHED
        case StateError():
            return Reason.STATE_DAMAGED
        case _:
            return Reason.UNREACHABLE
