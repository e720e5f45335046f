"""Owns OCI layouts written by hand: an image of a few layers, whose content is chosen by the figure."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trust.digest import parse_digest, sha256
from trust.manifest import OCI_INDEX, OCI_MANIFEST
from trust.roles import Image

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_REF_NAME = "org.opencontainers.image.ref.name"
_EXECUTABLE = 0o755
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_layout(directory: Path, layers: Sequence[bytes] = (), *, gzip_level: int = 1) -> Image:
    """Return the image that is now in the OCI layout ``directory`` under the tag ``v0``.

    ``layers`` are tar archives, the lowest first.
    """
    (directory / "blobs/sha256").mkdir(parents=True)
    machine = os.uname().machine
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(sha256(layer)) for layer in layers]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _put(directory, config, _CONFIG),
            "layers": [_put(directory, gzip.compress(layer, gzip_level, mtime=0), _LAYER) for layer in layers],
        }
    ).encode()
    descriptor = _put(directory, manifest, OCI_MANIFEST)
    index = {
        "schemaVersion": 2,
        "manifests": [{**descriptor, "annotations": {_REF_NAME: "v0"}}],
    }
    (directory / "index.json").write_text(json.dumps(index), "utf-8")
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', "utf-8")
    return Image(digest=sha256(manifest), size_bytes=len(manifest), media_type=OCI_MANIFEST)


def write_index_layout(directory: Path) -> None:
    """Have an OCI layout in ``directory`` whose tag ``v0`` is an index of four images without layers."""
    (directory / "blobs/sha256").mkdir(parents=True)
    children = []
    for architecture in ("amd64", "arm64", "riscv64", "s390x"):
        config = json.dumps(
            {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _put(directory, config.encode(), _CONFIG),
            "layers": [],
        }
        platform = {"architecture": architecture, "os": "linux"}
        children.append({**_put(directory, json.dumps(manifest).encode(), OCI_MANIFEST), "platform": platform})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
    named = {**_put(directory, json.dumps(index).encode(), OCI_INDEX), "annotations": {_REF_NAME: "v0"}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}), "utf-8")
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', "utf-8")


def manifest_in(directory: Path) -> bytes:
    """Return the manifest of the image in the OCI layout ``directory``."""
    index = json.loads((directory / "index.json").read_text("utf-8"))
    name = parse_digest(index["manifests"][0]["digest"])
    return (directory / "blobs/sha256" / name.hex).read_bytes()


def layer_of(programs: Mapping[str, Path], *, directories: Sequence[str]) -> bytes:
    """Return a tar archive of ``directories`` and executable ``programs``, by their path in the image."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in directories:
            archive.addfile(_entry(name, tarfile.DIRTYPE, 0))
        for name, program in programs.items():
            content = program.read_bytes()
            archive.addfile(_entry(name, tarfile.REGTYPE, len(content)), io.BytesIO(content))
    return out.getvalue()


def _entry(name: str, kind: bytes, size_bytes: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode = kind, size_bytes, _EXECUTABLE
    return entry


def _put(directory: Path, content: bytes, media_type: str) -> dict[str, Any]:
    """Return the descriptor of ``content``, which is now a blob of the layout."""
    digest = sha256(content)
    (directory / "blobs/sha256" / digest.hex).write_bytes(content)
    return {"mediaType": media_type, "digest": str(digest), "size": len(content)}
