"""Owns the verification of an image: reference in, ``Verdict`` out. Every gate asks here, and nowhere else.

  1. the policy names the one collection that decides; none means deny
  2. its trusted state is refreshed, or taken as it is (``offline``)
  3. it is judged by what the collection's roles sign; a role that is wanted and not verified is asked for

Distrust comes back as ``Denied``; so does "could not decide", with a reason of its own. Nothing is raised but
``InputError`` for what is wrong with this machine's own configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from trust.client import Current, StoredRoles, refresh, trusted_offline
from trust.deadline import Deadline
from trust.digest import Digest
from trust.errors import InputError, RefusedError, TrustError, UnverifiedRoleError
from trust.judge import judge, match_or_verdict, paths_of
from trust.policy import Match, Policy, Stanza
from trust.reference import Reference
from trust.state import TrustedState
from trust.value import dataclass, replace
from trust.verdict import Allowed, Denied, Reason, Verdict, reason_of

if TYPE_CHECKING:
    from trust.stores.interface import Store


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
            return Denied(reference=reference, reason=reason_of(err), detail=str(err), hint=err.hint)
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
        paths = list(paths_of(match, reference))
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
