"""Owns the one way in which a collection changes: load, edit, publish, and again if another was first.

1. the store's current metadata is loaded and verified, against what was published from here before
2. a change makes an edition of it, or says that there is nothing to do
3. the store publishes it; where another publisher was first, the change is made anew on what he published
4. what consumers now see is remembered here, so that a store set back is noticed by its own publisher
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from trust.deadline import Deadline
from trust.edition import Edition, Keyring, Signers, next_edition
from trust.errors import ConflictError, InputError, TrustError, UnreachableError
from trust.policy import Stanza
from trust.repository import Loaded, load
from trust.roles import merge
from trust.state import TrustedState
from trust.stores.interface import Store
from trust.value import dataclass, replace

ATTEMPTS = 8
ONLINE_ROLES = ("snapshot", "timestamp")
PAUSE_SECONDS = 0.2  # doubled at each conflict, with a random share, so that two publishers fall out of step

Change = Callable[[Loaded], Edition | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publishing command did; without change, nothing was written and ``versions`` are the current ones."""

    changed: bool
    versions: Mapping[str, int]
    rebased: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """What publishing needs from outside: the collection, its store, keys at hand, the time, a way to wait."""

    stanza: Stanza
    state: TrustedState
    store: Store
    keyring: Keyring
    now: datetime
    deadline: Deadline
    pause: Callable[[float], None]
    chosen: frozenset[str] = frozenset()  # of several keys of targets at hand, sign with these alone
    dry_run: bool = False

    def load(self) -> Loaded:
        """Return the current metadata of the store, verified."""
        view = self.store.view(known=None, deadline=self.deadline)
        if view is None:
            raise UnreachableError(f"the store answered 'not modified' to nobody's question: {self.store.url}")
        return load(self.stanza, view, floors=self.state.published(self.stanza.root))

    def signers(self, loaded: Loaded, *roles: str) -> Signers:
        """Return the signers at hand for ``roles``, and for snapshot and timestamp, which every edition needs."""
        keyids = {name: set(loaded.root.signed.roles[name].keyids) for name in (*roles, *ONLINE_ROLES)}
        if self.chosen and "targets" in keyids:
            foreign = self.chosen - keyids["targets"]
            if foreign:
                raise InputError(f"key {min(foreign)[:12]} does not sign targets of {self.stanza.collection}")
            keyids["targets"] &= self.chosen
        return self.keyring(set().union(*keyids.values()))

    def publish(self, change: Change) -> Published:
        """Return what was published after ``change``, by the steps of this module.

        Raises:
            ConflictError: others were first ``ATTEMPTS`` times; nothing of this change was published.
        """
        for attempt in range(ATTEMPTS):
            loaded = self._with_strays(self.load())
            edition = change(loaded)
            if edition is None and loaded.is_merged:
                edition = next_edition(loaded, signers=self.signers(loaded, "targets"), now=self.now)
            if edition is None:
                return Published(changed=False, versions=loaded.versions())
            if self.dry_run:
                return Published(changed=True, versions=edition.versions)
            try:
                self.store.publish(edition.publication, deadline=self.deadline)
            except ConflictError:
                if attempt + 1 == ATTEMPTS:
                    raise
                self.pause(PAUSE_SECONDS * 2**attempt)
                continue
            self.state.set_published(self.stanza.root, edition.versions)
            return Published(changed=True, versions=edition.versions, rebased=attempt)
        raise ConflictError(f"another publisher was first {ATTEMPTS} times: {self.store.url}")

    def _with_strays(self, loaded: Loaded) -> Loaded:
        """Return ``loaded`` with the changes of publishers that a registry passed over, if they are newer.

        Only a number above the current one counts: an old edition, replayed as a claim, must change nothing.
        """
        for stray, base in loaded.view.strays():
            try:
                theirs = load(self.stanza, stray, floors={})
                was = load(self.stanza, base, floors={})
            except TrustError:
                continue  # whoever can write to the registry can push rubbish; it is nobody's change
            if theirs.targets.signed.version > loaded.targets.signed.version:
                table = merge(loaded.table, base=was.table, theirs=theirs.table)
                loaded = replace(loaded, table=table, is_merged=loaded.is_merged or table != loaded.table)
        return loaded

    def renew(self, roles: frozenset[str]) -> Published:
        """Return what was published to extend the expiry of ``roles``; snapshot and timestamp always are."""

        def change(loaded: Loaded) -> Edition:
            return next_edition(
                loaded,
                renew_root="root" in roles,
                renew_targets="targets" in roles,
                signers=self.signers(loaded, *roles),
                now=self.now,
            )

        return self.publish(change)
