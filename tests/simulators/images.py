"""A model of a role's targets: a few images that share children, and what must hold of any table of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta

from tests.simulators.world import START
from trust.digest import Digest, sha256
from trust.roles import Image, Signature, sign_image
from trust.roles import attest as attest_in
from trust.targets import (
    Attests,
    Table,
    Target,
    digest_path,
    parse_target,
    parse_tombstones,
    target_custom,
    tombstone_json,
)

EMPTY = Table(targets={}, revoked={})
PATHS = ("acme/web", "acme/db")
TAGS = ("1", "2", "latest")


def image_of(name: str, *children: Image) -> Image:
    """Return an image whose digest is that of its name."""
    return Image(digest=sha256(name.encode()), size_bytes=len(name), media_type="t", children=children)


A, B, C, D = LEAVES = [image_of(name) for name in "abcd"]
AB = image_of("ab", A, B)
BC = image_of("bc", B, C)
AB_C = image_of("(ab)c", AB, C)
IMAGES = [*LEAVES, AB, BC, image_of("aab", A, A, B), AB_C, image_of("((ab)c)d", AB_C, D)]
BY_DIGEST = {image.digest: image for image in IMAGES}


def signature(minutes: int = 0) -> Signature:
    """Return who signs at that minute."""
    return Signature(at=START + timedelta(minutes=minutes), by=(f"key {minutes}",))


def sign(
    table: Table, path: str, tag: str | None, image: Image, notes: Mapping[str, str] | None = None, *, at: int = 0
) -> Table:
    """Return ``table`` with the image signed."""
    return sign_image(table, path=path, tag=tag, image=image, signature=signature(at), annotations=notes or {})


def attestation_of(path: str, subject: Digest, kind: str) -> Image:
    """Return the attestation of that type of ``subject``; each subject has its own, since they name it."""
    return image_of(f"{kind} of {path}@{subject}")


def attest(table: Table, path: str, subject: Digest, kind: str, *, at: int = 0) -> Table:
    """Return ``table`` with an attestation of ``subject`` signed."""
    said = attestation_of(path, subject, kind)
    return attest_in(table, path=path, subject=subject, kind=kind, attestation=said, signature=signature(at))


def descendants(image: Image) -> set[Digest]:
    """Return the digests below ``image``."""
    return {digest for child in image.children for digest in (child.digest, *descendants(child))}


def tags_of(table: Table) -> dict[str, Digest]:
    """Return what each signed tag is."""
    return {name: target.digest for name, target in table.targets.items() if "@" not in name}


def require_in_step(table: Table) -> None:
    """Require what every consumer relies on, whatever the history."""
    for name, target in table.targets.items():
        path = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
        assert str(target.digest) not in table.revoked, f"{name} is revoked and signed"
        if "@" not in name:
            holder = table.targets.get(digest_path(path, target.digest))
            assert holder is not None, f"{name}: a pull by its digest is unsigned"
            assert name.rpartition(":")[2] in holder.tags, f"{name}: its digest does not name the tag"
            assert not target.tags
            assert not target.inside
            continue
        assert name == digest_path(path, target.digest)
        for tag in target.tags:
            assert table.targets[f"{path}:{tag}"].digest == target.digest, f"{name}: {tag} is another image"
        for parent in target.inside:
            assert digest_path(path, parent) in table.targets, f"{name}: dangling index {parent}"
        _require_attestations_in_step(table, path, target)
        if target.digest not in BY_DIGEST:
            continue
        for child in BY_DIGEST[target.digest].children:
            held = table.targets.get(digest_path(path, child.digest))
            assert held is not None, f"{name}: its child is unsigned"
            assert target.digest in held.inside, f"{name}: its child does not name it"


def _require_attestations_in_step(table: Table, path: str, target: Target) -> None:
    for kind, digests in target.attestations.items():
        assert digests
        for digest in digests:
            said = table.targets.get(digest_path(path, digest))
            assert said is not None, f"{path}@{target.digest}: its attestation is unsigned"
            assert said.attests == Attests(subject=target.digest, type=kind)
    if target.attests is not None:
        holder = table.targets.get(digest_path(path, target.attests.subject))
        assert holder is not None, f"{path}@{target.digest}: speaks of what is not signed"
        assert target.digest in holder.attestations[target.attests.type]
    elif target.digest not in BY_DIGEST:
        raise AssertionError(f"{path}@{target.digest}: an attestation of nothing is left")


def through_json(table: Table) -> Table:
    """Return ``table`` as the next publisher reads it: sorted by path, as signed metadata is."""
    targets = {}
    for path in sorted(table.targets):
        target = table.targets[path]
        custom = json.loads(json.dumps(target_custom(target)))
        targets[path] = parse_target(
            hashes={"sha256": target.digest.hex}, size_bytes=target.size_bytes, custom=custom
        )
    revoked = {digest: tombstone_json(entry) for digest, entry in sorted(table.revoked.items())}
    return Table(targets=targets, revoked=parse_tombstones(json.loads(json.dumps(revoked))))
