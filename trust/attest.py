"""Owns the journey of an attestation: checked, stored beside the image, signed in its collection.

  1. the image's digest is the signed one: what the publisher's own verified metadata says, not the registry
  2. the document is what it is said to be, and of this image
  3. it goes to the registry as a referrer of the digest, so that every tool finds it
  4. its digest is signed, and named by the image's digest target: whoever verifies needs no list of referrers

A document is stored the same way each time: repeating the command changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from trust.attestation_document import Document, parse_document
from trust.digest import Digest, sha256
from trust.editing import Edit, editing
from trust.errors import InputError
from trust.loaded import Loaded
from trust.manifest import OCI_MANIFEST
from trust.oci.registry import Registry
from trust.oci.repositories import Soon
from trust.publish import Publisher
from trust.published import Published
from trust.reference import Reference
from trust.roles import Image, Signature
from trust.roles import attest as attest_in
from trust.targets import Table, Target, digest_path, lookup_path
from trust.value import dataclass

_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What was attested: the image's digest, the attestation's, and what was published."""

    subject: Digest
    digest: Digest
    published: Published


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is to be attested of ``reference``, whose signed repository path is ``path``: a file of a type."""

    reference: Reference
    path: str
    kind: str
    untrusted_bytes: bytes


def attest(publisher: Publisher, statement: Statement, registry: Registry, soon: Soon) -> Attested:
    """Return what was published so that the statement is signed, by the steps of this module.

    Raises:
        InputError: the image is not signed, the file is no such document, or this attestation was revoked.
    """
    subject = _signed(publisher.load(), statement)
    document = parse_document(statement.kind, statement.untrusted_bytes, subject.digest)
    data = referrer_manifest(document, subject)
    attestation = Image(digest=sha256(data), size_bytes=len(data), media_type=OCI_MANIFEST)

    def edits(loaded: Loaded) -> Iterator[Edit]:
        names = frozenset(digest_path(statement.path, each) for each in (subject.digest, attestation.digest))
        role, _ = loaded.found(digest_path(statement.path, subject.digest))
        yield Edit(role=role, paths=names, apply=edit)

    def edit(table: Table, signature: Signature) -> Table:
        return attest_in(
            table, path=statement.path, subject=subject.digest, kind=document.kind, attestation=attestation,
            signature=signature,
        )  # fmt: skip

    if not publisher.dry_run:
        path = statement.reference.repository.path
        for content in (_EMPTY, document.data):
            registry.push_blob(path, sha256(content), content)
        registry.put_manifest(path, attestation.digest, data, OCI_MANIFEST, deadline=soon())
        registry.add_referrer(path, subject.digest, data, deadline=soon())
    published = publisher.publish(editing(publisher, edits))
    return Attested(subject=subject.digest, digest=attestation.digest, published=published)


def referrer_manifest(document: Document, subject: Target) -> bytes:
    """Return the manifest under which ``document`` is stored, as a referrer of ``subject``.

    Source: image-spec 1.1 "Guidelines for Artifact Usage".
    """
    described = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": document.media_type,
        "config": {"mediaType": _EMPTY_TYPE, "digest": str(sha256(_EMPTY)), "size": len(_EMPTY)},
        "layers": [
            {"mediaType": document.media_type, "digest": str(sha256(document.data)), "size": len(document.data)}
        ],
        "subject": {
            "mediaType": subject.media_type,
            "digest": str(subject.digest),
            "size": subject.size_bytes,
        },
        **({"annotations": dict(document.annotations)} if document.annotations else {}),
    }
    return json.dumps(described, sort_keys=True, separators=(",", ":")).encode()


def _signed(loaded: Loaded, statement: Statement) -> Target:
    """Return the digest target of the image, which the attestation will be hung on."""
    _, named = loaded.found(lookup_path(statement.path, statement.reference))
    holder = loaded.found(digest_path(statement.path, named.digest))[1] if named else None
    if holder is None:
        raise InputError(
            f"image is not signed: {statement.reference}", hint="sign the image first, then attest what it is"
        )
    return holder
