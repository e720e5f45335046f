"""Owns the image file of an unpacked tree: EROFS, its hash tree beside it, and the record of both.

    image.erofs   image.verity   image.json

It is made when a tier first asks for it, of bytes that are held to the tree's inventory as they are read, and the
record is written last. What is recorded is what is expected ever after; who can write to ``TRUST_HOME`` can write
the record too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trust.digest import Digest, parse_digest
from trust.errors import InputError, StateError
from trust.runtime.disk import DIRECTORY_FLAGS, read_document, sync_file_system, write_document
from trust.runtime.erofs import write_image
from trust.runtime.inventory import inventory_header
from trust.runtime.merkle import BLOCK, hash_tree
from trust.runtime.unpack import compare_unpacked
from trust.value import dataclass

_IMAGE, _TREE, _RECORD = "image.erofs", "image.verity", "image.json"
_PARTIAL = ".image.partial"
_SCHEMA = 1
_READ_BYTES = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """An image file as it was made: ``digest`` of the whole, ``root`` of the hash tree, ``salt`` of each hash."""

    path: Path
    tree_path: Path
    digest: Digest
    blocks: int
    root: bytes
    salt: bytes

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Give the image file, open; whether it is still what it was is for the caller to check."""
        fd = os.open(self.path, _OPEN)
        try:
            if os.fstat(fd).st_size != self.blocks * BLOCK:
                raise StateError(f"image file has another size than when it was made: {self.path}")
            yield fd
        finally:
            os.close(fd)


def image_file(tree: Path, manifest: Digest) -> ImageFile:
    """Return the image file of an unpacked tree, made where there is none.

    Raises:
        RefusedError: ``tampered``; the tree is not what was unpacked.
        StateError: it cannot be read or written.
    """
    directory = tree.parent
    try:
        with _locked(directory):
            document = read_document(directory / _RECORD)
            if document is None:
                document = _made(tree, manifest)
    except OSError as err:
        raise StateError(f"image file cannot be made: {err.strerror or err}: {err.filename or directory}") from err
    try:
        return ImageFile(
            path=directory / _IMAGE,
            tree_path=directory / _TREE,
            digest=parse_digest(document["digest"]),
            blocks=int(document["blocks"]),
            root=bytes.fromhex(document["root"]),
            salt=bytes.fromhex(manifest.hex),
        )
    except (LookupError, TypeError, ValueError, InputError) as err:
        raise StateError(f"record {directory / _RECORD} is damaged: {err!r}") from err


def _made(tree: Path, manifest: Digest) -> dict[str, Any]:
    directory = tree.parent
    partial = directory / _PARTIAL
    partial.unlink(missing_ok=True)
    fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        compare_unpacked(tree, inventory_header(manifest) + write_image(tree, fd))
        digest = _digest(fd)
        root, hashes = hash_tree(fd, bytes.fromhex(manifest.hex))
        blocks = os.fstat(fd).st_size // BLOCK
    except BaseException:
        partial.unlink()
        raise
    finally:
        os.close(fd)
    (directory / _TREE).write_bytes(hashes)
    partial.replace(directory / _IMAGE)
    sync_file_system(directory)
    document = {"schema": _SCHEMA, "digest": str(digest), "blocks": blocks, "root": root.hex()}
    write_document(directory / _RECORD, document)
    return document


def _digest(fd: int) -> Digest:
    digest = hashlib.sha256()
    at = 0
    while data := os.pread(fd, _READ_BYTES, at):
        digest.update(data)
        at += len(data)
    return parse_digest(f"sha256:{digest.hexdigest()}")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    lock = os.open(directory, DIRECTORY_FLAGS)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
