"""Writes an OCI layout of small images that can be pushed: each is one layer of one text."""

import hashlib
import json
from pathlib import Path

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def write_layout(directory: Path, tags: tuple[str, ...]) -> dict[str, str]:
    """Write an image for each of ``tags``; return their digests."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', "utf-8")

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}

    entries = []
    for tag in tags:
        layer = blob(tag.encode().ljust(1024, b"\0"), _LAYER)
        config = blob(json.dumps({"architecture": "amd64", "os": "linux", "tag": tag}).encode(), _CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": [layer]}
        entry = blob(json.dumps(manifest).encode(), _MANIFEST)
        entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag}})
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}), "utf-8")
    return {tag: str(entry["digest"]) for tag, entry in zip(tags, entries, strict=True)}
