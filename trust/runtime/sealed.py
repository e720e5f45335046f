"""Owns copies of image files in sealed memory: what is hashed there can be changed by nobody afterwards.

1. an anonymous file in memory, the image copied into it
2. sealed: no writing, no growing, no shrinking, no taking the seals away, for root neither
3. hashed, as it is now; and as it therefore stays

Source: memfd_create(2), fcntl(2) "File Sealing".
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from trust.digest import Digest
from trust.errors import LimitError, RefusedError

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_READ_BYTES = 1 << 20
_COPY_BYTES = 1 << 30
_MEMORY_SHARE = 2  # an image may take half of what is free, and never push the machine into swapping


def sealed_copy(image: int, expected: Digest, *, where: Path) -> int:
    """Return the descriptor of a sealed copy, open for reading, of the open file ``image``.

    Raises:
        RefusedError: ``tampered``; it is not the file that was recorded.
        LimitError: there is too little memory.
        OSError: the kernel refused.
    """
    size = os.fstat(image).st_size
    available = _available_bytes()
    if size > available // _MEMORY_SHARE:
        raise LimitError(
            f"image takes {size} bytes of memory to be sealed: expected at most half of the {available} available"
        )
    memory = os.memfd_create("trust-image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        at = 0
        while at < size and (copied := os.sendfile(memory, image, at, min(size - at, _COPY_BYTES))):
            at += copied
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        got = _hashed(memory)
        if got != expected.hex:
            raise RefusedError(
                f"image file was changed on this disk: expected {expected}, got sha256:{got}: {where}",
                reason="tampered",
                hint=f"find out who writes there; then remove {where.parent}, and the next run makes it anew",
            )
        return os.open(f"/proc/self/fd/{memory}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(memory)


def _hashed(memory: int) -> str:
    digest = hashlib.sha256()
    at = 0
    while data := os.pread(memory, _READ_BYTES, at):
        digest.update(data)
        at += len(data)
    return digest.hexdigest()


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_bytes().splitlines():
        if line.startswith(b"MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
