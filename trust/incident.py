"""Owns what is ended by who signed it and when: everything that one key has signed since a moment.

  1. in every role, the targets that name the key among their signers, and were signed since then
  2. their digests are revoked: with all that names them, older tags too, and a tombstone
  3. a role whose keys are not at hand is revoked from above, as ``trust.revoke`` has it
  4. what waits, or was passed over, and only this key has signed goes with them

By whom and when a target was signed is told by the target itself: a thief may have lied. What he says of others,
or of another day, is found by comparing with an older state (docs/recovery.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from trust.digest import Digest
from trust.editing import Edit, editing
from trust.loaded import Loaded
from trust.publish import Publisher
from trust.published import Published
from trust.revoke import edit_of_digests
from trust.role_table import role_tables
from trust.roles import Signature, revoke_tag
from trust.targets import Table, Target
from trust.value import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """What is to go: signed by ``keyid`` (or one that begins so) at ``since`` or later."""

    keyid: str
    since: datetime

    def has_signed(self, target: Target) -> bool:
        """Tell whether ``target`` is by this key, and of this time."""
        return target.signed_at >= self.since and any(by.startswith(self.keyid) for by in target.signed_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A target that was revoked, by its path, and the role that signed it."""

    role: str
    path: str
    digest: Digest


def revoke_signed(publisher: Publisher, suspect: Suspect) -> tuple[Published, tuple[Gone, ...]]:
    """Return what was published so that nothing by ``suspect`` is signed any more, and what went."""
    gone: list[Gone] = []

    def edits(loaded: Loaded) -> Iterator[Edit]:
        gone.clear()
        for role, table in list(role_tables(loaded)):
            found = {path: target for path, target in table.targets.items() if suspect.has_signed(target)}
            gone.extend(Gone(role=role.name, path=path, digest=found[path].digest) for path in sorted(found))
            if found:
                digests = {target.digest for target in found.values()}
                yield edit_of_digests(publisher, loaded, role, table, digests)

    published = replace(publisher, distrusted=(suspect.keyid,)).publish(editing(publisher, edits))
    return published, tuple(gone)


def prune(publisher: Publisher, *, keep: int) -> tuple[Published, tuple[Gone, ...], tuple[str, ...]]:
    """Return what was published so that each repository has its ``keep`` newest tags, and what went.

    A digest that no tag names any more, and no index, goes with its tag; there is no tombstone, since nothing is
    wrong with it. Roles whose keys are not at hand keep theirs; their names come last.
    """
    gone: list[Gone] = []
    left: list[str] = []

    def edits(loaded: Loaded) -> Iterator[Edit]:
        gone.clear()
        left.clear()
        old = _old_tags(loaded, keep)
        for role in dict.fromkeys(each.role for each in old):
            found = loaded.find(role)
            if found.delegator != "root" and not publisher.signers(loaded, loaded.keyids(found)):
                left.append(role)
                continue
            mine = [each for each in old if each.role == role]
            gone.extend(mine)
            for each in mine:
                path, _, tag = each.path.rpartition(":")
                yield Edit(role=found, paths=None, apply=partial(_drop_tag, path=path, tag=tag))

    published = publisher.publish(editing(publisher, edits))
    return published, tuple(gone), tuple(left)


def _old_tags(loaded: Loaded, keep: int) -> list[Gone]:
    """Return all tags but the newest ``keep`` of each repository, whatever role has signed them."""
    by_repository: dict[str, list[tuple[Target, str, str]]] = {}
    for role, table in list(role_tables(loaded)):
        for path, target in table.targets.items():
            if "@" not in path:
                by_repository.setdefault(path.rpartition(":")[0], []).append((target, path, role.name))
    return [
        Gone(role=role, path=path, digest=target.digest)
        for _, tags in sorted(by_repository.items())
        for target, path, role in sorted(tags, key=lambda each: (each[0].signed_at, each[1]), reverse=True)[keep:]
    ]


def _drop_tag(table: Table, _signature: Signature, *, path: str, tag: str) -> Table:
    return revoke_tag(table, path=path, tag=tag)
