"""Owns referrers: manifests that say of themselves, by ``subject``, that they speak of another manifest.

A registry lists them under ``/referrers/DIGEST``; one without that API has them in an index under the tag
``sha256-<hex>``, which whoever adds one has to keep himself. Either list is the registry's word: what it names is
fetched by digest, and counts as a referrer only if it names its subject. Source: distribution-spec 1.1 "Listing
Referrers", "Unavailable Referrers API".
"""

from __future__ import annotations

import json
from typing import Any

from trust.deadline import Deadline
from trust.digest import Digest, parse_digest
from trust.errors import InputError, LimitError, UnreachableError
from trust.manifest import MANIFEST_MAX_BYTES, OCI_INDEX, Index, Manifest, parse_manifest
from trust.oci.errors import tampered
from trust.oci.message import Response
from trust.oci.names import repository_target
from trust.oci.session import Ask, Session
from trust.strict_json import strict_json
from trust.value import dataclass

REFERRERS_MAX = 1000  # of one manifest; each costs two requests and more to whoever copies them
ARTIFACT_TYPE_MAX_LENGTH = 255  # RFC 6838: 127 letters, a slash, 127 letters
ANNOTATIONS_MAX_BYTES = 1024  # as JSON, of one entry: a full index is still below 4 MiB

_OK = 200
_NO_SUCH_API = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a registry's own list says; ``digests`` is None where it has no such API."""

    digests: tuple[Digest, ...] | None


def referrers_tag(subject: Digest) -> str:
    """Return the tag under which a registry without the API keeps the list of referrers of ``subject``."""
    return f"{subject.algorithm}-{subject.hex}"


def listed_referrers(session: Session, path: str, subject: Digest, *, deadline: Deadline) -> Listed:
    """Return what the registry lists, first page only: a longer list is "limit reached".

    Raises:
        LimitError: more than ``REFERRERS_MAX``. UnreachableError: no such list.
    """
    target = f"{repository_target(path)}/referrers/{subject}"
    ask = Ask(
        method="GET", where=target, path=path, actions="pull", deadline=deadline, headers={"Accept": OCI_INDEX}
    )
    answer = session.whole(ask, max_bytes=MANIFEST_MAX_BYTES)
    if answer.status in _NO_SUCH_API:
        return Listed(digests=None)
    if answer.status != _OK:
        raise session.error(f"list the referrers of {path}@{subject}", answer)
    return Listed(digests=_digests_of(answer, f"{session.host}/{path}@{subject}"))


def digests_in(untrusted_index: bytes, what: str) -> tuple[Digest, ...]:
    """Return the digests that an index of referrers names.

    Raises:
        RefusedError: ``tampered``; it is no index. LimitError: it names more than ``REFERRERS_MAX``.
    """
    try:
        index = parse_manifest(untrusted_index)
    except InputError as err:
        raise tampered(f"referrers of {what}: {err}") from err
    if not isinstance(index, Index):
        raise tampered(f"referrers of {what}: expected an index, got {index.media_type}")
    if len(index.manifests) > REFERRERS_MAX:
        raise LimitError(f"{what} has too many referrers: expected at most {REFERRERS_MAX}")
    return tuple(dict.fromkeys(descriptor.digest for descriptor in index.manifests))


def subject_of(manifest_bytes: bytes) -> Digest | None:
    """Return the digest that a manifest, parsed before, names as its subject.

    Raises:
        InputError: its ``subject`` is no descriptor.
    """
    document = strict_json(manifest_bytes, max_bytes=MANIFEST_MAX_BYTES, what="manifest")
    subject = document.get("subject") if isinstance(document, dict) else None
    if subject is None:
        return None
    digest = subject.get("digest") if isinstance(subject, dict) else None
    if not isinstance(digest, str):
        raise InputError("manifest is malformed: subject is no descriptor")
    return parse_digest(digest)


def index_with(before: bytes | None, digest: Digest, data: bytes) -> bytes | None:
    """Return the index of referrers ``before`` with the manifest ``data`` in it; None where it was in already."""
    entries: list[Any] = []
    if before is not None:
        known = digests_in(before, "this manifest")
        if digest in known:
            return None
        if len(known) >= REFERRERS_MAX:  # nobody reads a longer list
            raise LimitError(f"manifest has {len(known)} referrers already: expected at most {REFERRERS_MAX}")
        entries = strict_json(before, max_bytes=MANIFEST_MAX_BYTES, what="index of referrers")["manifests"]
    entry = referrer_entry(digest, data)
    annotations = parse_manifest(data).annotations
    if annotations and len(json.dumps(annotations)) <= ANNOTATIONS_MAX_BYTES:
        entry["annotations"] = dict(annotations)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, entry]}
    index = json.dumps(document, separators=(",", ":")).encode()
    if len(index) > MANIFEST_MAX_BYTES:
        raise LimitError(f"index of referrers is full: expected at most {MANIFEST_MAX_BYTES} bytes")
    return index


def referrer_entry(digest: Digest, data: bytes) -> dict[str, Any]:
    """Return how an index describes the referrer ``data``: without its annotations.

    Anybody may have written it. Annotations fill an index until nobody reads it any more, and in that of a layout
    they are names, by which a stranger's note would stand for an image. They all stand in the manifest.
    """
    manifest = parse_manifest(data)
    entry: dict[str, Any] = {"mediaType": manifest.media_type, "digest": str(digest), "size": len(data)}
    if isinstance(manifest, Manifest):
        artifact_type = manifest.artifact_type or manifest.config.media_type
        if len(json.dumps(artifact_type)) - len('""') <= ARTIFACT_TYPE_MAX_LENGTH:
            entry["artifactType"] = artifact_type
    return entry


def _digests_of(answer: Response, what: str) -> tuple[Digest, ...]:
    if answer.headers.each("link"):
        raise LimitError(f"{what} has too many referrers: the registry lists them on several pages")
    try:
        return digests_in(answer.body, what)
    except InputError as err:
        raise UnreachableError(f"list of referrers of {what} is malformed: {err}") from err
