"""Owns the document of a snapshot, the configuration of its artifact: facts, what was run, where its parts are.

    {"schema": 1, "created_at": …, "facts": {…}, "container": {…}, "streams": {…}, "pages": […],
     "images": {…}, "upper": {…}}

It says what was asked for and never what is allowed: no capability, filter, mount or path of a host is in it. All
that is read from it was signed, and is checked all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.instant import format_utc, parse_utc
from trust.manifest import OCI_MANIFEST, Descriptor, Manifest
from trust.runtime.checkpoint_blobs import SEALED
from trust.runtime.checkpoint_facts import Facts, facts_document, facts_of, read_json
from trust.runtime.checkpoint_pages import PAGE_BYTES, PAGES_TYPE, Chunk, PagesFile
from trust.runtime.checkpoint_ran import Ran, parse_ran, ran_document
from trust.runtime.criu import is_stream
from trust.value import dataclass

ARTIFACT_TYPE = "application/vnd.content-trust.checkpoint.v1"
CONFIG_TYPE = "application/vnd.content-trust.checkpoint.config.v1+json"
IMAGES_TYPE = "application/vnd.content-trust.checkpoint.criu.v1.tar+zstd"
UPPER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCUMENT_MAX_BYTES = 4 * 1024 * 1024
CHUNK_MAX_BYTES = 1024**3
MEMORY_MAX_BYTES = 256 * 1024**3

_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A whole snapshot by its parts; ``streams`` are descriptors that lead to the container's logs."""

    created_at: datetime
    facts: Facts
    ran: Ran
    streams: Mapping[int, str]
    pages: tuple[PagesFile, ...]
    images: Descriptor
    upper: Descriptor

    def blobs(self) -> tuple[Descriptor, ...]:
        """Return every blob but the document itself, each once."""
        chunks = (chunk.blob for file in self.pages for chunk in file.chunks)
        return tuple({blob.digest: blob for blob in (self.images, self.upper, *chunks)}.values())


def document_bytes(snapshot: Snapshot) -> bytes:
    """Return the document of a snapshot; the same snapshot is the same bytes."""
    document = {
        "schema": _SCHEMA,
        "created_at": format_utc(snapshot.created_at),
        "facts": facts_document(snapshot.facts),
        "container": ran_document(snapshot.ran),
        "streams": {str(fd): stream for fd, stream in snapshot.streams.items()},
        "pages": [
            {"name": file.name, "chunks": [{**_blob(chunk.blob), "bytes": chunk.bytes} for chunk in file.chunks]}
            for file in snapshot.pages
        ],
        "images": _blob(snapshot.images),
        "upper": _blob(snapshot.upper),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def manifest_bytes(snapshot: Snapshot, config: Descriptor) -> bytes:
    """Return the manifest of a snapshot's artifact, whose document or envelope is the blob ``config``."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": _descriptor(config),
        "layers": [_descriptor(blob) for blob in snapshot.blobs()],
    }
    return json.dumps(manifest, separators=(",", ":")).encode()


def parse_document(data: bytes, manifest: Manifest, *, is_sealed: bool = False) -> Snapshot:
    """Return the snapshot that a document and the manifest of its artifact describe.

    ``is_sealed``: the document was encrypted, and so is every blob that it names.

    Raises:
        InputError: malformed, of another schema, or naming a blob that the manifest does not.
    """
    document = read_json(data, max_bytes=DOCUMENT_MAX_BYTES)
    if document.get("schema") != _SCHEMA:
        raise InputError(f"checkpoint schema unsupported: expected {_SCHEMA}, got {document.get('schema')!r:.40}")
    layers = {layer.digest: layer for layer in manifest.layers if layer.media_type.endswith(SEALED) is is_sealed}
    try:
        snapshot = Snapshot(
            created_at=parse_utc(document["created_at"]),
            facts=facts_of(document["facts"]),
            ran=parse_ran(document["container"]),
            streams=_streams(document["streams"]),
            pages=tuple(_pages_file(one, layers) for one in document["pages"]),
            images=_named(document["images"], layers, IMAGES_TYPE),
            upper=_named(document["upper"], layers, UPPER_TYPE),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as err:
        raise InputError(f"checkpoint is malformed: its document: {err!r:.120}") from err
    names = [file.name for file in snapshot.pages]
    if len(set(names)) != len(names):
        raise InputError("checkpoint is malformed: a file of pages is named twice")
    if sum(chunk.bytes for file in snapshot.pages for chunk in file.chunks) > MEMORY_MAX_BYTES:
        raise InputError(f"checkpoint is too large: expected at most {MEMORY_MAX_BYTES} bytes of memory")
    return snapshot


def _streams(document: Mapping[str, Any]) -> dict[int, str]:
    streams = {int(fd): stream for fd, stream in document.items()}
    if not set(streams) <= {1, 2} or not all(
        isinstance(each, str) and is_stream(each) for each in streams.values()
    ):
        raise InputError("checkpoint is malformed: its output goes where no container's does")
    return streams


def _pages_file(document: Mapping[str, Any], layers: Mapping[Digest, Descriptor]) -> PagesFile:
    name = document["name"]
    number = name.removeprefix("pages-").removesuffix(".img")
    if name != f"pages-{number}.img" or not (number.isascii() and number.isdigit() and len(number) <= 10):  # noqa: PLR2004 - of 2^32
        raise InputError(f"checkpoint is malformed: no file of pages has the name {name[:80]!r}")
    chunks = tuple(
        Chunk(blob=_named(one, layers, PAGES_TYPE), bytes=_size(one["bytes"])) for one in document["chunks"]
    )
    return PagesFile(name=name, chunks=chunks)


def _size(value: object) -> int:
    if not isinstance(value, int) or not 0 < value <= CHUNK_MAX_BYTES or value % PAGE_BYTES:
        raise InputError(f"checkpoint is malformed: a chunk of {value!r:.40} bytes")
    return value


def _named(document: Mapping[str, Any], layers: Mapping[Digest, Descriptor], media_type: str) -> Descriptor:
    """Return the layer of the manifest that the document names."""
    digest = parse_digest(document["digest"])
    layer = layers.get(digest)
    if (
        layer is None
        or layer.media_type.removesuffix(SEALED) != media_type
        or layer.size_bytes != document["size"]
    ):
        raise InputError(f"checkpoint is malformed: its manifest has no such blob: {digest}")
    return layer


def _blob(blob: Descriptor) -> dict[str, Any]:
    return {"digest": str(blob.digest), "size": blob.size_bytes}


def _descriptor(blob: Descriptor) -> dict[str, Any]:
    return {"mediaType": blob.media_type, **_blob(blob)}
