"""Owns the changes that wait for signatures in a registry: one artifact for each, ``_trust-pending.<role>``.

An artifact without a layer says that nothing waits: many registries delete no tag. A registry neither excludes
nor notices two writers, so what waits is compared before the tag is moved and read back after it. Of two writers
within that moment the later one's change waits, and the earlier one is told so only if his was replaced before he
read it back. An approval can so be lost, visibly: it is given again. Nothing that was published can.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.errors import ConflictError, InputError, UnreachableError
from trust.manifest import OCI_MANIFEST, Descriptor, Index, parse_manifest
from trust.oci.registry import NotModified, Registry
from trust.stores.artifact import EMPTY, EMPTY_TYPE, FILE_TYPE
from trust.stores.interface import checked_pending, is_pending_name, require_pending_size
from trust.stores.registry_view import Place

ARTIFACT_TYPE = "application/vnd.content-trust.pending.v1"


class RegistryPending:
    """The changes that wait beside the metadata of one place."""

    def __init__(self, url: str, registry: Registry, place: Place) -> None:
        self._url = url
        self._registry = registry
        self._path = place.path
        self._prefix = f"{place.tag}-pending."

    def read(self, deadline: Deadline) -> dict[str, bytes]:
        """Return what waits; see ``Store.pending``."""
        waiting: dict[str, bytes] = {}
        size_bytes = 0
        for name in self._names(deadline):
            layer = self._layer(name, deadline)
            if layer is not None:
                size_bytes += layer.size_bytes
                require_pending_size(len(waiting) + 1, size_bytes, self._url)
                waiting[name] = self._content(layer, deadline)
        return waiting

    def set(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        """Compare, move the tag, read back; see ``Store.set_pending``."""
        tag = f"{self._prefix}{checked_pending(name, data)}"
        self._require(name, replaces, deadline)
        if data == replaces:
            return
        if data is None and self._registry.delete_tag(self._path, tag, deadline=deadline):
            return
        contents = [EMPTY] if data is None else [EMPTY, data]
        for content in contents:
            self._registry.push_blob(self._path, sha256(content), content, deadline=deadline)
        self._registry.put_manifest(self._path, tag, _artifact(name, data), OCI_MANIFEST, deadline=deadline)
        self._require(name, data, deadline)

    def _names(self, deadline: Deadline) -> Iterator[str]:
        for tag in self._registry.tags(self._path, deadline=deadline):
            name = tag.removeprefix(self._prefix)
            if tag.startswith(self._prefix) and is_pending_name(name):
                yield name

    def _require(self, name: str, expected: bytes | None, deadline: Deadline) -> None:
        """Return if ``expected`` is what waits: by its digest, so that nothing is fetched to be compared."""
        layer = self._layer(name, deadline)
        found: Digest | None = layer.digest if layer else None
        if found != (None if expected is None else sha256(expected)):
            raise ConflictError(f"the change of {name} that waits in {self._url} is another one by now")

    def _layer(self, name: str, deadline: Deadline) -> Descriptor | None:
        """Return where the change is; a malformed artifact, which anybody with a login can push, is no change."""
        fetched = self._registry.manifest(self._path, f"{self._prefix}{name}", deadline=deadline)
        if fetched is None:
            return None
        if isinstance(fetched, NotModified):
            raise UnreachableError(f"the registry answered 'not modified' to nobody's question: {self._url}")
        try:
            manifest = parse_manifest(fetched.untrusted_bytes)
        except InputError:
            return None
        if isinstance(manifest, Index) or manifest.artifact_type != ARTIFACT_TYPE or len(manifest.layers) != 1:
            return None
        return manifest.layers[0]

    def _content(self, layer: Descriptor, deadline: Deadline) -> bytes:
        require_pending_size(1, layer.size_bytes, self._url)
        return self._registry.blob_bytes(self._path, layer.digest, layer.size_bytes, deadline=deadline)


def _artifact(name: str, data: bytes | None) -> bytes:
    layer = {"mediaType": FILE_TYPE, "digest": str(sha256(data or b"")), "size": len(data or b"")}
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": str(sha256(EMPTY)), "size": len(EMPTY)},
        "layers": [] if data is None else [layer],
        "annotations": {"dev.content-trust.pending": name},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
