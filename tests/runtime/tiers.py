"""An image to be held to a tier, and the ways to change what it was unpacked to."""

from __future__ import annotations

import os
from pathlib import Path

from tests.runtime.conftest import Runner
from tests.runtime.images import Piece, directory, file, hard_link, symlink
from trust.run import Ended
from trust.runtime.options import RunOptions
from trust.runtime.tier import Tier

ROOT = os.geteuid() == 0
IMAGE_TIERS = [Tier.SEALED, Tier.FUSE_VERITY]
BIG = bytes(range(256)) * 4096
PIECES: tuple[Piece, ...] = (
    directory("d", 0o755),
    file("d/f", b"as it was signed\n"),
    file("d/big", BIG),
    hard_link("d/g", "d/f"),
    symlink("d/l", "f"),
)


def run(runner: Runner, tier: Tier, script: str = "cat /d/f") -> int:
    options = RunOptions(command=("/bin/sh", "-c", script), is_removed_after=True, integrity=tier)
    ended = runner.run(runner.image(*PIECES), options)
    assert isinstance(ended, Ended)
    return ended.exit_status


def tree(runner: Runner) -> Path:
    [found] = (runner.workshop.home / "rootfs").glob("sha256/*/rootfs")
    return found


def flip(path: Path, at: int) -> None:
    """Change one bit, and nothing that a listing would show."""
    state = path.stat()
    with path.open("r+b") as changed:
        changed.seek(at)
        byte = changed.read(1)[0]
        changed.seek(at)
        changed.write(bytes([byte ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def block_of(path: Path, content: bytes) -> int:
    at = path.read_bytes().find(content)
    assert at >= 0
    return at
