"""Owns the writing of a tree as an EROFS image: one file that the kernel mounts, the same bytes for the same tree.

    block 0…       superblock at 1024, then the inodes, each with its attributes and, if it is short, its content
    after these    the content of longer files and directories, each from a block's beginning

Nothing is compressed: what is read is what was hashed. Directories and files alike are flat; a content that fits
behind its inode within one block stands there. Source: Linux ``fs/erofs/erofs_fs.h``, "EROFS On-disk Format".
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from trust.errors import StateError
from trust.runtime.disk import DIRECTORY_FLAGS
from trust.runtime.inventory import Attributes, Node, survey

BLOCK = 4096
_SUPER_AT = 1024
_MAGIC = 0xE0F5E1E2
_COMPAT_MTIME = 2
_FIRST_INODE_AT = _SUPER_AT + 128
_SLOT = 32
_PLAIN, _INLINE = 0 << 1 | 1, 2 << 1 | 1  # of 64-byte inodes
_INLINE_MAX_BYTES = 2048  # more would leave too much of a block empty

_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_INODE = struct.Struct("<HHHHQIIIIQII16x")
_DIRENT = struct.Struct("<QHBx")
_PREFIXES = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))
_TYPES = {stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5, stat.S_IFLNK: 7}

Content = Callable[[], Iterator[bytes]]


class _Inode:
    """One inode to be written; several names may be of it."""

    def __init__(self, node: Node) -> None:
        self.state = node.state
        self.attributes = _attributes(node.attributes)
        self.links = 2 if stat.S_ISDIR(node.state.st_mode) else 0
        self.children: dict[bytes, _Inode] = {}
        self.parent = self
        self.size = 0
        self.inline: bytes | None = None  # content that is known already
        self.at = 0
        self.block = 0

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.state.st_mode)

    @property
    def head_bytes(self) -> int:
        return _INODE.size + len(self.attributes)

    def pack(self, number: int) -> bytes:
        """Return the inode as it is stored, its attributes behind it."""
        count = (len(self.attributes) - 12) // 4 + 1 if self.attributes else 0
        state = self.state
        seconds, nanoseconds = divmod(state.st_mtime_ns, 10**9)
        head = _INODE.pack(
            _INLINE if self.inline else _PLAIN, count, state.st_mode, 0, self.size, self.block, number,
            state.st_uid, state.st_gid, seconds, nanoseconds, self.links,
        )  # fmt: skip
        return head + self.attributes


def write_image(tree: Path, out: int) -> bytes:
    """Have the unpacked ``tree`` as an EROFS image in the empty file ``out``.

    Returned are the records of the tree's inventory: of the very bytes that the image was made of.

    Raises:
        OSError: something cannot be read or written.
        StateError: the tree changes meanwhile.
    """
    writer = _Writer(out)
    root = os.open(tree, DIRECTORY_FLAGS)
    try:
        survey(root, writer.learn)
        writer.lay_out()
        records: list[bytes] = []

        def write(node: Node, content: Content) -> None:
            records.append(node.record(writer.write_content(node, content)))

        survey(root, write)
    finally:
        os.close(root)
    writer.write_metadata()
    return b"".join(records)


class _Writer:
    def __init__(self, out: int) -> None:
        self._out = out
        self._by_path: dict[bytes, _Inode] = {}
        self._by_number: dict[int, _Inode] = {}
        self._order: list[_Inode] = []
        self._blocks = 0

    def learn(self, node: Node, content: Content) -> None:
        """Take a node in; its content is read again later."""
        state = node.state
        inode = self._by_number.get(state.st_ino) if not stat.S_ISDIR(state.st_mode) else None
        if inode is None:
            inode = self._by_number[state.st_ino] = _Inode(node)
            self._order.append(inode)
            if not inode.is_directory:
                inode.size = state.st_size if stat.S_ISREG(state.st_mode) else sum(map(len, content()))
        self._by_path[node.path] = inode
        if not node.path:
            return
        above, _, name = node.path.rpartition(b"/")
        parent = self._by_path[above]
        parent.children[name] = inode
        if inode.is_directory:
            inode.parent = parent
            parent.links += 1
        else:
            inode.links += 1

    def lay_out(self) -> None:
        """Decide where everything is."""
        at = _FIRST_INODE_AT
        for inode in self._order:
            if inode.is_directory:
                inode.size = _directory_size([*inode.children, b".", b".."])
            is_inline = inode.size <= _INLINE_MAX_BYTES
            inode.inline = b"" if is_inline else None
            whole = inode.head_bytes + (inode.size if is_inline else 0)
            if at % BLOCK + whole > BLOCK:
                at = _aligned(at, BLOCK)
            inode.at = at
            at = _aligned(at + whole, _SLOT)
        block = _aligned(at, BLOCK) // BLOCK
        for inode in self._order:
            if inode.inline is None:
                inode.block = block
                block += _aligned(inode.size, BLOCK) // BLOCK
        self._blocks = max(block, 2)  # the smallest that has a hash tree
        os.ftruncate(self._out, self._blocks * BLOCK)

    def write_content(self, node: Node, content: Content) -> bytes:
        """Write what a file or link holds, and return its sha256; short ones wait for their inode."""
        inode = self._by_path.get(node.path)
        if inode is None or inode.state.st_ino != node.state.st_ino:
            raise StateError(f"unpacked image changes while it is read: {node.path[:200]!r}")
        if inode.is_directory:
            return node.content
        digest = hashlib.sha256()
        begin = at = inode.block * BLOCK
        pieces = []
        for piece in content():
            digest.update(piece)
            self._check_size(inode, at - begin + len(piece), node, is_whole=False)
            if inode.inline is None:
                self._write(piece, at)
            else:
                pieces.append(piece)
            at += len(piece)
        self._check_size(inode, at - begin, node)
        if inode.inline is not None:
            inode.inline = b"".join(pieces)
        return digest.digest()

    @staticmethod
    def _check_size(inode: _Inode, got: int, node: Node, *, is_whole: bool = True) -> None:
        if got > inode.size or (is_whole and got != inode.size):
            raise StateError(f"unpacked image changes while it is read: {node.path[:200]!r}")

    def write_metadata(self) -> None:
        """Write directories, inodes and, last, the superblock."""
        for number, inode in enumerate(self._order, 1):
            if inode.is_directory:
                content = _directory(inode)
                if inode.inline is None:
                    self._write(content, inode.block * BLOCK)
                else:
                    inode.inline = content
            self._write(inode.pack(number) + (inode.inline or b""), inode.at)
        superblock = _SUPER.pack(
            _MAGIC, 0, _COMPAT_MTIME, BLOCK.bit_length() - 1, 0, _FIRST_INODE_AT // _SLOT, len(self._order), 0, 0,
            self._blocks, 0, 0, b"", b"", 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
        self._write(superblock, _SUPER_AT)

    def _write(self, data: bytes, at: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._out, rest, at)
            rest, at = rest[written:], at + written


def _directory(inode: _Inode) -> bytes:
    """Return a directory's content: blocks of entries, sorted by name, each block's names behind its entries."""
    entries = {b".": inode, b"..": inode.parent, **inode.children}
    blocks = []
    for names in _divided(sorted(entries)):
        offset = len(names) * _DIRENT.size
        heads = []
        for name in names:
            state = entries[name].state
            heads.append(_DIRENT.pack(entries[name].at // _SLOT, offset, _TYPES[stat.S_IFMT(state.st_mode)]))
            offset += len(name)
        blocks.append(b"".join([*heads, *names]))
    return b"".join(block.ljust(BLOCK, b"\0") for block in blocks[:-1]) + blocks[-1]


def _directory_size(names: Iterable[bytes]) -> int:
    divided = list(_divided(sorted(names)))
    return (len(divided) - 1) * BLOCK + sum(_DIRENT.size + len(name) for name in divided[-1])


def _divided(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield as many of the names as one block takes, then the next."""
    taken: list[bytes] = []
    used = 0
    for name in names:
        if used + _DIRENT.size + len(name) > BLOCK:
            yield taken
            taken, used = [], 0
        taken.append(name)
        used += _DIRENT.size + len(name)
    yield taken


def _attributes(attributes: Attributes) -> bytes:
    """Return the attributes as they stand behind an inode; those of other name spaces no image has."""
    packed = b""
    for name, value in attributes:
        prefix, index = next(((prefix, index) for prefix, index in _PREFIXES if name.startswith(prefix)), (b"", 0))
        if not index:
            raise StateError(f"unpacked image has an attribute that none can bring: {name[:80]!r}")
        rest = name[len(prefix) :]
        entry = struct.pack("<BBH", len(rest), index, len(value)) + rest + value
        packed += entry.ljust(_aligned(len(entry), 4), b"\0")
    return bytes(12) + packed if packed else b""


def _aligned(number: int, unit: int) -> int:
    return -(-number // unit) * unit
