"""A publisher without trust: he pushes a small image that every engine can run or unpack."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from pathlib import Path

from trust.deadline import deadline_in
from trust.digest import Digest, sha256
from trust.manifest import DOCKER_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry


def push_image(host: str, tag: str, content: str) -> Digest:
    """Return the digest of a new image of one file, pushed as ``acme/web`` to the registry at ``host``."""
    until = deadline_in(60, time.monotonic)
    with Http(environ={}) as http:
        registry = Registry(host, http=http, credentials=Credentials(environ={}, home=Path("/nonexistent")))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            member = tarfile.TarInfo("content")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
        layer = gzip.compress(packed.getvalue())
        rootfs = {"type": "layers", "diff_ids": [str(sha256(packed.getvalue()))]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
        for blob in (layer, config):
            registry.push_blob("acme/web", sha256(blob), blob, deadline=until)
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": _descriptor("application/vnd.docker.container.image.v1+json", config),
            "layers": [_descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
        }
        return registry.put_manifest(
            "acme/web", tag, json.dumps(manifest).encode(), DOCKER_MANIFEST, deadline=until
        )


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(sha256(data)), "size": len(data)}
