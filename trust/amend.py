"""Owns what happens when somebody edits a role for which a change waits already: the change is amended.

  1. the edit is made on what is current: that tells which roles it touches
  2. every change that waits for one of these roles is laid over what is current, and the edit made again
  3. what comes out is one change, the old and the new together; signatures of the old one are worth nothing for it

Nobody signs by that what he has not seen: a change is laid down only where it has all the signatures that it
needs, or one of our own wherever we sign, or the person has looked at it (``Room.review``). Else whoever can write
to the store, or one signer of three, could slip his change under another's edit. Which signatures count is what
``trust.vetting`` says: none by a key that goes. One that is stale is merged, as long as what it was made on can
still be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from tuf.api.metadata import Root

from trust.draft import Changes, Draft, DraftRole
from trust.errors import ConflictError, RefusedError, StaleError
from trust.loaded import Loaded
from trust.loaded_role import LoadedRole
from trust.merge import merge
from trust.metadata import TARGETS_MAX_BYTES, delegations_of, parse_metadata, require_binding, table_of
from trust.pending import Pending, PendingRole, is_bin_name
from trust.proposal import Waiting, base_of, is_authorised, is_published, proposed, require_current, waiting_of
from trust.role_keys import require_distinct_keys
from trust.signatures import Signers
from trust.targets import Content
from trust.value import dataclass
from trust.vetting import by_who_stays, is_of_distrusted, who_signs
from trust.waiting_room import Entry

Change = Callable[[Loaded], Changes | None]


class Room(Protocol):
    """What amending needs of the publisher."""

    @property
    def distrusted(self) -> tuple[str, ...]:
        """Key ids, or beginnings of them, whose signatures count for nothing: the keys were stolen."""

    def waiting(self) -> Sequence[Entry]:
        """Return what waits in the store; asked only if there is something to change."""

    def at_hand(self, loaded: Loaded, keyids: Iterable[str]) -> Signers:
        """Return the signers at hand among ``keyids``."""

    def review(self, loaded: Loaded, waiting: Waiting, made: Draft) -> None:
        """Return if the person who edits has seen what he is going to sign with it.

        Raises:
            ConflictError: he has not.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """``changes``, with what waited for the same roles in them; ``replaces`` is what they stand for from now on.

    ``is_there``: they were in it already. ``signed`` are the keys whose signatures are worth nothing now.
    ``dropped`` is what of ``replaces`` is not in them: nobody but a stolen key has signed it.
    """

    changes: Changes
    replaces: tuple[Entry, ...] = ()
    is_there: bool = False
    signed: tuple[str, ...] = ()
    dropped: tuple[Entry, ...] = ()


def amended(loaded: Loaded, change: Change, room: Room, *, now: datetime) -> Amended | None:
    """Return what ``change`` comes to on top of what waits, by the steps of this module; None if it is true now.

    Raises:
        StaleError, ConflictError: a change of the same role waits, and cannot be built upon.
    """
    made = change(loaded)
    if made is None:
        return None
    overlay = _Overlay(loaded, room, now)
    left = list(room.waiting())
    while met := [entry for entry in left if entry.owners & _owners(loaded, made)]:
        overlay.expect(made, met)
        for entry in met:
            overlay.lay(entry)
            left.remove(entry)
        made = change(loaded) or Changes()
    dropped = tuple(overlay.dropped)
    if not overlay.laid:
        return Amended(changes=made, replaces=dropped, dropped=dropped)
    contents = {**overlay.contents(), **made.contents}
    is_there = made.root is None and not made.contents and not made.renewed - overlay.names
    return Amended(
        changes=Changes(contents=contents, root=made.root or overlay.root, renewed=made.renewed - contents.keys()),
        replaces=(*overlay.laid, *dropped),
        is_there=is_there
        and len(overlay.laid) == 1
        and bool(overlay.names)
        and not (overlay.is_merged or dropped),
        signed=tuple(dict.fromkeys(overlay.signed)),
        dropped=dropped,
    )


