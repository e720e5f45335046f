"""Owns the null device that a container of crun gets in place of the host's.

crun gives whatever it finds at standard input and output to the container's user, so that root of a container
with ids of its own became the owner of the host's ``/dev/null``, and could close it to the whole machine; runc
leaves its owner. What stands in its place is a device on a file system in memory that no path leads to; it is
gone with the last descriptor of it.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from trust.runtime.engine import Streams
from trust.runtime.mounts import device_mount
from trust.value import replace

_NULL = os.makedev(1, 3)
_NAME = "null"


@contextmanager
def without_the_hosts_null(streams: Streams) -> Iterator[Streams]:
    """Give ``streams`` in which a null device of their own stands for the host's; it takes root.

    Raises:
        OSError: the kernel refused one.
    """
    given = {"stdin": streams.stdin, "stdout": streams.stdout, "stderr": streams.stderr}
    affected = [name for number, (name, stream) in enumerate(given.items()) if _is_null(stream, number)]
    if not affected:
        yield streams
        return
    null = _own_null()
    try:
        yield replace(streams, **dict.fromkeys(affected, null))
    finally:
        os.close(null)


def _is_null(stream: int | IO[bytes] | None, own: int) -> bool:
    if stream == subprocess.DEVNULL:
        return True
    descriptor = own if stream is None else stream if isinstance(stream, int) else stream.fileno()
    try:
        status = os.fstat(descriptor)
    except OSError:  # closed: the engine finds it so
        return False
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


def _own_null() -> int:
    mount = device_mount()
    try:
        os.mknod(_NAME, stat.S_IFCHR | 0o666, _NULL, dir_fd=mount)
        return os.open(_NAME, os.O_RDWR | os.O_CLOEXEC, dir_fd=mount)
    finally:
        os.close(mount)
