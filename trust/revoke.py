"""Owns the revoking of images: a tag goes, a digest goes with everything that names it and leaves a tombstone.

A role whose keys are not at hand is revoked from above: the tombstone stands in the nearest role above it whose
keys are, and every search for its images passes there. So the owner of a collection ends what a team, or its
thief, has signed, be it that nobody can read it, that he delegated further, or that he wrote tombstones himself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from trust.digest import Digest, parse_digest
from trust.division import overlapping
from trust.editing import Edit, editing
from trust.loaded import Loaded
from trust.loaded_role import LoadedRole
from trust.publish import Publisher
from trust.published import Published
from trust.role_table import role_tables
from trust.roles import Signature, revoke_digest, revoke_tag
from trust.targets import Table, Tombstone, digest_path, repository_of, tag_path
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
                yield from _of_unread(publisher, loaded, each.path, each.digest)
            elif each.tag is not None:
                role = loaded.owner(tag_path(each.path, each.tag))
                yield Edit(role=role, paths=None, apply=partial(_revoke_tag, path=each.path, tag=each.tag))

    return publisher.publish(editing(publisher, edits))


def _of_digest(publisher: Publisher, loaded: Loaded, digest: Digest) -> Iterator[Edit]:
    for role, table in list(role_tables(loaded)):
        if not any(target.digest == digest for target in table.targets.values()):
            continue
        yield edit_of_digests(publisher, loaded, role, table, {digest})


def _of_unread(publisher: Publisher, loaded: Loaded, path: str, digest: Digest) -> Iterator[Edit]:
    """Yield the edits that revoke ``digest`` of the repository ``path`` above roles that cannot be read.

    Such a role may sign it, by the digest or under a tag of the repository alone, and be mended.
    """
    for each in list(loaded.untrusted.values()):
        above = loaded.find(each.delegator)
        delegation = above.content.delegations.named(each.name)
        if delegation is not None and any(overlapping(delegation.patterns, (f"{path}@*", f"{path}:*"))):
            signing = _signing(publisher, loaded, above)
            apply = partial(_revoke_path, path=digest_path(path, digest), digest=digest)
            yield Edit(role=signing, paths=frozenset(), apply=apply)


def edit_of_digests(
    publisher: Publisher, loaded: Loaded, role: LoadedRole, table: Table, digests: Collection[Digest]
) -> Edit:
    """Return the edit that revokes ``digests``, which ``role`` signs in ``table``: there, or from above."""
    signing = _signing(publisher, loaded, role)
    if signing.name == role.name:
        return Edit(role=role, paths=None, apply=partial(_revoke_digests, digests=digests))
    nobody = Signature(at=publisher.now, by=())
    ended = _revoke_digests(Table(targets=table.targets, revoked={}), nobody, digests=digests).revoked
    below = {text: [path for path in stone.paths if loaded.reaches(path, role)] for text, stone in ended.items()}
    return Edit(role=signing, paths=frozenset(), apply=partial(_revoke_below, below=below))


def _signing(publisher: Publisher, loaded: Loaded, role: LoadedRole) -> LoadedRole:
    """Return ``role``, or the nearest role above it, whose keys are at hand; at last targets, at hand or not."""
    for each in (role, *loaded.above(role)):
        if each.delegator == "root" or publisher.signers(loaded, loaded.keyids(each)):
            return each
    return loaded.targets


def _revoke_digests(table: Table, signature: Signature, *, digests: Collection[Digest]) -> Table:
    for digest in sorted(digests):
        table = revoke_digest(table, digest=digest, signature=signature)
    return table


def _revoke_below(table: Table, signature: Signature, *, below: Mapping[str, Collection[str]]) -> Table:
    """Return ``table`` with tombstones of what stands ``below`` it: the paths of each digest.

    The path of the digest itself is among them always: by that it is known for what it is under any tag.
    """
    for text, paths in below.items():
        digest = parse_digest(text)
        by_digest = {digest_path(repository_of(path), digest) for path in paths}
        for path in sorted({*paths, *by_digest}):
            table = _revoke_path(table, signature, path=path, digest=digest)
    return table


def _revoke_path(table: Table, signature: Signature, *, path: str, digest: Digest) -> Table:
    stone = table.revoked.get(str(digest)) or Tombstone(revoked_at=signature.at, revoked_by=signature.by, paths=())
    if path in stone.paths:
        return table
    longer = replace(stone, paths=tuple(sorted((*stone.paths, path))))
    return replace(table, revoked={**table.revoked, str(digest): longer})


def _revoke_tag(table: Table, _signature: Signature, *, path: str, tag: str) -> Table:
    return revoke_tag(table, path=path, tag=tag)
