"""Owns the reading of manifest bytes: OCI image-spec 1.1 and Docker schema 2 manifests and indexes.

Pure: bytes in, values out. The bytes come from outside; they are capped, read strictly (no duplicate keys,
bounded depth) and refused where two readings are possible (CVE-2021-41190). ``urls`` of a descriptor are kept
for nobody: nothing here or above follows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trust.digest import Digest, parse_digest
from trust.errors import AmbiguousManifestError, InputError
from trust.strict_json import fields, one_spelling, strict_json

MANIFEST_MAX_BYTES = 4 * 1024 * 1024  # distribution-spec 1.1: registries need not take more
DESCRIPTORS_MAX = 4096  # far above any real image; 10^5 would cost each gate seconds

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
ACCEPTED_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)

_SCHEMA_VERSION = 2
_FIELDS = fields(
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"
)  # fmt: skip
_OF_DESCRIPTOR = fields("mediaType", "digest", "size", "platform", "annotations", "artifactType", "urls", "data")
_OF_PLATFORM = fields("os", "architecture", "variant", "os.version", "os.features")


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What an index says that a child runs on."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.os}/{self.architecture}{variant}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A pointer to content: its type, digest and size."""

    media_type: str
    digest: Digest
    size_bytes: int
    platform: Platform | None
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image (or artifact) for one platform."""

    media_type: str
    artifact_type: str | None
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Several manifests under one digest, usually one for each platform."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


def parse_manifest(untrusted_bytes: bytes, *, content_type: str | None = None) -> Manifest | Index:
    """Return the manifest or index that ``untrusted_bytes`` hold.

    ``content_type`` is what the registry said (parameters are ignored) or None where nobody said anything.

    Raises:
        AmbiguousManifestError: both readings fit, or the types disagree.
        InputError: too large, not JSON, of a type not supported, or malformed.
    """
    document = strict_json(untrusted_bytes, max_bytes=MANIFEST_MAX_BYTES, what="manifest")
    if not isinstance(document, dict):
        raise InputError("manifest is malformed: expected a JSON object")
    one_spelling(document, _FIELDS, what="manifest", error=AmbiguousManifestError)
    media_type = _agreed_media_type(document, content_type)
    if document.get("schemaVersion") != _SCHEMA_VERSION:
        raise InputError(
            f"manifest schema unsupported: expected schemaVersion 2, got {document.get('schemaVersion')!r}",
            hint="build and push the image anew with a current client",
        )
    if media_type in INDEX_TYPES:
        return Index(
            media_type=media_type,
            manifests=_descriptors(document, "manifests"),
            annotations=_annotations(document),
        )
    artifact_type = document.get("artifactType")
    return Manifest(
        media_type=media_type,
        artifact_type=artifact_type if isinstance(artifact_type, str) else None,
        config=_descriptor(document.get("config"), "config"),
        layers=_descriptors(document, "layers"),
        annotations=_annotations(document),
    )


def _agreed_media_type(document: dict[str, Any], content_type: str | None) -> str:
    has_index, has_image = "manifests" in document, "layers" in document or "config" in document
    if has_index and has_image:
        raise AmbiguousManifestError("manifest is ambiguous: it has layers and manifests")
    if "fsLayers" in document:
        raise InputError(
            "manifest schema unsupported: expected OCI or Docker schema 2, got Docker schema 1",
            hint="build and push the image anew with a current client",
        )
    inside = document.get("mediaType")
    if not isinstance(inside, str) and "mediaType" in document:  # null, too, is no type that was left out
        raise InputError("manifest is malformed: mediaType is not text")
    outside = content_type.partition(";")[0].strip(" \t").lower() if content_type else None
    if outside is not None and inside is not None and outside != inside:
        raise AmbiguousManifestError(f"manifest is ambiguous: its mediaType is {inside}, it was sent as {outside}")
    if inside == "":  # which is no type that was left out
        raise InputError("manifest is malformed: mediaType is empty")
    media_type = inside or outside or (OCI_INDEX if has_index else OCI_MANIFEST)
    if media_type not in MANIFEST_TYPES | INDEX_TYPES:
        raise InputError(
            f"manifest type unsupported: expected an image manifest or index, got {media_type[:100]!r}"
        )
    if (media_type in INDEX_TYPES) != has_index:
        raise AmbiguousManifestError(f"manifest is ambiguous: its fields do not fit its type {media_type}")
    return media_type


def _descriptors(document: dict[str, Any], key: str) -> tuple[Descriptor, ...]:
    values = document.get(key)
    if not isinstance(values, list):
        raise InputError(f"manifest is malformed: {key} is not a list")
    if len(values) > DESCRIPTORS_MAX:
        raise InputError(f"manifest has too many {key}: expected at most {DESCRIPTORS_MAX}, got {len(values)}")
    return tuple(_descriptor(value, key) for value in values)


def _descriptor(value: object, where: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InputError(f"manifest is malformed: {where} holds no descriptor")
    one_spelling(value, _OF_DESCRIPTOR, what="manifest", error=AmbiguousManifestError)
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str):
        raise InputError(f"manifest is malformed: a descriptor of {where} lacks mediaType or digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise InputError(f"manifest is malformed: a descriptor of {where} has size {size!r:.40}")
    return Descriptor(
        media_type=media_type,
        digest=parse_digest(digest),
        size_bytes=size,
        platform=_platform(value.get("platform")),
        annotations=_annotations(value),
    )


def _platform(value: object) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InputError("manifest is malformed: platform is no object")
    one_spelling(value, _OF_PLATFORM, what="manifest", error=AmbiguousManifestError)
    os, architecture, variant = value.get("os"), value.get("architecture"), value.get("variant")
    if not isinstance(os, str) or not isinstance(architecture, str):
        raise InputError("manifest is malformed: platform lacks os or architecture")
    return Platform(os=os, architecture=architecture, variant=variant if isinstance(variant, str) else None)


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    value = document.get("annotations") or {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise InputError("manifest is malformed: annotations are not a map of texts")
    return value
