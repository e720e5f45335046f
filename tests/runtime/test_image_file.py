"""Image files: what the kernel and cryptsetup, which share no code with us, read of what we write."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.conftest import Workshop
from tests.runtime.images import Piece, directory, file, hard_link, image_bytes, layer, pulled, sha256_of, symlink
from trust.runtime.image_file import ImageFile, image_file
from trust.runtime.image_mounts import mounted
from trust.runtime.merkle import BLOCK, hash_tree, is_block, leaf_hashes
from trust.runtime.tier import Tier
from trust.runtime.unpack import unpack
from trust.runtime.verity_server import VerifiedFile

SALT = bytes(range(32))
CAPABILITY = bytes.fromhex("0000000200040000000000000000000000000000")
PIECES: tuple[Piece, ...] = (
    directory("./", 0o751),
    *(file(f"many/{number:04}-{'x' * (number % 200)}", b"y" * (number * 13 % 5000)) for number in range(600)),
    directory("empty", 0o1777),
    file("empty-file"),
    *(file(f"edge/{size}", os.urandom(size)) for size in (1, 2047, 2048, 2049, 4095, 4096, 4097, 70_000)),
    file("+before.dot", b"1"),
    file("owned", b"2", uid=65_537, gid=4_000_000_000, mode=0o4755),
    file("capable", b"3", pax={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin1")}),
    file("noted", b"4", pax={"SCHILY.xattr.user.note": "a" * 900}),
    hard_link("other-name", "owned"),
    symlink("short", "../x"),
    symlink("long", "a/" * 1500),
    Piece(name="fifo", kind=b"6", mode=0o620),
    file("d/" * 100 + "deep", b"5"),
)


def made(workshop: Workshop, *pieces: Piece) -> tuple[Path, ImageFile]:
    manifest = image_bytes(workshop.source, layer(*pieces))
    image = pulled(workshop.source, workshop.store, manifest)
    tree = unpack(image, store=workshop.store, home=workshop.home)
    return tree, image_file(tree, image.digest)


def listed(root: int) -> dict[str, object]:
    """Return everything in an open directory with all that a program can see of it."""
    found: dict[str, object] = {}
    for where, folders, files, fd in os.fwalk(".", dir_fd=root):
        for name in [*folders, *files, *([""] if where == "." else [])]:
            state = os.stat(name or ".", dir_fd=fd, follow_symlinks=False)
            content: object = None
            attributes = {}
            if stat.S_ISLNK(state.st_mode):
                content = os.readlink(name, dir_fd=fd)
            elif not stat.S_ISFIFO(state.st_mode):
                opened = os.open(name or ".", os.O_RDONLY, dir_fd=fd)
                content = (
                    os.pread(opened, 1 << 20, 0)
                    if stat.S_ISREG(state.st_mode)
                    else sorted(entry.name for entry in os.scandir(opened))
                )
                attributes = {key: os.getxattr(opened, key) for key in os.listxattr(opened)}
                os.close(opened)
            size = 0 if stat.S_ISDIR(state.st_mode) else state.st_size
            seen = (state.st_mode, state.st_uid, state.st_gid, state.st_nlink, state.st_mtime_ns, size)
            found[os.path.join(where, name)] = (seen, content, attributes)  # noqa: PTH118 - names, not paths
    return found


@contextmanager
def opened(where: Path | int) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY
    fd = os.open(where, flags) if isinstance(where, Path) else os.open(".", flags, dir_fd=where)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.root
@pytest.mark.parametrize("tier", [Tier.SEALED, Tier.FUSE_VERITY])
def test_kernel_reads_of_the_image_what_is_in_the_tree(workshop: Workshop, tier: Tier) -> None:
    tree, image = made(workshop, *PIECES)
    mount = mounted(image, tier)
    try:
        with opened(tree) as ours, opened(mount) as kernels:
            expected = listed(ours)
            assert listed(kernels) == expected
            assert len(expected) > 700
        with opened(mount) as kernels, pytest.raises(OSError, match="Read-only"):
            os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=kernels)
    finally:
        os.close(mount)


def test_same_tree_gives_the_same_image(workshop: Workshop, tmp_path: Path) -> None:
    _, one = made(workshop, *PIECES)
    _, other = made(workshop.at(tmp_path / "home2"), *PIECES)
    assert (one.digest, one.root) == (other.digest, other.root)
    assert sha256_of(one.path) == sha256_of(other.path) == one.digest.hex


def test_cryptsetup_reads_the_hash_tree_as_ours(workshop: Workshop) -> None:
    program = shutil.which("veritysetup")
    assert program is not None, "veritysetup is not on PATH: scripts/setup puts it there"
    _, image = made(workshop, *PIECES)

    def verify() -> subprocess.CompletedProcess[str]:
        words = ["--no-superblock", "--data-blocks", f"{image.blocks}", "--salt", image.salt.hex()]
        files = [str(image.path), str(image.tree_path), image.root.hex()]
        return subprocess.run([program, "verify", *words, *files], capture_output=True, text=True, check=False)

    assert verify().returncode == 0, verify().stderr
    with image.path.open("r+b") as changed:
        changed.seek(-5000, os.SEEK_END)
        changed.write(b"!")
    assert verify().returncode != 0


@settings(max_examples=25, deadline=None)
@given(blocks=st.one_of(st.integers(2, 300), st.sampled_from([128, 129, 16_384, 16_385])), data=st.data())
def test_every_block_is_checked_and_any_change_of_the_tree_is_seen(blocks: int, data: st.DataObject) -> None:
    content = bytearray(blocks * BLOCK)
    for number in range(blocks):
        content[number * BLOCK : number * BLOCK + 4] = number.to_bytes(4, "big")
    fd = os.memfd_create("test")
    try:
        os.write(fd, content)
        root, tree = hash_tree(fd, SALT)
        leaves = leaf_hashes(tree, blocks=blocks, salt=SALT, root=root)
        at = data.draw(st.integers(0, len(content) - 1))
        served = VerifiedFile(fd, blocks=blocks, leaves=leaves, salt=SALT)
        assert served.read(at, 10_000) == content[at : at + 10_000]
        os.pwrite(fd, bytes([content[at] ^ 1]), at)
        with pytest.raises(OSError, match="not what was recorded"):
            served.read(at, 1)
        assert not is_block(os.pread(fd, BLOCK, at // BLOCK * BLOCK), at // BLOCK, leaves=leaves, salt=SALT)
        changed = bytearray(tree)
        changed[data.draw(st.integers(0, len(tree) - 1))] ^= 1
        with pytest.raises(ValueError, match="hash tree"):
            leaf_hashes(bytes(changed), blocks=blocks, salt=SALT, root=root)
    finally:
        os.close(fd)


def test_image_that_was_begun_and_not_finished_is_made_anew(workshop: Workshop) -> None:
    tree, image = made(workshop, *PIECES)
    (tree.parent / "image.json").unlink()
    (tree.parent / ".image.partial").write_bytes(b"half")
    image.path.write_bytes(b"other")
    _, again = made(workshop, *PIECES)
    assert again == image
    assert sha256_of(image.path) == image.digest.hex
    assert not (tree.parent / ".image.partial").exists()
