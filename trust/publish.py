"""Owns the one way in which a collection changes: load, edit, publish, and again if another was first.

1. the store's current metadata is loaded and verified, against what was published from here before
2. a change says what is to be another, or that there is nothing to do; changes passed over come along
3. the store publishes it; where another publisher was first, the change is made anew on what he published
4. what consumers now see is remembered here, so that a store set back is noticed by its own publisher
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from tuf.api.metadata import Root

from trust.chain import ONLINE_ROLES
from trust.deadline import Deadline
from trust.draft import Changes, Draft, Keyring, Signers, draft
from trust.edition import NO_PERIODS, Edition, sealed
from trust.errors import ConflictError, InputError, RefusedError, StateError, UnreachableError
from trust.policy import Stanza
from trust.repository import Loaded, load
from trust.state import TrustedState
from trust.stores.interface import Store
from trust.strays import take_strays
from trust.targets import Content
from trust.value import dataclass, replace
from trust.verdict import Reason

ATTEMPTS = 8
PAUSE_SECONDS = 0.2  # doubled at each conflict, with a random share, so that two publishers fall out of step

Change = Callable[[Loaded], Changes | None]


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
    periods: Mapping[str, timedelta] = NO_PERIODS  # of snapshot and timestamp, where shorter than the root's

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
        same_root = chain.root_version == loaded.root.version
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

    def publish(self, change: Change) -> Published:
        """Return what was published after ``change``, by the steps of this module.

        Raises:
            ConflictError: others were first ``ATTEMPTS`` times; nothing of this change was published.
        """
        for attempt in range(ATTEMPTS):
            loaded = self.load()
            strays = take_strays(loaded)
            changes = change(loaded)
            if changes is None and not strays:
                return Published(changed=False, versions=loaded.versions())
            edition = self._edition(loaded, changes or Changes(), strays)
            if self.dry_run:
                return Published(changed=True, versions=edition.versions)
            try:
                self._write(edition)
            except ConflictError:
                if attempt + 1 == ATTEMPTS:
                    raise
                self.pause(PAUSE_SECONDS * 2**attempt)
                continue
            return Published(changed=True, versions=edition.versions, rebased=attempt)
        raise ConflictError(f"another publisher was first {ATTEMPTS} times: {self.store.url}")

    def renew(self, roles: frozenset[str]) -> Published:
        """Return what was published to extend the expiry of ``roles``; snapshot and timestamp always are."""
        return self.publish(lambda loaded: Changes(renewed=frozenset(_with_bins(loaded, roles - {*ONLINE_ROLES}))))

    def signers(self, loaded: Loaded, keyids: Iterable[str]) -> Signers:
        """Return the signers at hand among ``keyids``; those alone that were chosen, where some were.

        Online keys are opened with them, side by side: every edition needs one in the end.
        """
        wanted = set(keyids) & self.chosen if self.chosen else set(keyids)
        opened = self.keyring(wanted | _online_keyids(loaded.root))
        return {keyid: signer for keyid, signer in opened.items() if keyid in wanted}

    def _edition(self, loaded: Loaded, changes: Changes, strays: Mapping[str, Content]) -> Edition:
        """Return the signed edition of ``changes``, and of those ``strays`` whose keys are at hand."""
        made = self._signed(loaded, replace(changes, contents={**strays, **changes.contents}))
        left = {role.name for role in made.roles if role.lacks()} & (strays.keys() - changes.contents.keys())
        if left:  # somebody else's role: it stays passed over until a publisher comes who has its keys
            kept = {name: content for name, content in strays.items() if name not in left}
            made = self._signed(loaded, replace(changes, contents={**kept, **changes.contents}))
        online = self.keyring(_online_keyids(loaded.root, made.root))
        return sealed(loaded, made, signers=online, now=self.now, settles=not left, periods=self.periods)

    def _signed(self, loaded: Loaded, changes: Changes) -> Draft:
        made = draft(loaded, changes, now=self.now)
        keyids = {role.name: set(role.keyids()) for role in made.roles}
        foreign = self.chosen.difference(*keyids.values()) if made.roles else frozenset()
        if foreign:
            raise InputError(
                f"key {min(foreign)[:12]} does not sign {', '.join(keyids)} of {self.stanza.collection}"
            )
        made.sign(self.signers(loaded, set().union(*keyids.values())))
        return made

    def _write(self, edition: Edition) -> None:
        self.store.publish(edition.publication, deadline=self.deadline)
        if edition.roots_after:
            view = self.store.view(known=None, deadline=self.deadline)
            if view is None:
                raise UnreachableError(f"the store answered 'not modified' to nobody's question: {self.store.url}")
            self.store.publish(edition.second(view), deadline=self.deadline)
        try:
            self.state.set_published(self.stanza.root, edition.versions)
        except StateError as err:
            raise StateError(
                f"published, but not recorded here: {err}", hint="consumers see the change; make room on this disk"
            ) from err


def _online_keyids(*roots: Root | None) -> set[str]:
    return {
        keyid for root in roots if root is not None for name in ONLINE_ROLES for keyid in root.roles[name].keyids
    }


def _with_bins(loaded: Loaded, names: Iterable[str]) -> Iterator[str]:
    """Yield ``names``, and with a role that has bins every bin."""
    for name in names:
        yield name
        if name != "root":
            bins = loaded.find(name).content.delegations.bins
            yield from bins.names() if bins is not None else ()
