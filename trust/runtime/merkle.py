"""Owns hash trees over image files, in the form that the kernel's dm-verity reads (version 1, sha256, no header).

Each block of 4096 bytes is hashed behind a salt; 128 hashes make a block of the level above, until one block is
left, whose hash is the root. The file has the highest level first. The salt is the digest of the image's manifest:
a tree is of one image. Standard library only: the server that checks each read must start at once. Source: Linux
``Documentation/admin-guide/device-mapper/verity.rst``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

BLOCK = 4096
_DIGEST_BYTES = 32
_READ_BYTES = 256 * BLOCK


def hash_tree(data: int, salt: bytes) -> tuple[bytes, bytes]:
    """Return the root hash of the open file ``data``, and its tree; the file has whole blocks, at least two."""
    level = _packed(_hashes(_blocks_of(data), salt))
    levels = [level]
    while len(level) > BLOCK:
        level = _packed(_hashes(_split(level), salt))
        levels.append(level)
    return _hash(level, salt), b"".join(reversed(levels))


def leaf_hashes(tree: bytes, *, blocks: int, salt: bytes, root: bytes) -> bytes:
    """Return the hashes of a file's blocks, one behind the other, out of a tree that has this root.

    Raises:
        ValueError: it has another.
    """
    sizes = []
    count = blocks
    while count > 1:
        count = -(-count * _DIGEST_BYTES // BLOCK)
        sizes.append(count * BLOCK)
    expected, at = root, 0
    for size in reversed(sizes):
        level = tree[at : at + size]
        found = b"".join(_hashes(_split(level), salt))
        if len(level) != size or found != expected[: len(found)]:
            raise ValueError("the hash tree is not the one that was recorded")
        expected, at = level, at + size
    return expected[: blocks * _DIGEST_BYTES]


def is_block(data: bytes, number: int, *, leaves: bytes, salt: bytes) -> bool:
    """Tell whether ``data`` is the block ``number`` of the file with these hashes."""
    at = number * _DIGEST_BYTES
    return _hash(data, salt) == leaves[at : at + _DIGEST_BYTES]


def _hash(block: bytes, salt: bytes) -> bytes:
    return hashlib.sha256(salt + block).digest()


def _hashes(blocks: Iterable[bytes], salt: bytes) -> Iterator[bytes]:
    salted = hashlib.sha256(salt)
    for block in blocks:
        one = salted.copy()
        one.update(block)
        yield one.digest()


def _packed(hashes: Iterable[bytes]) -> bytes:
    level = b"".join(hashes)
    return level + bytes(-len(level) % BLOCK)


def _split(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), BLOCK):
        yield data[at : at + BLOCK]


def _blocks_of(data: int) -> Iterator[bytes]:
    at = 0
    while piece := os.pread(data, _READ_BYTES, at):
        at += len(piece)
        yield from _split(piece)
