"""Builds the web application's image: Caddy's static binary in one layer, its pages in another. Pure."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.keynote.plain import MANIFEST, digest_of

CADDY = "usr/bin/caddy"
CADDYFILE = "etc/caddy/Caddyfile"
PAGE = "srv/index.html"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MOUNT_POINTS = ("dev", "proc", "sys", "tmp", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer as it is pushed, and the digest of the archive inside."""

    data: bytes
    diff_id: str

    @property
    def digest(self) -> str:
        """The digest under which a registry has it."""
        return digest_of(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image ready to be pushed."""

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)

    @property
    def own_digests(self) -> tuple[str, ...]:
        """What only this image has: manifest, configuration and the layer of its pages."""
        return (self.digest, digest_of(self.config), self.layers[-1].digest)


def program_layer(caddy: bytes) -> Layer:
    """The layer that every version shares: the program, and the mount points a runtime wants."""
    return _layer({CADDY: (caddy, 0o755)}, folders=_MOUNT_POINTS)


def image(program: Layer, *, page: str, caddyfile: str, architecture: str) -> Image:
    """The image that serves ``page`` by ``caddyfile``; its process listens on ``127.0.0.1:$PORT``."""
    pages = _layer({CADDYFILE: (caddyfile.encode(), 0o644), PAGE: (page.encode(), 0o644)})
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": [f"/{CADDY}", "run", "--config", f"/{CADDYFILE}", "--adapter", "caddyfile"],
            "Env": ["PATH=/usr/bin", "HOME=/tmp", "XDG_CONFIG_HOME=/tmp", "XDG_DATA_HOME=/tmp", "PORT=8080"],
            "WorkingDir": "/srv",
        },
        "rootfs": {"type": "layers", "diff_ids": [program.diff_id, pages.diff_id]},
    }
    config_bytes = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": digest_of(config_bytes), "size": len(config_bytes)},
        "layers": [
            {"mediaType": _LAYER, "digest": layer.digest, "size": len(layer.data)} for layer in (program, pages)
        ],
    }
    return Image(manifest=json.dumps(manifest).encode(), config=config_bytes, layers=(program, pages))


def _layer(files: Mapping[str, tuple[bytes, int]], *, folders: tuple[str, ...] = ()) -> Layer:
    buffer = io.BytesIO()
    parents = {"/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted({*folders, *parents}):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    raw = buffer.getvalue()
    return Layer(data=gzip.compress(raw, 1, mtime=0), diff_id=digest_of(raw))
