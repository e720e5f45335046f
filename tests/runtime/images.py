"""Images made by hand: layers of any tar entries, configurations, an OCI layout, and the verdict on it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shlex
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from trust.deadline import Deadline, deadline_in
from trust.digest import Digest, sha256
from trust.manifest import OCI_INDEX, OCI_MANIFEST, Platform
from trust.oci.layout import Layout
from trust.reference import parse_reference
from trust.runtime.bundle import Caller
from trust.runtime.content import Image, machine_platform, pull
from trust.runtime.host import Host
from trust.runtime.source import LayoutSource
from trust.verdict import Allowed

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
LATER = datetime(2027, 1, 1, tzinfo=timezone.utc)
MTIME = 1_600_000_000
HERE = machine_platform(os.uname().machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One entry of a layer; ``head`` changes what the writer would say of it, ``pax`` its extended header."""

    name: str
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = MTIME
    device: tuple[int, int] = (0, 0)
    pax: Mapping[str, str] = field(default_factory=dict)

    def info(self) -> tarfile.TarInfo:
        info = tarfile.TarInfo(self.name)
        info.type, info.size, info.linkname = self.kind, len(self.content), self.link
        info.mode, info.uid, info.gid, info.mtime = self.mode, self.uid, self.gid, self.mtime
        info.devmajor, info.devminor = self.device
        info.pax_headers = dict(self.pax)
        return info


def file(name: str, content: bytes = b"", **more: Any) -> Piece:
    return Piece(name=name, content=content, **more)


def directory(name: str, mode: int = 0o755, **more: Any) -> Piece:
    return Piece(name=name, kind=tarfile.DIRTYPE, mode=mode, **more)


def symlink(name: str, link: str, **more: Any) -> Piece:
    return Piece(name=name, kind=tarfile.SYMTYPE, link=link, mode=0o777, **more)


def hard_link(name: str, link: str) -> Piece:
    return Piece(name=name, kind=tarfile.LNKTYPE, link=link)


def tar(*pieces: Piece, encoding: int = tarfile.PAX_FORMAT) -> bytes:
    """Return an archive of ``pieces``; Python's own ``tarfile`` writes it, which is not what reads it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=encoding) as archive:
        for piece in pieces:
            archive.addfile(piece.info(), io.BytesIO(piece.content))
    return out.getvalue()


def raw_entry(
    name: bytes, *, kind: bytes = b"0", content: bytes = b"", size: int | None = None, link: bytes = b""
) -> bytes:
    """Return one ustar entry with a right checksum, whatever else is wrong with it."""
    head = bytearray(512)
    head[0 : len(name)] = name
    head[100:108], head[108:116], head[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    head[124:136] = b"%011o\0" % (len(content) if size is None else size)
    head[136:148], head[148:156] = b"%011o\0" % MTIME, b" " * 8
    head[156:157] = kind
    head[157 : 157 + len(link)] = link
    head[257:265] = b"ustar\00000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content + bytes(-len(content) % 512)


def pax_records(*parts: Mapping[str, bytes]) -> bytes:
    """Return the entry that sets the records of all ``parts`` for the one after it."""
    body = b""
    for key, value in (record for records in parts for record in records.items()):
        rest = b" " + key.encode() + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        body += b"%d" % length + rest
    return raw_entry(b"pax", kind=b"x", content=body)


END = bytes(1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer as it is stored, and the digest of its content."""

    blob: bytes
    diff_id: Digest
    media_type: str = LAYER_TYPE


def layer(*pieces: Piece) -> Layer:
    return layer_of(tar(*pieces))


def layer_of(content: bytes, *, blob: bytes | None = None) -> Layer:
    stored = gzip.compress(content, 1, mtime=0) if blob is None else blob
    return Layer(blob=stored, diff_id=sha256(content))


def put(layout: Layout, content: bytes) -> Digest:
    digest = sha256(content)
    layout.add_blob([content], digest, len(content))
    return digest


def descriptor(layout: Layout, content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(put(layout, content)), "size": len(content), **more}


def image_bytes(
    layout: Layout, *layers: Layer, config: Mapping[str, Any] | None = None, platform: Platform = HERE, **more: Any
) -> bytes:
    """Have an image in ``layout``; return its manifest. ``more`` replaces fields of its configuration."""
    document: dict[str, Any] = {
        "os": platform.os,
        "architecture": platform.architecture,
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [str(one.diff_id) for one in layers]},
        **more,
    }
    if platform.variant:
        document["variant"] = platform.variant
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(layout, json.dumps(document).encode(), CONFIG_TYPE),
        "layers": [descriptor(layout, one.blob, one.media_type) for one in layers],
    }
    data = json.dumps(manifest).encode()
    put(layout, data)
    return data


def index_bytes(layout: Layout, children: Iterable[tuple[bytes, Mapping[str, str] | None]]) -> bytes:
    """Have an index of manifests, each with the platform it names, in ``layout``; return it."""
    entries = []
    for data, platform in children:
        entry = descriptor(layout, data, OCI_MANIFEST)
        if platform is not None:
            entry["platform"] = dict(platform)
        entries.append(entry)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    data = json.dumps(document).encode()
    put(layout, data)
    return data


def allowed(manifest: bytes, *, valid_until: datetime = LATER) -> Allowed:
    return Allowed(
        reference=parse_reference("registry.example.com/acme/web:1.4"),
        digest=sha256(manifest),
        size_bytes=len(manifest),
        role="targets",
        signers=("k",),
        versions={"root": 1},
        valid_until=valid_until,
    )


def deadline() -> Deadline:
    return deadline_in(30.0, lambda: 0.0)


def vetted(_digest: Digest) -> None:
    """Have nothing against a child of an index."""


def pulled(source: Layout, store: Layout, manifest: bytes, platform: Platform = HERE) -> Image:
    return pull(
        allowed(manifest),
        platform=platform,
        source=LayoutSource(layout=source),
        store=store,
        deadline=deadline(),
        vet=vetted,
    )


def busybox() -> bytes:
    """Return the program; where PATH has a launcher of it, what that launches."""
    found = shutil.which("busybox")
    assert found is not None, "busybox is not on PATH: scripts/setup puts it there"
    program = Path(found).read_bytes()
    if program.startswith(b"#!"):
        words = shlex.split(program.decode())
        program = Path(words[words.index("$@") - 1]).read_bytes()
    assert program.startswith(b"\x7fELF")
    return program


@cache
def busybox_layer() -> Layer:
    """Return a layer with a shell, its programs and two users."""
    names = (
        "sh id cat ls true false sleep pwd env hostname touch mount mkdir ln chmod test grep head wc nc ip kill"
    )
    links = [symlink(f"bin/{name}", "busybox") for name in names.split()]
    return layer(
        directory("bin"),
        file("bin/busybox", busybox(), mode=0o755),
        *links,
        directory("etc"),
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/srv:/bin/sh\n"),
        file("etc/group", b"root:x:0:\nweb:x:102:\nlogs:x:103:web\n"),
        directory("tmp", 0o1777),
    )


def host(home: Path) -> Host:
    return Host(
        home=home,
        caller=Caller(uid=os.geteuid(), gid=os.getegid()),
        platform=HERE,
        environ=os.environ,
        resolver=b"nameserver 192.0.2.1\n",
    )


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
