"""Large files are hashed in threads, and nothing of that is seen but the time."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.runtime.conftest import Workshop
from tests.runtime.images import file, layer
from trust.digest import parse_digest
from trust.errors import RefusedError
from trust.runtime.hashing import Hashers
from trust.runtime.unpack import check_unpacked

SIZES = (0, 1, 70_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000)


def test_digests_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    contents = [os.urandom(size) for size in SIZES] * 20
    with Hashers() as hashers:
        for number, content in enumerate(contents):
            (tmp_path / f"{number}").write_bytes(content)
            fd = os.open(tmp_path / f"{number}", os.O_RDONLY)
            hashers.add(fd, len(content))
            os.close(fd)
    assert hashers.digests == [hashlib.sha256(content).digest() for content in contents]


def test_file_that_cannot_be_read_is_an_error_and_leaves_no_descriptor(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    before = len(list(Path("/proc/self/fd").iterdir()))

    def hash_all() -> None:
        with Hashers() as hashers:
            for _ in range(50):
                hashers.add(fd, 1)

    with pytest.raises(IsADirectoryError):
        hash_all()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(fd)


@pytest.mark.parametrize("at", [0, 99_999, 2_999_999])
def test_changed_byte_of_a_large_file_is_found(workshop: Workshop, at: int) -> None:
    large = bytearray(os.urandom(3_000_000))
    root = workshop.unpack(layer(file("a", b"x" * 100_000), file("large", bytes(large)), file("z", b"small")))
    manifest = parse_digest("sha256:" + root.parent.name)
    check_unpacked(root, manifest)
    large[at] ^= 1
    (root / "large").write_bytes(large)
    with pytest.raises(RefusedError, match="/large has another content"):
        check_unpacked(root, manifest)