class _Overlay:
    """What waits, laid over what is current."""

    def __init__(self, loaded: Loaded, room: Room, now: datetime) -> None:
        self._loaded = loaded
        self._room = room
        self._now = now
        self._delegators: dict[str, str] = {}
        self._edits: list[Changes] = []
        self.laid: list[Entry] = []
        self.dropped: list[Entry] = []
        self.signed: list[str] = []
        self.root: Root | None = None
        self.is_merged = False

    @property
    def names(self) -> frozenset[str]:
        """The roles of what was laid."""
        return frozenset(self._delegators) | ({"root"} if self.root is not None else set())

    def contents(self) -> dict[str, Content]:
        """Return what these roles say now."""
        return {name: self._loaded.role(name, above).content for name, above in self._delegators.items()}

    def expect(self, made: Changes, met: Iterable[Entry]) -> None:
        """Have what ``made`` and the changes of ``met`` take from a key weigh, whichever is laid first."""
        self._edits.append(made)
        for entry in met:
            if entry.untrusted is not None:
                with suppress(RefusedError):  # whoever lays it says so
                    self._edits.append(Changes(contents=entry.untrusted.contents(), root=entry.untrusted.root))

    def lay(self, entry: Entry) -> None:
        """Have what waits in ``entry`` be what is current, as far as this edit is concerned."""
        pending = entry.untrusted
        if pending is None:
            if self._room.distrusted:
                self.dropped.append(entry)
                return
            raise ConflictError(
                f"what waits for {entry.place} is not understood: {entry.problem}",
                hint=f"a newer trust may have written it; trust reject COLLECTION {entry.id} drops it",
            )
        if is_published(self._loaded, pending):
            self.laid.append(entry)
            return
        made = self._vetted(pending)
        if made is None:
            self.dropped.append(entry)
            return
        self.laid.append(entry)
        self.signed += [keyid for role in waiting_of(pending, made).roles for keyid in role.signed]
        stale: StaleError | None = None
        try:
            require_current(self._loaded, pending, made, now=self._now)
        except StaleError as err:
            stale = err
            self.is_merged = True
        contents = pending.contents()
        for role, below in zip(pending.roles, made.roles, strict=True):
            if role.name == "root":
                self._lay_root(role, stale)
            else:
                self._lay_role(role, below, contents[role.name], stale)

    def _lay_root(self, role: PendingRole, stale: StaleError | None) -> None:
        if stale is not None or self.root is not None:
            raise stale or ConflictError("two changes of the root wait", hint="trust reject drops one of them")
        self.root = Root.from_dict(role.metadata.signed.to_dict())
        self._loaded.lay_root(self.root)

    def _lay_role(self, role: PendingRole, made: DraftRole, theirs: Content, stale: StaleError | None) -> None:
        """Have a role say ``theirs``, or what that comes to where others have changed it since."""
        name = role.name
        current = self._loaded.current(name, role.delegator)
        is_twice = name in self._delegators
        if current is None:
            if is_twice or role.base is not None:
                raise stale or ConflictError(f"two changes of {name} wait", hint="trust reject drops one of them")
            self._loaded.lay(
                LoadedRole(name=name, delegator=role.delegator, metadata=role.metadata, body=b"", content=theirs)
            )
        elif is_twice or role.base != base_of(self._loaded, name, role.delegator) or _is_edited(current):
            was = self._base(role, made, stale)
            self._loaded.put(name, _merged(current.content, was, theirs, stale))
            self.is_merged = True
        else:
            self._loaded.put(name, theirs)
        self._delegators[name] = role.delegator

    def _base(self, role: PendingRole, made: DraftRole, stale: StaleError | None) -> Content:
        """Return what ``role`` was changed from: signed by the keys of now, or it would be anybody's word."""
        base = role.base
        data = (
            self._loaded.view.read(f"{base.version}.{role.name}.json", TARGETS_MAX_BYTES)
            if base is not None
            else None
        )
        if base is None or data is None or not base.digest.matches(data):
            raise stale or ConflictError(f"two changes of {role.name} wait")
        metadata = parse_metadata(data, role.name)
        require_binding(metadata.signed, role.name, self._loaded.identity)
        require_distinct_keys(made.delegators[-1], metadata, role.name)
        if metadata.signed.version != base.version:
            raise stale or ConflictError(f"two changes of {role.name} wait")
        return Content(table=table_of(metadata.signed), delegations=delegations_of(metadata.signed))

    def _vetted(self, pending: Pending) -> Draft | None:
        """Return the draft that ``pending`` is, if nobody signs by it what he has not signed, or looked at.

        None where it is the work of a stolen key, or of nobody: it must not stop who takes that key away.
        """
        distrusted = self._room.distrusted
        try:
            made = proposed(self._loaded, pending, now=self._now)
        except RefusedError:
            if distrusted:
                return None
            raise
        counted = by_who_stays(made, self._edits, distrusted)
        if is_authorised(counted):
            return made
        signed = [set(role.signed) for role in waiting_of(pending, counted).roles]
        if distrusted and is_of_distrusted(made, distrusted) and not any(signed):
            return None
        signing = [who_signs(role, self._edits) for role in made.roles]
        at_hand = self._room.at_hand(self._loaded, set().union(*signing)).keys()
        if any(at_hand & ours and not at_hand & theirs for ours, theirs in zip(signing, signed, strict=True)):
            self._room.review(self._loaded, waiting_of(pending, made), made)
        return made


def _is_edited(role: LoadedRole) -> bool:
    """Tell whether ``role`` says more than its file: a change that a registry passed over."""
    signed = role.metadata.signed
    return role.content != Content(table=table_of(signed), delegations=delegations_of(signed))


def _merged(mine: Content, was: Content, theirs: Content, stale: StaleError | None) -> Content:
    """Return ``mine`` with what changed from ``was`` to ``theirs``; delegations only where one side kept them."""
    if theirs.delegations == was.delegations:
        delegations = mine.delegations
    elif mine.delegations == was.delegations:
        delegations = theirs.delegations
    else:
        raise stale or ConflictError("two changes of the same delegations wait", hint="trust reject drops one")
    return Content(table=merge(mine.table, base=was.table, theirs=theirs.table), delegations=delegations)


def _owners(loaded: Loaded, changes: Changes) -> set[str]:
    """Return the roles that ``changes`` touch; of bins, the role they belong to."""
    names = {*changes.contents, *changes.renewed}
    owners = {loaded.delegator_of(name) if is_bin_name(name) else name for name in names}
    return owners | ({"root"} if changes.root is not None else set())
