"""Owns the delegation of part of a collection to a role of its own, and its end.

  1. the paths are within what the delegator signs, and no other role has them already
  2. what they cover moves from the delegator to the new role, in the same edition
  3. the new role's first version is signed by its own keys; until they have, the change waits

A role that ends either gives its images back, and its delegator vouches for them from then on, or drops them. Its
name stays in the snapshot for ever: clients never forgive a name that vanishes from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from securesystemslib.signer import Key

from trust.bins import binned, generation_after
from trust.delegations import (
    TARGETS,
    Delegation,
    Delegations,
    checked_role,
    is_of_tags,
)
from trust.division import believed, divided, is_within, overlapping, reunited
from trust.draft import Changes
from trust.errors import InputError, RefusedError
from trust.loaded import Loaded
from trust.loaded_role import LoadedRole
from trust.publish import Publisher
from trust.published import Published
from trust.role_keys import require_different
from trust.role_table import role_table
from trust.targets import Content, Table
from trust.value import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRole:
    """A role to be: its name, what it covers, who signs it. ``bins`` is 0 for a flat one, else a power of two."""

    name: str
    patterns: tuple[str, ...]
    keys: tuple[Key, ...]
    threshold: int = 1
    bins: int = 0
    period: timedelta | None = None
    delegator: str = TARGETS

    @property
    def delegation(self) -> Delegation:
        """How its delegator spells it."""
        return Delegation(
            name=checked_role(self.name),
            patterns=self.patterns,
            keyids=tuple(sorted(key.keyid for key in self.keys)),
            threshold=self.threshold,
            terminating=not is_of_tags(self.patterns),
            period=self.period,
        )


def add(publisher: Publisher, roles: Sequence[NewRole]) -> Published:
    """Return what was published so that each of ``roles`` is delegated; nothing if all of them were.

    Raises:
        InputError: a role is there with other paths or keys, overlaps another, or exceeds its delegator.
    """
    for role in roles:
        if not 1 <= role.threshold <= len({key.keyid for key in role.keys}):
            raise InputError(
                f"threshold of {role.name} cannot be met: expected 1 to {len(role.keys)}, got {role.threshold}"
            )
        require_different(role.name, role.keys)

    def change(loaded: Loaded) -> Changes | None:
        contents: dict[str, Content] = {}
        for role in roles:
            contents |= _added(loaded, role, contents)
        return Changes(contents=contents) if contents else None

    return publisher.publish(change)


def remove(publisher: Publisher, name: str, *, keep_images: bool) -> Published:
    """Return what was published so that ``name`` is not delegated any more.

    ``keep_images``: its delegator signs them from now on; else they are signed by nobody.

    Raises:
        InputError: there is no such role, or it delegates itself.
    """

    def change(loaded: Loaded) -> Changes:
        if name == TARGETS:
            raise InputError(f"role {name} is not delegated, and cannot be removed")
        above = loaded.find(loaded.delegator_of(name))
        delegation = above.content.delegations.named(name)
        if delegation is None:
            raise InputError(f"role {name} is a bin of {above.name}, and cannot be removed alone")
        table = believed(_said(loaded, name, above, keep_images=keep_images), delegation)
        images = table if keep_images else Table(targets={}, revoked=table.revoked)
        return Changes(contents={above.name: _without(above, name, images)})

    return publisher.publish(change)


def _said(loaded: Loaded, name: str, above: LoadedRole, *, keep_images: bool) -> Table:
    """Return what ``name`` says; nothing where it is not trusted and its images go anyway: a thief's rubbish."""
    try:
        role = loaded.role(name, above.name)
        if keep_images and role.content.delegations.roles:
            raise InputError(
                f"role {name} delegates to {role.content.delegations.roles[0].name}",
                hint="remove that role first, or drop all images",
            )
        return role_table(loaded, role, None)
    except RefusedError:
        if keep_images:
            raise
        return Table(targets={}, revoked={})


def _added(loaded: Loaded, role: NewRole, changed: Mapping[str, Content]) -> dict[str, Content]:
    """Return the contents of the delegator and of ``role`` after it was added; none where it was there."""
    delegation = role.delegation
    above = loaded.find(role.delegator)
    before = changed.get(above.name, above.content)
    known = before.delegations.named(role.name)
    if known is not None:
        if replace(known, keyids=tuple(sorted(known.keyids))) == delegation:
            return {}
        raise InputError(
            f"role {role.name} is there with other paths, keys or threshold",
            hint="trust rotate changes keys and threshold; to change its paths, remove it and add it anew",
        )
    _require_room(loaded, above, before.delegations, delegation)
    kept, moved = divided(before.table, delegation)
    keys = {key.keyid: {"keyid": key.keyid, **key.to_dict()} for key in role.keys}
    delegations = Delegations(
        roles=(*before.delegations.roles, delegation), keys={**before.delegations.keys, **keys}
    )
    result = {above.name: Content(table=kept, delegations=delegations)}
    content = Content(table=moved)
    if role.bins:
        number = generation_after(loaded, role.name)
        return result | binned(content, role.name, delegation, keys, count=role.bins, generation=number)
    return result | {role.name: content}


def _require_room(loaded: Loaded, above: LoadedRole, there: Delegations, delegation: Delegation) -> None:
    """Refuse what two roles would cover, what its delegator does not cover, and a name that was used before."""
    if there.bins is not None:
        raise InputError(
            f"role {above.name} keeps its targets in bins, and a role with bins delegates nothing else",
            hint=f"make it flat first: trust bins COLLECTION {above.name} --count 0",
        )
    if f"{delegation.name}.json" in loaded.top.snapshot.signed.meta:
        raise InputError(
            f"role name {delegation.name} was used in this collection before", hint="choose another name"
        )
    for other in there.roles:
        for mine, theirs in overlapping(delegation.patterns, other.patterns):
            raise InputError(
                f"paths of {delegation.name} are those of role {other.name} already: {mine} and {theirs}",
                hint=f"let that role delegate them: --from {other.name}",
            )
    if above.delegator == "root":
        return
    own = loaded.patterns(above)
    for pattern in delegation.patterns:
        if not is_within(pattern, own):
            raise InputError(f"role {above.name} cannot delegate what it does not cover: {pattern}")


def _without(above: LoadedRole, name: str, images: Table) -> Content:
    there = above.content.delegations
    roles = tuple(role for role in there.roles if role.name != name)
    used = {keyid for role in roles for keyid in role.keyids}
    keys = {keyid: key for keyid, key in there.keys.items() if keyid in used}
    table = reunited(above.content.table, images)
    return Content(table=table, delegations=Delegations(roles=roles, keys=keys))
