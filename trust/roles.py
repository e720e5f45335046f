"""Owns what an edit does to the targets of a role: sign, attest, revoke. Pure: no IO, no clock, no TUF library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from trust.digest import Digest
from trust.errors import InputError
from trust.instant import format_utc
from trust.reference import RESERVED_TAG_PREFIX
from trust.targets import Attestations, Attests, Table, Target, Tombstone, digest_path, tag_path
from trust.value import dataclass, replace

COLLECTION_FIELD = "x-collection"  # binds every role to its collection: two that share a key cannot be swapped
ROLE_FIELD = "x-role"
REVOKED_FIELD = "x-revoked"
SIGNERS_FIELD = "x-signers"  # in targets: the key ids that its targets name by number
# In targets, the version it was made from, so that a change can be merged alone. In root, the sha256 of the
# timestamp it was made over, so that a rotation that was cut short is told from what an old key signs after it.
BASE_FIELD = "x-base"
EXPIRY_FIELD = "x-expiry"  # in root: seconds for each role, so that every publisher renews alike
PERIOD_FIELD = (
    "x-period"  # in snapshot and timestamp: seconds, where a publisher signs for less than the root says
)

VERSION_JUMP_MAX = 1000  # a number is burnt by a crash, not by the thousand (Notary audit 15-3)
DEFAULT_EXPIRY: Mapping[str, timedelta] = {
    "root": timedelta(days=365),
    "targets": timedelta(days=90),  # what a consumer without state can be shown at the oldest
    "snapshot": timedelta(days=7),
    "timestamp": timedelta(days=7),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What is to be signed: a manifest and, for an index, its children (digest, size, type of each)."""

    digest: Digest
    size_bytes: int
    media_type: str
    children: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """When an edit is made, and by which key ids."""

    at: datetime
    by: tuple[str, ...]


def sign_image(
    table: Table,
    *,
    path: str,
    tag: str | None,
    image: Image,
    signature: Signature,
    annotations: Mapping[str, str],
) -> Table:
    """Return ``table`` in which ``path:tag`` is ``image``; the very same object where that was true before.

    Raises:
        InputError: the tag is reserved for metadata, or a digest of the image was revoked.
    """
    if tag is not None and tag.startswith(RESERVED_TAG_PREFIX):
        raise InputError(f"tag is reserved for trust metadata: got {tag!r}")
    _refuse_revoked(table, image)
    targets = dict(table.targets)
    before = targets.get(tag_path(path, tag)) if tag is not None else None
    if before is not None and before.digest != image.digest:
        _drop_tag(targets, path, tag, before.digest)
    fresh = _target(image, signature, annotations)
    known = targets.get(digest_path(path, image.digest))
    tags = {*(known.tags if known else ()), *([tag] if tag else [])}
    entry = replace(fresh, tags=tuple(sorted(tags)))
    if known is not None:
        entry = replace(entry, inside=known.inside, attestations=known.attestations, attests=known.attests)
    _put(targets, digest_path(path, image.digest), entry, known)
    if tag is not None:
        _put(targets, tag_path(path, tag), fresh, before)
    for parent, child in _family(image):
        known = targets.get(digest_path(path, child.digest))
        inside = tuple(sorted({*(known.inside if known else ()), parent.digest}))
        _put(
            targets,
            digest_path(path, child.digest),
            replace(known or _target(child, signature, {}), inside=inside),
            known,
        )
    return table if targets == table.targets else replace(table, targets=targets)


def attest(
    table: Table, *, path: str, subject: Digest, kind: str, attestation: Image, signature: Signature
) -> Table:
    """Return ``table`` in which ``attestation`` speaks of ``subject``; the very same object where it did before.

    Raises:
        InputError: the subject is not signed in the repository ``path``, or the attestation was revoked.
    """
    _refuse_revoked(table, attestation)
    targets = dict(table.targets)
    holder, name = targets.get(digest_path(path, subject)), digest_path(path, attestation.digest)
    if holder is None:
        raise InputError(
            f"digest is not signed: got {path}@{subject}", hint="sign the image first, then attest what it is"
        )
    known = targets.get(name)
    entry = replace(known or _target(attestation, signature, {}), attests=Attests(subject=subject, type=kind))
    _put(targets, name, entry, known)
    digests = tuple(sorted({*holder.attestations.get(kind, ()), attestation.digest}))
    said = replace(holder, attestations={**holder.attestations, kind: digests})
    _put(targets, digest_path(path, subject), said, holder)
    return table if targets == table.targets else replace(table, targets=targets)


