"""Owns mounts that are nowhere: made by the kernel, seen by nobody, until they are put where one container looks.

A mount that was put nowhere is gone with the last descriptor of it, one that was put into a container's mount
namespace with the last process there: no end of ours, however sudden, leaves one behind. The same holds for the
loop devices below them. All of it takes root. Source: fsopen(2), fsmount(2), move_mount(2), loop(4).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432  # the same on every machine
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_READ_ONLY, _NO_SET_ID, _NO_DEVICES, _NO_PROGRAMS = 0x1, 0x2, 0x4, 0x8
_FROM_EMPTY_PATH = 0x4
_HERE = -100
_OPEN_TREE, _CLONE = 428, 1
_MOUNT_SETATTR, _IDMAP, _EMPTY_PATH = 442, 0x00100000, 0x1000

_CONTROL = "/dev/loop-control"
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_LOOP_READ_ONLY, _LOOP_AUTOCLEAR = 1, 4
_LOOP_CONFIG = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 8Q")
_ATTEMPTS = 20


class MountError(OSError):
    """A namespace, a mount or a device was refused."""


def detached_mount(kind: str, options: Mapping[str, str]) -> int:
    """Return the descriptor of a new read-only mount of a file system, which no path leads to.

    Raises:
        MountError: the kernel refused.
    """
    context = _call(_FSOPEN, kind.encode(), _CLOEXEC)
    try:
        _call(_FSCONFIG, context, _SET_FLAG, b"ro", None, 0)
        for key, value in options.items():
            _call(_FSCONFIG, context, _SET_STRING, key.encode(), os.fsencode(value), 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, _READ_ONLY | _NO_DEVICES)
    finally:
        os.close(context)


def device_mount() -> int:
    """Return the descriptor of a new writable file system in memory, for devices, which no path leads to.

    Raises:
        MountError: the kernel refused.
    """
    context = _call(_FSOPEN, b"tmpfs", _CLOEXEC)
    try:
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, _NO_SET_ID | _NO_PROGRAMS)
    finally:
        os.close(context)


def attach(mount: int, where: Path) -> None:
    """Have a detached mount at ``where`` in this thread's mount namespace.

    Raises:
        MountError: the kernel refused.
    """
    _call(_MOVE_MOUNT, mount, b"", _HERE, os.fsencode(where), _FROM_EMPTY_PATH)


def idmapped_mount(path: Path, user_namespace: int) -> int:
    """Return the descriptor of a mount of ``path`` that has the ids of the namespace, and is nowhere yet.

    Raises:
        MountError: the kernel refused, or the file system cannot.
    """
    tree = _call(_OPEN_TREE, _HERE, os.fsencode(path), _CLONE | os.O_CLOEXEC)
    try:
        wanted = struct.pack("=QQQQ", _IDMAP, 0, 0, user_namespace)
        _call(_MOUNT_SETATTR, tree, b"", _EMPTY_PATH, wanted, len(wanted))
    except MountError:
        os.close(tree)
        raise
    return tree


@contextmanager
def loop_device(backing: int) -> Iterator[str]:
    """Give the path of a read-only block device of the open file ``backing``; it lives as long as what uses it.

    Raises:
        MountError: there is none to be had.
    """
    device = _configured(backing)
    try:
        yield str(Path(f"/proc/self/fd/{device}").readlink())
    finally:
        os.close(device)


def has_loop_devices() -> bool:
    """Tell whether this machine has them."""
    return os.access(_CONTROL, os.R_OK | os.W_OK)


def mounts_kind(kind: str) -> bool:
    """Tell whether this kernel knows the file system, and lets this process mount it."""
    try:
        os.close(_call(_FSOPEN, kind.encode(), _CLOEXEC))
    except MountError:
        return False
    return True


def last_error() -> MountError:
    """Return the error of the C library's latest call."""
    number = ctypes.get_errno()
    return MountError(number, os.strerror(number))


def _configured(backing: int) -> int:
    config = _LOOP_CONFIG.pack(
        backing, 0, *[0] * 5, 0, 0, 0, _LOOP_READ_ONLY | _LOOP_AUTOCLEAR, b"", b"", b"", *[0] * 10
    )  # fmt: skip
    for _ in range(_ATTEMPTS):
        try:
            control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
            try:
                number = fcntl.ioctl(control, _GET_FREE)
            finally:
                os.close(control)
            device = os.open(f"/dev/loop{number}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as err:
            raise MountError(err.errno, f"no loop device: {err.strerror}") from err
        try:
            fcntl.ioctl(device, _CONFIGURE, config)
        except OSError as err:
            os.close(device)
            if err.errno != errno.EBUSY:  # else another process was given the same number
                raise MountError(err.errno, f"loop device {number}: {err.strerror}") from err
        else:
            return device
    raise MountError(errno.EBUSY, "loop devices are taken as soon as they are free")


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(each) if isinstance(each, int) else ctypes.c_char_p(each) for each in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise last_error()
    return result
