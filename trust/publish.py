"""Owns the one way in which a collection changes: load, edit, publish, and again if another was first.

1. the store's current metadata is loaded and verified, against what was published from here before
2. a change says what is to be another, or that there is nothing to do; changes passed over come along, and what
   waits for the same roles is amended
3. the store publishes it; where another publisher was first, the change is made anew on what he published
4. what consumers now see is remembered here, so that a store set back is noticed by its own publisher

Below its threshold, without an online key or when it is only staged, a change that has a signature from here is
left to wait in the store instead of step 3; consumers see nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from tuf.api.metadata import Root

from trust.amend import Amended, Change, amended
from trust.chain import ONLINE_ROLES
from trust.deadline import Deadline
from trust.delegations import TARGETS
from trust.difference import Difference, Who
from trust.draft import Changes, Draft, draft
from trust.edition import Edition, sealed
from trust.errors import (
    ConflictError,
    InputError,
    StaleError,
    UnavailableError,
    UnreachableError,
)
from trust.loaded import Loaded
from trust.memory import Memory
from trust.pending import parse_pending, pending_bytes
from trust.policy import Stanza
from trust.proposal import Waiting, adopted, differences, is_authorised, pending_of, proposed, waiting_of
from trust.published import Dropped, Published
from trust.repository import load
from trust.salvage import salvage
from trust.seal import NO_PERIODS, can_seal
from trust.signatures import Keyring, Signers
from trust.state import TrustedState
from trust.stores.interface import Store
from trust.strays import take_strays
from trust.targets import Content
from trust.value import dataclass, replace
from trust.waiting_room import Entry, entries

ATTEMPTS = 8
PAUSE_SECONDS = 0.2  # doubled at each conflict, with a random share, so that two publishers fall out of step

Review = Callable[[Waiting, tuple[Difference, ...]], None]
"""Takes what waits and its words, returns if the person has seen them; raises if he does not want them."""


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
    stage: bool = False  # leave the publishing to others: online keys are never opened
    review: Review | None = None  # shows what waits and would be signed along with an edit
    who: Who = str
    salvages: bool = False  # snapshot and timestamp are not believed: their key was stolen
    distrusted: tuple[str, ...] = ()  # key ids, or beginnings: stolen, and their signatures count for nothing

    def load(self) -> Loaded:
        """Return the current metadata of the store, verified.

        Raises:
            ClockError: by this clock, all that would be signed would have expired for everybody else.
        """
        self.memory.require_clock(self.now)
        view = self.store.view(known=None, deadline=self.deadline)
        if view is None:
            raise UnreachableError(f"the store answered 'not modified' to nobody's question: {self.store.url}")
        if self.salvages:
            return salvage(self.stanza, view, known=self.memory.versions())
        loaded = load(self.stanza, view, floors=self.memory.floors(), known_roots=self.memory.roots())
        self.memory.require_no_rollback(loaded)
        self.memory.keep_roots(loaded)
        return loaded

    @property
    def memory(self) -> Memory:
        """What this home knows of the collection."""
        return Memory(stanza=self.stanza, state=self.state)

    def publish(self, change: Change) -> Published:
        """Return what was published after ``change``, by the steps of this module.

        Raises:
            ConflictError: others were first ``ATTEMPTS`` times; nothing of this change was published.
        """
        for attempt in range(ATTEMPTS):
            loaded = self.load()
            strays, left = take_strays(loaded, self.distrusted)
            edit = amended(loaded, change, _Room(self), now=self.now)
            if edit is None and not (strays or left or loaded.behind):
                return Published(changed=False, versions=loaded.versions(), untrusted=tuple(loaded.untrusted))
            try:
                published = self._settled(loaded, _with_behind(loaded, edit), strays)
                return replace(
                    published, rebased=attempt, untrusted=tuple(loaded.untrusted), dropped=_dropped(edit, left)
                )
            except StaleError:
                raise
            except ConflictError:
                if attempt + 1 == ATTEMPTS:
                    raise
                self.pause(PAUSE_SECONDS * 2**attempt)
        raise ConflictError(f"another publisher was first {ATTEMPTS} times: {self.store.url}")

    def _settled(self, loaded: Loaded, edit: Amended, strays: Mapping[str, Content]) -> Published:
        """Return what became of ``edit``: published, or left to wait."""
        if edit.is_there:
            return self._there(loaded, edit)
        made, settles = self._drafted(loaded, edit.changes, strays)
        online = self._online(loaded.top.root.signed, made.root)
        if not made.is_complete or not can_seal(made.root or loaded.top.root.signed, online):
            is_other = bool(strays) or made.root is not None
            waits = self._left(
                loaded, edit, self._signed(loaded, replace(edit.changes, vouches=False)) if is_other else made
            )
            if waits is not None:
                signed = {keyid for role in waits.roles for keyid in role.signed}
                discarded = tuple(keyid for keyid in edit.signed if keyid not in signed)
                return Published(changed=True, versions=loaded.versions(), waits=waits, discarded=discarded)
        edition = sealed(loaded, made, signers=online, now=self.now, settles=settles, periods=self.periods)
        if not self.dry_run:
            self.write(edition, replaces=edit.replaces)
        return Published(changed=True, versions=edition.versions)

    def _there(self, loaded: Loaded, edit: Amended) -> Published:
        """Return what became of an edit that is in a change that waits: that is published, or waits on."""
        (entry,) = edit.replaces
        pending = parse_pending(entry.data)
        made = proposed(loaded, pending, now=self.now)
        edition = self.seal(loaded, made)
        if edition is None:
            return Published(changed=False, versions=loaded.versions(), waits=waiting_of(pending, made))
        if not self.dry_run:
            self.write(edition, replaces=edit.replaces)
        return Published(changed=True, versions=edition.versions)

    def _left(self, loaded: Loaded, edit: Amended, made: Draft) -> Waiting | None:
        """Return the change that now waits in the store, None if nobody here has signed anything of it."""
        if not any(role.metadata.signatures for role in made.roles):
            return None
        pending = pending_of(loaded, made)
        if not self.dry_run:
            before = {entry.place: entry for entry in edit.replaces}
            own = before.pop(pending.place, None)
            data = pending_bytes(pending)
            self.store.set_pending(
                pending.place, data, replaces=own.data if own is not None else None, deadline=self.deadline
            )
            self.forget(before.values())
        return waiting_of(pending, made)

    def renew(self, roles: frozenset[str]) -> Published:
        """Return what was published to extend the expiry of ``roles``; snapshot and timestamp always are."""
        return self.publish(lambda loaded: Changes(renewed=frozenset(_with_bins(loaded, roles - {*ONLINE_ROLES}))))

    def signers(self, loaded: Loaded, keyids: Iterable[str]) -> Signers:
        """Return the signers at hand among ``keyids``; those alone that were chosen, where some were.

        Online keys are opened with them, side by side: every edition needs one in the end.
        """
        wanted = set(keyids) & self.chosen if self.chosen else set(keyids)
        opened = self.keyring(wanted if self.stage else wanted | _online_keyids(loaded.root))
        return {keyid: signer for keyid, signer in opened.items() if keyid in wanted}

    def sign(self, loaded: Loaded, made: Draft) -> None:
        """Add the signatures of the keys at hand to ``made``.

        Raises:
            InputError: a key that was chosen signs nothing of it.
        """
        keyids = {role.name: set(role.keyids()) for role in made.roles}
        foreign = self.chosen.difference(*keyids.values()) if made.roles else frozenset()
        if foreign:
            raise InputError(
                f"key {min(foreign)[:12]} does not sign {', '.join(keyids)} of {self.stanza.collection}"
            )
        made.sign(self.signers(loaded, set().union(*keyids.values())))

    def seal(self, loaded: Loaded, made: Draft) -> Edition | None:
        """Return the edition of ``made``; None if it waits for signatures still, or for an online key."""
        made = adopted(loaded, made)
        online = self._online(loaded.top.root.signed, made.root)
        if not is_authorised(made) or not can_seal(made.root or loaded.top.root.signed, online):
            return None
        return sealed(
            loaded, made, signers=online, now=self.now, settles=not loaded.view.strays(), periods=self.periods
        )

    def _online(self, *roots: Root | None) -> Signers:
        return {} if self.stage else self.keyring(_online_keyids(*roots))

    def _drafted(self, loaded: Loaded, changes: Changes, strays: Mapping[str, Content]) -> tuple[Draft, bool]:
        """Return the signed draft of ``changes`` and those ``strays`` whose keys are at hand; whether all are."""
        made = self._signed(loaded, replace(changes, contents={**strays, **changes.contents}))
        left = {role.name for role in made.roles if role.lacks()} & (strays.keys() - changes.contents.keys())
        if left:  # somebody else's role: it stays passed over until a publisher comes who has its keys
            kept = {name: content for name, content in strays.items() if name not in left}
            made = self._signed(loaded, replace(changes, contents={**kept, **changes.contents}))
        return made, not left

    def _signed(self, loaded: Loaded, changes: Changes) -> Draft:
        made = draft(loaded, changes, now=self.now)
        self.sign(loaded, made)
        return made

    def write(self, edition: Edition, *, replaces: Iterable[Entry] = ()) -> None:
        """Make ``edition`` what consumers see, and remember it here; changes that are in it wait no longer."""
        self.store.publish(edition.publication, deadline=self.deadline)
        if edition.roots_after:
            view = self.store.view(known=None, deadline=self.deadline)
            if view is None:
                raise UnreachableError(f"the store answered 'not modified' to nobody's question: {self.store.url}")
            self.store.publish(edition.second(view), deadline=self.deadline)
        self.forget(replaces)
        self.memory.keep_published(edition.versions)

    def forget(self, replaced: Iterable[Entry]) -> None:
        """Have what is in another change, or published, wait no longer; what stays of it is merely stale."""
        for entry in () if self.dry_run else replaced:
            with suppress(ConflictError, UnavailableError):
                self.store.set_pending(entry.place, None, replaces=entry.data, deadline=self.deadline)


class _Room:
    """The publisher, as the amending of changes sees it."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @property
    def distrusted(self) -> tuple[str, ...]:
        return self._publisher.distrusted

    def waiting(self) -> tuple[Entry, ...]:
        return entries(self._publisher.store, self._publisher.deadline)

    def at_hand(self, loaded: Loaded, keyids: Iterable[str]) -> Signers:
        return self._publisher.signers(loaded, keyids)

    def review(self, loaded: Loaded, waiting: Waiting, made: Draft) -> None:
        if self._publisher.review is None:
            change = f"{self._publisher.stanza.collection} {waiting.change.id}"
            raise ConflictError(
                f"change {waiting.change.id} of {waiting.change.place} waits, and was not approved from here",
                hint=f"see it and sign it first: trust approve {change}; or drop it: trust reject {change}",
            )
        self._publisher.review(waiting, differences(loaded, made, self._publisher.who))


def _dropped(edit: Amended | None, strays: Iterable[str]) -> tuple[Dropped, ...]:
    """Return what of a thief's is in nothing now."""
    waited = [Dropped(role=entry.place, id=entry.id) for entry in edit.dropped] if edit is not None else []
    return (*waited, *(Dropped(role=name) for name in strays))


def _with_behind(loaded: Loaded, edit: Amended | None) -> Amended:
    """Return ``edit`` with what is not signed under the newest root yet."""
    edit = edit or Amended(changes=Changes())
    return replace(edit, changes=replace(edit.changes, renewed=edit.changes.renewed | (loaded.behind & {TARGETS})))


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
