"""Owns the weighing of a change that waits: whose signatures under it are worth something for who edits now.

  1. a key that the edit takes from a role, or another change that is laid down with it does, counts no more there
  2. nor does a key that was named stolen; one key under two ids is one key
  3. what is left must reach the threshold, or be our own wherever we sign, or the person looks at the change
  4. of a role that a stolen key signs, what nobody else has signed is shown to nobody: it is the thief's, and is
     left out

Else who rotates a stolen key away would sign with the new one what the thief has left to wait.
"""

from __future__ import annotations

from collections.abc import Iterable

from trust.draft import Changes, Draft, DraftRole
from trust.role_keys import role_keys, without_keys
from trust.value import replace


def by_who_stays(made: Draft, edits: Iterable[Changes], distrusted: tuple[str, ...]) -> Draft:
    """Return ``made`` with those signatures alone that count after ``edits`` too (steps 1 and 2)."""
    every = tuple(edits)
    return Draft(roles=tuple(_weighed(role, every, distrusted) for role in made.roles))


def who_signs(role: DraftRole, edits: Iterable[Changes]) -> set[str]:
    """Return the keys that may sign ``role`` now, or after ``edits``."""
    return set(role.keyids()).union(*(_named(role, edit) or () for edit in edits))


def is_of_distrusted(made: Draft, distrusted: tuple[str, ...]) -> bool:
    """Tell whether a key that was named stolen signs a role of ``made`` now."""
    return any(keyid.startswith(distrusted) for role in made.roles for keyid in role.keyids())


def _weighed(role: DraftRole, edits: tuple[Changes, ...], distrusted: tuple[str, ...]) -> DraftRole:
    named = [found for edit in edits if (found := _named(role, edit)) is not None]
    gone = {
        keyid
        for keyid in role.keyids()
        if keyid.startswith(distrusted) or not all(keyid in found for found in named)
    }
    metadata = role.metadata
    for above in role.delegators:
        metadata = without_keys(above, metadata, gone)
    return replace(role, metadata=metadata)


def _named(role: DraftRole, edit: Changes) -> frozenset[str] | None:
    """Return the keys by which ``edit`` has ``role`` signed; None where it says nothing of it."""
    if role.delegator == "root":
        return None if edit.root is None else frozenset(role_keys(edit.root, role.name).keyids)
    above = edit.contents.get(role.delegator)
    if above is None:
        return None
    below = above.delegations.named(role.name) or above.delegations.bins
    return frozenset(below.keyids) if below is not None else None
