"""Owns the target: what a collection's signed metadata says about one manifest, and how that is spelled in TUF.

Signing a tag writes three kinds of target, so that every way to ask is one look-up:

    acme/web:1.4            the tag
    acme/web@sha256:…       the manifest; its ``tags`` names the tags that point to it
    acme/web@sha256:…       for an index, each child; its ``in`` names the indexes it belongs to
    acme/web@sha256:…       an attestation; its ``attests`` names the digest that it speaks of, and its type

The digest target that is attested names its ``attestations`` by type: whoever has the signed metadata knows which
there are, and needs no registry's list of referrers.

The path is without the host, so that a signature survives the move to another registry, and with the
repository, so that one image cannot stand in for another. Pure: no IO, no clock, no TUF library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from sys import intern
from types import MappingProxyType
from typing import Any

from trust.delegations import NO_DELEGATIONS, Delegations
from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.instant import format_utc, parse_utc
from trust.reference import Reference
from trust.value import dataclass

USUAL_TYPE = "application/vnd.oci.image.manifest.v1+json"  # what is not said of a target
_SECONDS_MAX = 253_402_300_800  # the year 10000, which no calendar here knows
_NONE: Mapping[str, Any] = MappingProxyType({})

ATTESTATION_TYPES = ("spdx", "cyclonedx", "slsa", "vuln")
Attestations = Mapping[str, tuple[Digest, ...]]
"""Digests of attestations by their type (``spdx``, ``slsa``, …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attests:
    """What an attestation speaks of, and of which type it is."""

    subject: Digest
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One TUF target: a manifest under a tag or under its digest."""

    digest: Digest
    size_bytes: int
    media_type: str
    signed_at: datetime
    signed_by: tuple[str, ...]
    tags: tuple[str, ...] = ()
    inside: tuple[Digest, ...] = ()
    annotations: Mapping[str, str]
    attestations: Attestations = _NONE
    attests: Attests | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """What remains of a revoked digest, signed, so that a consumer can say ``revoked``."""

    revoked_at: datetime
    revoked_by: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All that one targets role says: targets by path, tombstones by digest text."""

    targets: Mapping[str, Target]
    revoked: Mapping[str, Tombstone]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All that one targets role says: of images, and of the roles that say more."""

    table: Table
    delegations: Delegations = NO_DELEGATIONS


def tag_path(path: str, tag: str) -> str:
    """Return the target path of a tag: ``acme/web:1.4``."""
    return f"{path}:{tag}"


def digest_path(path: str, digest: Digest) -> str:
    """Return the target path of a manifest: ``acme/web@sha256:…``."""
    return f"{path}@{digest}"


def repository_of(path: str) -> str:
    """Return the repository of a target path: ``acme/web`` of ``acme/web:1.4``, and of ``acme/web@sha256:…``."""
    return path.partition("@")[0] if "@" in path else path.rpartition(":")[0]


def lookup_path(path: str, reference: Reference) -> str:
    """Return the one target path that answers ``reference``; a digest beats the tag beside it."""
    if reference.digest is not None:
        return digest_path(path, reference.digest)
    return tag_path(path, reference.tag or "latest")


def target_custom(target: Target, signers: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return the TUF ``custom`` object of ``target``; empty fields, and what is usual, are left out.

    ``signers`` numbers the key ids that the role names once for all its targets, the usual one 0. Spelled so, a
    target takes 200 bytes instead of 360, and a consumer of a million downloads that much less for one look-up.
    """
    custom: dict[str, Any] = {"signed": int(target.signed_at.timestamp())}
    by = list(target.signed_by) if signers is None else [signers[keyid] for keyid in target.signed_by]
    if by != [0]:
        custom["by"] = by
    if target.media_type != USUAL_TYPE:
        custom["type"] = target.media_type
    if target.tags:
        custom["tags"] = list(target.tags)
    if target.inside:
        custom["in"] = [str(digest) for digest in target.inside]
    if target.annotations:
        custom["annotations"] = dict(target.annotations)
    if target.attestations:
        custom["attestations"] = attestations_json(target.attestations)
    if target.attests:
        custom["attests"] = {"subject": str(target.attests.subject), "type": target.attests.type}
    return custom


def attestations_json(attestations: Attestations) -> dict[str, list[str]]:
    """Return the digests of attestations by type, as JSON has them."""
    return {kind: [str(digest) for digest in digests] for kind, digests in attestations.items()}


def parse_target(
    *, hashes: Mapping[str, str], size_bytes: int, custom: Mapping[str, Any], signers: Sequence[str] = ()
) -> Target:
    """Return the target of verified TUF fields; ``signers`` are the key ids that its role numbers.

    What thousands of targets have in common is in memory once: a gate holds all of them.

    Raises:
        InputError: no sha256, or a field is not what ``target_custom`` writes.
    """
    try:
        return Target(
            digest=parse_digest(f"sha256:{hashes['sha256']}"),
            size_bytes=size_bytes,
            media_type=intern(str(custom.get("type", USUAL_TYPE))),
            signed_at=_moment(custom["signed"]),
            signed_by=tuple(intern(_signer(key, signers)) for key in custom.get("by", [0])),
            tags=tuple(map(str, custom.get("tags", ()))),
            inside=tuple(parse_digest(text) for text in custom.get("in", ())),
            annotations={str(key): str(value) for key, value in custom.get("annotations", {}).items()} or _NONE,
            attestations={
                intern(str(kind)): tuple(parse_digest(text) for text in texts)
                for kind, texts in custom.get("attestations", {}).items()
            }
            or _NONE,
            attests=_attests(custom.get("attests")),
        )
    except (LookupError, TypeError, AttributeError) as err:
        raise InputError(f"a signed target lacks or misspells a field: {err}") from err


def _moment(seconds: object) -> datetime:
    """Return the moment of ``signed``: whole seconds since 1970."""
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 <= seconds < _SECONDS_MAX:
        raise TypeError("signed is no moment")
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


def _signer(key: object, signers: Sequence[str]) -> str:
    """Return the key id that stands in ``by``, as text or by its number."""
    if isinstance(key, int) and not isinstance(key, bool) and key >= 0:
        return str(signers[key])
    if not isinstance(key, str):
        raise TypeError("a signer is neither a key id nor a number")
    return key


def _attests(value: Any) -> Attests | None:  # noqa: ANN401 - JSON is any shape, and what is odd raises
    if value is None:
        return None
    return Attests(subject=parse_digest(value["subject"]), type=intern(str(value["type"])))


def tombstone_json(tombstone: Tombstone) -> dict[str, Any]:
    """Return the value under ``x-revoked`` for one digest."""
    return {
        "at": format_utc(tombstone.revoked_at),
        "by": list(tombstone.revoked_by),
        "paths": list(tombstone.paths),
    }


def taken_back(before: Mapping[str, Tombstone], after: Mapping[str, Tombstone]) -> str | None:
    """Return the first digest that was revoked ``before`` and is not, or not under every path, ``after``."""
    none = frozenset[str]()
    lacking = (
        text
        for text, stone in sorted(before.items())
        if text not in after or not none.union(stone.paths) <= none.union(after[text].paths)
    )
    return next(lacking, None)


def parse_tombstones(value: object) -> dict[str, Tombstone]:
    """Return the tombstones of a verified ``x-revoked`` field.

    Raises:
        InputError: it is not what ``tombstone_json`` writes.
    """
    if not isinstance(value, dict):  # dict() takes a list of pairs as well
        raise InputError("the signed list of revocations is malformed: it is no object")
    try:
        return {
            str(parse_digest(digest)): Tombstone(
                revoked_at=parse_utc(entry["at"]),
                revoked_by=tuple(map(str, entry["by"])),
                paths=tuple(map(str, entry["paths"])),
            )
            for digest, entry in value.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise InputError(f"the signed list of revocations is malformed: {err}") from err
