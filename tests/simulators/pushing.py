"""A publisher without trust: he pushes small images that every engine can run or unpack."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trust.deadline import Deadline, deadline_in
from trust.digest import Digest, sha256
from trust.manifest import DOCKER_MANIFEST, OCI_INDEX
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry

PATH = "acme/web"


def push_image(host: str, tag: str, content: str | bytes) -> Digest:
    """Return the digest of a new image, pushed as ``acme/web`` to the registry at ``host``.

    ``content`` is that of its one file, or its only layer, packed.
    """
    with _registry(host) as (registry, until):
        data = _image(registry, content, "amd64", until)
        return registry.put_manifest(PATH, tag, data, DOCKER_MANIFEST, deadline=until)


def push_index(host: str, tag: str, contents: Mapping[str, str | bytes]) -> Digest:
    """Return the digest of a new index over one image for each architecture; otherwise as ``push_image``."""
    entries = []
    with _registry(host) as (registry, until):
        for architecture, content in contents.items():
            data = _image(registry, content, architecture, until)
            registry.put_manifest(PATH, sha256(data), data, DOCKER_MANIFEST, deadline=until)
            platform = {"os": "linux", "architecture": architecture}
            entries.append({**_descriptor(DOCKER_MANIFEST, data), "platform": platform})
        index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
        return registry.put_manifest(PATH, tag, index, OCI_INDEX, deadline=until)


@contextmanager
def _registry(host: str) -> Iterator[tuple[Registry, Deadline]]:
    with Http(environ={}) as http:
        credentials = Credentials(environ={}, home=Path("/nonexistent"))
        yield Registry(host, http=http, credentials=credentials), deadline_in(60, time.monotonic)


def _image(registry: Registry, content: str | bytes, architecture: str, until: Deadline) -> bytes:
    """Return the manifest of an image whose blobs are in the registry now."""
    layer = _layer(content) if isinstance(content, str) else content
    rootfs = {"type": "layers", "diff_ids": [str(sha256(gzip.decompress(layer)))]}
    config = json.dumps({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    for blob in (layer, config):
        registry.push_blob(PATH, sha256(blob), blob, deadline=until)
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": _descriptor("application/vnd.docker.container.image.v1+json", config),
        "layers": [_descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
    }
    return json.dumps(manifest).encode()


def _layer(content: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("content")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(sha256(data)), "size": len(data)}
