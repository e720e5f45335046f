"""Owns how an edit of images becomes a change of roles: each goes to one role, and there to the bins it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from trust.draft import Changes
from trust.loaded import Loaded
from trust.loaded_role import LoadedRole
from trust.publish import Publisher
from trust.role_table import role_contents, role_table
from trust.roles import Signature
from trust.targets import Content, Table
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edit of one role; of bins, those of ``paths`` are enough for it (None: it takes all)."""

    role: LoadedRole
    paths: frozenset[str] | None
    apply: Callable[[Table, Signature], Table]


def require_possible(loaded: Loaded, edits: Iterable[Edit], signature: Signature) -> None:
    """Return if ``edits`` can be made; no key is unlocked for it.

    Raises:
        InputError: one cannot: it would sign what was revoked, for one.
    """
    for edit in edits:
        before = role_table(loaded, edit.role, edit.paths)
        revoked = {**loaded.revoked_above(edit.role), **before.revoked}
        edit.apply(Table(targets=before.targets, revoked=revoked), signature)


def editing(publisher: Publisher, edits: Callable[[Loaded], Iterable[Edit]]) -> Callable[[Loaded], Changes | None]:
    """Return the change that makes ``edits``, role by role; none where everything is so already."""

    def change(loaded: Loaded) -> Changes | None:
        by_role: dict[str, list[Edit]] = {}
        for edit in edits(loaded):
            by_role.setdefault(edit.role.name, []).append(edit)
        contents: dict[str, Content] = {}
        for some in by_role.values():
            contents |= _edited(publisher, loaded, some)
        return Changes(contents=contents) if contents else None

    return change


def _edited(publisher: Publisher, loaded: Loaded, edits: Sequence[Edit]) -> dict[str, Content]:
    """Return what changes by the ``edits`` of one role."""
    role = edits[0].role
    paths = (
        None if any(edit.paths is None for edit in edits) else set().union(*(edit.paths or () for edit in edits))
    )
    before = role_table(loaded, role, paths)
    revoked = loaded.revoked_above(role)

    def applied(signature: Signature) -> Table:
        table = Table(targets=before.targets, revoked={**revoked, **before.revoked})
        for edit in edits:
            table = edit.apply(table, signature)
        own = {
            text: stone
            for text, stone in table.revoked.items()
            if text in before.revoked or stone != revoked.get(text)
        }
        return Table(targets=table.targets, revoked=own)

    nobody = Signature(at=publisher.now, by=())
    if applied(nobody) == before:
        return {}  # nothing to do: no key is unlocked, no passphrase asked
    keyids = loaded.keyids(role)
    at_hand = publisher.signers(loaded, keyids)
    signature = Signature(
        at=publisher.now.replace(microsecond=0), by=tuple(keyid for keyid in keyids if keyid in at_hand)
    )
    return role_contents(loaded, role, before, applied(signature))
