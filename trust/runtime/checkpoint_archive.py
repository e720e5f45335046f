"""Owns the two archives of a snapshot: CRIU's small images, and what the container wrote to its root.

Both are tar, in the order of their names. The images are flat, regular files under names that are checked. The
writable layer is what every layer is, whiteouts included: the kernel's own marks of what was removed (a device
0:0, an attribute) become the names that image layers use, and marks again when it is unpacked.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from trust.errors import InputError, UnavailableError
from trust.runtime.files import FileWriter
from trust.runtime.tar import Kind, TarReader
from trust.runtime.tree import OPAQUE, WHITEOUT, Tree
from trust.runtime.walk import Root

_NAME = re.compile(rb"[a-z][a-zA-Z0-9.-]{0,60}", re.ASCII)
_OPAQUE_MARK = b"trusted.overlay.opaque"
_UNSUPPORTED_MARKS = ("trusted.overlay.redirect", "trusted.overlay.metacopy")
_READ_BYTES = 1 << 20
_IMAGES_MAX = 100_000


def pack_images(images: Path) -> Iterator[bytes]:
    """Yield the archive of every image in a directory but the pages."""
    for path in sorted(images.iterdir()):
        if path.name.startswith("pages-") or path.suffix != ".img":
            continue
        info = tarfile.TarInfo(path.name)
        info.size, info.mode = path.stat().st_size, 0o600
        yield from _entry(info, path)
    yield bytes(1024)


def unpack_images(chunks: Iterator[bytes], images: Path) -> None:
    """Have the images of an archive in a directory.

    Raises:
        InputError: it holds anything but files with the names of images.
    """
    tar = TarReader(chunks)
    for count, entry in enumerate(tar.entries()):
        if count > _IMAGES_MAX or len(entry.path) != 1 or entry.kind is not Kind.FILE:
            raise InputError(f"checkpoint is malformed: expected flat files, got {entry.path!r:.80}")
        if not _NAME.fullmatch(entry.path[0]) or entry.path[0].startswith(b"pages-"):
            raise InputError(f"checkpoint is malformed: no image has the name {entry.path[0]!r:.80}")
        with (images / os.fsdecode(entry.path[0])).open("xb") as file:
            for piece in tar.body():
                file.write(piece)


def pack_upper(upper: Path) -> Iterator[bytes]:
    """Yield the layer that a container has written; nothing writes to it meanwhile.

    Raises:
        UnavailableError: it has what no layer can say.
    """
    links: dict[tuple[int, int], str] = {}
    yield from _packed(upper, "", links)
    yield bytes(1024)


def unpack_upper(chunks: Iterator[bytes], upper: Path) -> None:
    """Have in the empty directory ``upper``, of an overlay, what the layer says.

    Raises:
        InputError: it contradicts itself, or leads out.
    """
    removed_path = upper.with_name("removed")
    removed_path.mkdir()
    try:
        with Root(upper) as root, Root(removed_path) as removed:
            _fill(root, removed, TarReader(chunks))
    finally:
        with suppress(OSError):
            removed_path.rmdir()


def _fill(root: Root, removed: Root, tar: TarReader) -> None:
    marks = []
    with FileWriter(privileged=True) as writer:
        tree = Tree(root, removed=removed, privileged=True, writer=writer)
        for entry in tar.entries():
            if entry.path and entry.path[-1].startswith(WHITEOUT):
                marks.append(entry.path)
            else:
                tree.add(entry, tar.body())
        for path in marks:
            _mark(root, path)
        tree.finish()


def _mark(root: Root, path: tuple[bytes, ...]) -> None:
    """Have the kernel's own mark where the layer has a whiteout."""
    place = root.exact(path[:-1])
    if place is None:
        raise InputError(f"checkpoint is malformed: a whiteout stands where no directory is: {path!r:.80}")
    with place:
        if path[-1] == OPAQUE:
            os.setxattr(place.fd, _OPAQUE_MARK, b"y")
            return
        name = path[-1][len(WHITEOUT) :]
        if name in (b"", b".", b".."):
            raise InputError(f"checkpoint is malformed: a whiteout of no name: {path!r:.80}")
        try:
            os.mknod(name, stat.S_IFCHR | 0o000, os.makedev(0, 0), dir_fd=place.fd)
        except FileExistsError as err:
            raise InputError(f"checkpoint is malformed: both there and removed: {path!r:.80}") from err


def _packed(directory: Path, prefix: str, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    info, xattrs = _info(prefix or "./", directory)
    yield from _entry(info, None, xattrs)
    if _OPAQUE_MARK.decode() in os.listxattr(directory, follow_symlinks=False):
        yield from _entry(_plain(f"{prefix}{OPAQUE.decode()}"), None)
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        state, name, path = entry.stat(follow_symlinks=False), f"{prefix}{entry.name}", Path(entry.path)
        if stat.S_ISDIR(state.st_mode):
            yield from _packed(path, f"{name}/", links)
        elif stat.S_ISCHR(state.st_mode) and state.st_rdev == 0:
            yield from _entry(_plain(f"{prefix}{WHITEOUT.decode()}{entry.name}"), None)
        elif stat.S_ISREG(state.st_mode) or stat.S_ISLNK(state.st_mode) or stat.S_ISFIFO(state.st_mode):
            yield from _leaf(path, name, state, links)
        # Sockets are made by those that listen on them, devices by nobody.


def _leaf(path: Path, name: str, state: os.stat_result, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    info, xattrs = _info(name, path)
    first = links.setdefault((state.st_dev, state.st_ino), name) if state.st_nlink > 1 else name
    if first != name:
        info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
        yield from _entry(info, None)
    elif stat.S_ISREG(state.st_mode):
        info.size = state.st_size
        yield from _entry(info, path, xattrs)
    else:
        yield from _entry(info, None, xattrs)


def _info(name: str, path: Path) -> tuple[tarfile.TarInfo, dict[str, bytes]]:
    state = path.lstat()
    info = tarfile.TarInfo(name.rstrip("/") or ".")
    info.mode, info.uid, info.gid = stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid
    info.mtime = state.st_mtime_ns // 10**9
    if stat.S_ISDIR(state.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(state.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
    elif stat.S_ISFIFO(state.st_mode):
        info.type = tarfile.FIFOTYPE
    xattrs = {}
    for key in os.listxattr(path, follow_symlinks=False):
        if key in _UNSUPPORTED_MARKS:
            raise UnavailableError(
                f"checkpoint cannot be made: the kernel keeps {name[:80]} as a reference ({key})"
            )
        if key == "security.capability" or key.startswith("user."):
            xattrs[key] = os.getxattr(path, key, follow_symlinks=False)
    return info, xattrs


def _plain(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = 0o000
    return info


def _entry(info: tarfile.TarInfo, path: Path | None, xattrs: dict[str, bytes] | None = None) -> Iterator[bytes]:
    # tarfile spells PAX values as UTF-8 with what was no text kept as surrogates: these records are ours.
    info.pax_headers = {
        f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape") for key, value in (xattrs or {}).items()
    }
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if path is not None:
        left = info.size
        with path.open("rb") as file:
            while left:
                piece = file.read(min(left, _READ_BYTES))
                if not piece:
                    raise UnavailableError(f"checkpoint cannot be made: {info.name[:80]} became shorter")
                left -= len(piece)
                yield piece
        yield bytes(-info.size % tarfile.BLOCKSIZE)
