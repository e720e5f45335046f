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
from trust.errors import ConflictError, InputError, RefusedError, StateError, TrustError, UnreachableError
from trust.merge import merge
from trust.metadata import table_of
from trust.policy import Stanza
from trust.repository import Loaded, load, load_under
from trust.state import TrustedState
from trust.stores.interface import Store
from trust.value import dataclass, replace
from trust.verdict import Reason

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
        loaded = load(self.stanza, view, floors=self._floors())
        self._require_no_rollback(loaded)
        return loaded

    def _floors(self) -> dict[str, int]:
        """Return the lowest versions to build on: what was published from here, and what the policy demands."""
        floors = dict(self.state.published(self.stanza.root))
        for name, version in self.stanza.floors.items():
            floors[name] = max(version, floors.get(name, 0))
        return floors

    def _require_no_rollback(self, loaded: Loaded) -> None:
        """Refuse what the consumer of this very home would call rolled back.

        Not for snapshot and timestamp under a newer root: it may have reset them (TUF 1.0 §5.3.11).
        """
        chain = self.state.chain(self.stanza.root)
        if chain is None:
            return
        same_root = chain.root_version == loaded.root.signed.version
        for name, version in loaded.versions().items():
            stored = chain.roles.get(name)
            if stored is None or (name in ONLINE_ROLES and not same_root):
                continue
            if version < stored.facts.version:
                raise RefusedError(
                    f"role {name} is older than what was verified here: expected at least version "
                    f"{stored.facts.version}, got {version}",
                    reason=Reason.ROLLED_BACK.value,
                    hint="somebody set the store back; find out who before signing anything",
                )

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
            self._remember(edition)
            return Published(changed=True, versions=edition.versions, rebased=attempt)
        raise ConflictError(f"another publisher was first {ATTEMPTS} times: {self.store.url}")

    def _remember(self, edition: Edition) -> None:
        try:
            self.state.set_published(self.stanza.root, edition.versions)
        except StateError as err:
            raise StateError(
                f"published, but not recorded here: {err}", hint="consumers see the change; make room on this disk"
            ) from err

    def _with_strays(self, loaded: Loaded) -> Loaded:
        """Return ``loaded`` with the changes of publishers that a registry passed over.

        A change is theirs alone only between the two versions that they signed. Both must be signed by the keys of
        now, and the newer be newer than what is current: an old edition, replayed as a claim, changes nothing.
        """
        for stray, base in loaded.view.strays():
            try:
                theirs, was = load_under(loaded.roots, stray), load_under(loaded.roots, base)
            except TrustError:
                continue  # whoever can write to the registry can push rubbish; it is nobody's change
            is_newer = theirs.targets.signed.version > loaded.targets.signed.version
            is_ours = theirs.identity == loaded.identity == was.identity
            if is_newer and is_ours and theirs.base_version == was.targets.signed.version:
                table = merge(loaded.table, base=was.table, theirs=theirs.table)
                loaded = replace(loaded, table=table, is_merged=loaded.is_merged or table != loaded.table)
        return loaded

    def renew(self, roles: frozenset[str]) -> Published:
        """Return what was published to extend the expiry of ``roles``; snapshot and timestamp always are."""

        def change(loaded: Loaded) -> Edition:
            if "targets" not in roles:  # the online key alone renews; what was passed over waits for a signer
                loaded = replace(loaded, table=table_of(loaded.targets.signed), is_merged=False)
            return next_edition(
                loaded,
                renew_root="root" in roles,
                renew_targets="targets" in roles,
                signers=self.signers(loaded, *roles),
                now=self.now,
            )

        return self.publish(change)