def revoke_tag(table: Table, *, path: str, tag: str) -> Table:
    """Return ``table`` without the tag, and without the digests that nothing refers to any more."""
    targets = dict(table.targets)
    gone = targets.pop(tag_path(path, tag), None)
    if gone is None:
        return table
    _drop_tag(targets, path, tag, gone.digest)
    holder = targets.get(digest_path(path, gone.digest))
    if holder is not None and not holder.tags and not holder.inside and not holder.attests:
        del targets[digest_path(path, gone.digest)]
        _drop_orphans(targets)
    return replace(table, targets=targets)


def revoke_digest(table: Table, *, digest: Digest, signature: Signature) -> Table:
    """Return ``table`` without anything that names ``digest``, with a tombstone for each that went.

    An index that contains it names it too and goes with it; so do children that belonged to nothing else.
    """
    targets = dict(table.targets)
    doomed = _everything_naming(targets, digest)
    for name in set().union(*doomed.values()):
        del targets[name]
    for name, orphan in _drop_orphans(targets).items():
        doomed.setdefault(orphan, set()).add(name)
    named = {target.digest for target in targets.values()}  # an orphan here may be an image of its own elsewhere
    doomed = {dead: names for dead, names in doomed.items() if names and dead not in named}
    if not any(doomed.values()):
        return table
    revoked = dict(table.revoked)
    for dead, names in doomed.items():
        before = revoked.get(str(dead))
        paths = names.union(before.paths if before is not None else ())
        revoked[str(dead)] = Tombstone(
            revoked_at=signature.at, revoked_by=signature.by, paths=tuple(sorted(paths))
        )
    return Table(targets=targets, revoked=revoked)


def _target(image: Image, signature: Signature, annotations: Mapping[str, str]) -> Target:
    return Target(
        digest=image.digest,
        size_bytes=image.size_bytes,
        media_type=image.media_type,
        signed_at=signature.at,
        signed_by=signature.by,
        annotations=dict(annotations),
    )


def _put(targets: dict[str, Target], name: str, entry: Target, known: Target | None) -> None:
    """Write ``entry`` unless ``known`` says the same: a repeated signature keeps its first date."""
    if known is not None and replace(entry, signed_at=known.signed_at, signed_by=known.signed_by) == known:
        return
    targets[name] = entry


def _family(image: Image) -> Iterable[tuple[Image, Image]]:
    for child in image.children:
        yield image, child
        yield from _family(child)


def digests_of(image: Image) -> tuple[Digest, ...]:
    """Return the digest of ``image`` and of everything in it."""
    return (image.digest, *(child.digest for _, child in _family(image)))


def _refuse_revoked(table: Table, image: Image) -> None:
    for digest in digests_of(image):
        tombstone = table.revoked.get(str(digest))
        if tombstone is not None:
            raise InputError(
                f"digest was revoked on {format_utc(tombstone.revoked_at)}: got {digest}",
                hint="build a new image: a revoked digest is never signed again",
            )


def _everything_naming(targets: Mapping[str, Target], digest: Digest) -> dict[Digest, set[str]]:
    """Return ``digest`` and every index above it, each with the paths that lead to it."""
    found: dict[Digest, set[str]] = {}
    pending = [digest]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found[current] = {name for name, target in targets.items() if target.digest == current}
        for name in found[current]:
            pending.extend(targets[name].inside)
    return found


def _drop_tag(targets: dict[str, Target], path: str, tag: str | None, digest: Digest) -> None:
    name = digest_path(path, digest)
    holder = targets.get(name)
    if holder is not None:
        targets[name] = replace(holder, tags=tuple(each for each in holder.tags if each != tag))


def _drop_orphans(targets: dict[str, Target]) -> dict[str, Digest]:
    """Drop the children whose last index is gone, and their children; and attestations whose subject is gone.

    Return what went, by its path.
    """
    gone: dict[str, Digest] = {}
    while True:
        before = len(gone)
        for name, target in list(targets.items()):
            path = name.partition("@")[0]
            inside = tuple(parent for parent in target.inside if digest_path(path, parent) in targets)
            attests = target.attests
            if attests is not None and digest_path(path, attests.subject) not in targets:
                attests = None
            held = replace(target, inside=inside, attests=attests, attestations=_still(target, path, targets))
            if held == target:
                continue
            targets[name] = held
            is_let_go = inside != target.inside or attests != target.attests
            if is_let_go and not inside and not attests and not target.tags:
                gone[name] = targets.pop(name).digest
        if len(gone) == before:
            return gone


def _still(target: Target, path: str, targets: Mapping[str, Target]) -> Attestations:
    """Return the attestations of ``target`` that are signed still."""
    if not target.attestations:
        return target.attestations
    left = {
        kind: tuple(digest for digest in digests if digest_path(path, digest) in targets)
        for kind, digests in target.attestations.items()
    }
    return {kind: digests for kind, digests in left.items() if digests}
