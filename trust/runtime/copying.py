"""Owns the copying of trees: for containers where the kernel gives no overlay to whoever runs them.

The kernel copies the content, or shares it until it is written to where the file system can. Both trees are this
user's and nothing runs in them meanwhile. Kept are owners (for root), modes, times, attributes and hard links.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SOURCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_BYTES = 1 << 30
_BUFFER_BYTES = 1 << 20
_NO_KERNEL_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


def copy_tree(source: Path, target: Path) -> None:
    """Have at ``target``, which is not there yet, what is in the directory ``source``.

    Raises:
        OSError: something cannot be read or written.
    """
    target.mkdir(mode=0o700)
    source_fd, target_fd = os.open(source, _DIRECTORY), os.open(target, _DIRECTORY)
    try:
        _Copy(target_fd).directory(source_fd, target_fd, b"")
    finally:
        os.close(source_fd)
        os.close(target_fd)


class _Copy:
    def __init__(self, target_root: int) -> None:
        self._target_root = target_root
        self._is_root = os.geteuid() == 0
        self._links: dict[tuple[int, int], bytes] = {}

    def directory(self, source: int, target: int, path: bytes) -> None:
        """Copy what is in an open directory, then its attributes."""
        with os.scandir(source) as found:
            entries = list(found)
        for entry in entries:
            name = os.fsencode(entry.name)
            state = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode):
                self._subdirectory(source, target, name, path)
            elif not self._linked(target, name, state, path):
                self._file(source, target, name, state)
        self._dress(source, target, os.fstat(source))

    def _subdirectory(self, source: int, target: int, name: bytes, path: bytes) -> None:
        os.mkdir(name, 0o700, dir_fd=target)
        inner_source = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            inner_target = os.open(name, _DIRECTORY, dir_fd=target)
            try:
                self.directory(inner_source, inner_target, path + name + b"/")
            finally:
                os.close(inner_target)
        finally:
            os.close(inner_source)

    def _linked(self, target: int, name: bytes, state: os.stat_result, path: bytes) -> bool:
        """Make another name of a file that was copied already; tell whether it was."""
        if state.st_nlink == 1:
            return False
        first = self._links.setdefault((state.st_dev, state.st_ino), path + name)
        if first == path + name:
            return False
        os.link(first, name, src_dir_fd=self._target_root, dst_dir_fd=target, follow_symlinks=False)
        return True

    def _file(self, source: int, target: int, name: bytes, state: os.stat_result) -> None:
        if stat.S_ISREG(state.st_mode):
            source_fd = os.open(name, _SOURCE, dir_fd=source)
            try:
                target_fd = os.open(name, _NEW, 0o600, dir_fd=target)
                try:
                    copy_content(source_fd, target_fd, state.st_size)
                    self._dress(source_fd, target_fd, state)
                finally:
                    os.close(target_fd)
            finally:
                os.close(source_fd)
            return
        if stat.S_ISLNK(state.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:  # an unpacked tree has nothing else but fifos
            os.mkfifo(name, 0o600, dir_fd=target)
            os.chmod(name, stat.S_IMODE(state.st_mode), dir_fd=target)
        if self._is_root:
            os.chown(name, state.st_uid, state.st_gid, dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=(state.st_atime_ns, state.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _dress(self, source: int, target: int, state: os.stat_result) -> None:
        if self._is_root:
            os.fchown(target, state.st_uid, state.st_gid)
        os.fchmod(target, stat.S_IMODE(state.st_mode))
        for name in os.listxattr(source):
            with suppress(OSError):  # not every file system stores them
                os.setxattr(target, name, os.getxattr(source, name))
        os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))


def copy_content(source: int, target: int, size: int) -> None:
    """Have ``target`` hold the ``size`` bytes of ``source``, no more and no fewer.

    Raises:
        OSError: they cannot be read or written; or ``source`` is shorter or longer, so that somebody changes it.
    """
    if not _by_the_kernel(source, target, size):
        os.lseek(source, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
        os.lseek(target, 0, os.SEEK_SET)
        while piece := os.read(source, _BUFFER_BYTES):
            view = memoryview(piece)
            while view:
                view = view[os.write(target, view) :]
    for name, fd in (("source", source), ("copy", target)):
        got = os.fstat(fd).st_size
        if got != size:
            raise OSError(errno.EIO, f"{name} of a file has another size: expected {size} bytes, got {got}")


def _by_the_kernel(source: int, target: int, size: int) -> bool:
    """Copy where the kernel can; tell whether it did: of some file systems it copies nothing, without an error."""
    left = size
    try:
        while left > 0:
            copied = os.copy_file_range(source, target, min(left, _PIECE_BYTES))
            if copied == 0:
                return False
            left -= copied
    except OSError as err:
        if err.errno not in _NO_KERNEL_COPY or left != size:
            raise
        return False
    return True
