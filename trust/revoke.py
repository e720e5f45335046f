"""Owns the revoking of images: a tag goes, a digest goes with everything that names it and leaves a tombstone.

A role whose keys are not at hand is revoked from above: the tombstone stands in the role that delegates to it, and
every search for its images passes there. So the owner of a collection ends what a team, or its thief, has signed,
be it that nobody can read it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from trust.digest import Digest
from trust.division import believed
from trust.editing import Edit, editing
from trust.loaded import Loaded
from trust.loaded_role import LoadedRole
from trust.publish import Publisher
from trust.published import Published
from trust.role_table import role_tables
from trust.roles import Signature, revoke_digest, revoke_tag
from trust.targets import Table, Tombstone, digest_path, tag_path
from trust.value import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What to revoke: a tag of a repository, or a digest wherever it is named."""

    path: str
    tag: str | None
    digest: Digest | None


def revoke(publisher: Publisher, revocations: Sequence[Revocation]) -> Published:
    """Return what was published so that nothing of ``revocations`` is signed any more."""

    def edits(loaded: Loaded) -> Iterator[Edit]:
        for each in revocations:
            if each.digest is not None:
                yield from _of_digest(publisher, loaded, each.digest)
                yield from _of_unread(loaded, digest_path(each.path, each.digest), each.digest)
            elif each.tag is not None:
                role = loaded.owner(tag_path(each.path, each.tag))
                yield Edit(role=role, paths=None, apply=partial(_revoke_tag, path=each.path, tag=each.tag))

    return publisher.publish(editing(publisher, edits))


def _of_digest(publisher: Publisher, loaded: Loaded, digest: Digest) -> Iterator[Edit]:
    for role, table in list(role_tables(loaded)):
        if not any(target.digest == digest for target in table.targets.values()):
            continue
        yield edit_of_digests(publisher, loaded, role, table, {digest})


def _of_unread(loaded: Loaded, path: str, digest: Digest) -> Iterator[Edit]:
    """Yield the edits that revoke ``path`` above a role that cannot be read: it may sign that, and be mended."""
    for each in list(loaded.untrusted.values()):
        above = loaded.find(each.delegator)
        delegation = above.content.delegations.named(each.name)
        if delegation is not None and delegation.covers(path):
            yield Edit(role=above, paths=frozenset(), apply=partial(_revoke_path, path=path, digest=digest))


def edit_of_digests(
    publisher: Publisher, loaded: Loaded, role: LoadedRole, table: Table, digests: Collection[Digest]
) -> Edit:
    """Return the edit that revokes ``digests``, which ``role`` signs in ``table``: there, or from above."""
    if role.delegator == "root" or publisher.signers(loaded, loaded.keyids(role)):
        return Edit(role=role, paths=None, apply=partial(_revoke_digests, digests=digests))
    above = loaded.find(role.delegator)
    delegation = above.content.delegations.named(role.name)
    table = believed(table, delegation) if delegation is not None else table
    return Edit(role=above, paths=frozenset(), apply=partial(_revoke_below, below=table, digests=digests))


def _revoke_digests(table: Table, signature: Signature, *, digests: Collection[Digest]) -> Table:
    for digest in sorted(digests):
        table = revoke_digest(table, digest=digest, signature=signature)
    return table


def _revoke_below(table: Table, signature: Signature, *, below: Table, digests: Collection[Digest]) -> Table:
    """Return ``table`` with the tombstones that revoking ``digests`` in a role below it would leave there."""
    stones = _revoke_digests(below, signature, digests=digests).revoked
    new = {
        text: stone for text, stone in stones.items() if text not in below.revoked and text not in table.revoked
    }
    return replace(table, revoked={**table.revoked, **new}) if new else table


def _revoke_path(table: Table, signature: Signature, *, path: str, digest: Digest) -> Table:
    stone = table.revoked.get(str(digest))
    if stone is not None and path in stone.paths:
        return table
    paths = (*stone.paths, path) if stone is not None else (path,)
    new = Tombstone(revoked_at=signature.at, revoked_by=signature.by, paths=paths)
    return replace(table, revoked={**table.revoked, str(digest): new})


def _revoke_tag(table: Table, _signature: Signature, *, path: str, tag: str) -> Table:
    return revoke_tag(table, path=path, tag=tag)
