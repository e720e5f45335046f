"""What the tests of a layout lay in it, and how they look at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from trust.digest import sha256
from trust.manifest import OCI_MANIFEST, Descriptor, Platform

CONTENT = os.urandom(300_000)
DIGEST = sha256(CONTENT)
MANIFEST = b'{"schemaVersion": 2}'


def pieces(content: bytes = CONTENT) -> Iterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


def described(content: bytes, platform: Platform | None = None) -> Descriptor:
    return Descriptor(
        media_type=OCI_MANIFEST,
        digest=sha256(content),
        size_bytes=len(content),
        platform=platform,
        annotations={"a": "b"},
    )


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
