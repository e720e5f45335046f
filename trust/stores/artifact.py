"""Owns the spelling of a collection's metadata as one OCI artifact: its layers are the metadata files.

Pure: bytes to values and back. ``generation`` grows with each publish, ``parent`` is the artifact it was built on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trust.digest import Digest, parse_digest, sha256
from trust.errors import InputError
from trust.manifest import OCI_MANIFEST, Index, parse_manifest
from trust.stores.interface import checked_name
from trust.value import dataclass

ARTIFACT_TYPE = "application/vnd.content-trust.metadata.v1"
FILE_TYPE = "application/vnd.content-trust.tuf.v1+json"
EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
GENERATION_MAX = 9_999_999_999  # ten digits, so that the tags of claims sort by it
_TITLE = "org.opencontainers.image.title"
_GENERATION = "dev.content-trust.generation"
_PARENT = "dev.content-trust.parent"
_PARENT_GENERATION = "dev.content-trust.parent-generation"
_WITHDRAWN = "dev.content-trust.withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One metadata file of an artifact."""

    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What the manifest of a collection's metadata says; untrusted, as everything in a registry."""

    generation: int
    parent: Digest | None
    parent_generation: int
    files: Mapping[str, File]
    withdrawn: bool = False


def artifact_bytes(artifact: Artifact) -> bytes:
    """Return the manifest of ``artifact``."""
    annotations = {
        _GENERATION: str(artifact.generation),
        _PARENT_GENERATION: str(artifact.parent_generation),
        **({_PARENT: str(artifact.parent)} if artifact.parent else {}),
        **({_WITHDRAWN: "true"} if artifact.withdrawn else {}),
    }
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": str(sha256(EMPTY)), "size": len(EMPTY)},
        "layers": [
            {
                "mediaType": FILE_TYPE,
                "digest": str(file.digest),
                "size": file.size_bytes,
                "annotations": {_TITLE: name},
            }
            for name, file in sorted(artifact.files.items())
        ],
        "annotations": annotations,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def parse_artifact(untrusted_bytes: bytes) -> Artifact:
    """Return the artifact that a manifest spells.

    Raises:
        InputError: it is no metadata artifact: a runnable image pushed under the reserved tag, for one.
    """
    manifest = parse_manifest(untrusted_bytes)
    if isinstance(manifest, Index) or manifest.artifact_type != ARTIFACT_TYPE:
        got = manifest.media_type if isinstance(manifest, Index) else manifest.artifact_type
        raise InputError(f"what stands under the reserved tag is no trust metadata: got {got!r:.100}")
    files = {}
    for layer in manifest.layers:
        name = checked_name(layer.annotations.get(_TITLE, ""))
        if name in files:
            raise InputError(f"metadata artifact names {name} twice")
        files[name] = File(digest=layer.digest, size_bytes=layer.size_bytes)
    parent = manifest.annotations.get(_PARENT)
    return Artifact(
        generation=_number(manifest.annotations.get(_GENERATION)),
        parent=parse_digest(parent) if parent else None,
        parent_generation=_number(manifest.annotations.get(_PARENT_GENERATION)),
        files=files,
        withdrawn=_WITHDRAWN in manifest.annotations,
    )


def _number(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > len(str(GENERATION_MAX)):
        raise InputError(f"metadata artifact has no generation: got {text!r}")
    return int(text)
