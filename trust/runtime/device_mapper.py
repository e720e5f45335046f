"""Owns dm-verity devices: block devices of an image file of which the kernel checks each block as it is read.

A device is removed by the kernel when its last user is gone. What it reads is the hash tree of ``merkle``; a block
that is not what was recorded is an input/output error. Source: Linux ``include/uapi/linux/dm-ioctl.h``.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trust.runtime.merkle import BLOCK
from trust.runtime.mounts import MountError
from trust.value import dataclass

CONTROL = "/dev/mapper/control"
_HEAD = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
_TARGET = struct.Struct("=QQiI16s")
_VERSION = (4, 0, 0)
_CREATE, _REMOVE, _SUSPEND, _LOAD = 3, 4, 6, 9
_READ_ONLY, _DEFERRED = 1 << 0, 1 << 17
_SECTOR = 512
_READ_WRITE, _GROUP = 3, 0xFD


@dataclass(frozen=True, slots=True, kw_only=True)
class Verity:
    """What a device is made of: block devices of the image and its hash tree, and what the tree's root must be."""

    data: str
    tree: str
    blocks: int
    root: bytes
    salt: bytes

    def table(self) -> str:
        """Return it as the kernel reads it."""
        sizes = f"{BLOCK} {BLOCK} {self.blocks} 0"
        return f"1 {self.data} {self.tree} {sizes} sha256 {self.root.hex()} {self.salt.hex()}"


def has_device_mapper() -> bool:
    """Tell whether this kernel has the device mapper, and lets this process use it."""
    return "device-mapper" in Path("/proc/devices").read_text().split() and os.access(CONTROL, os.R_OK | os.W_OK)


@contextmanager
def verity_device(verity: Verity, name: str) -> Iterator[str]:
    """Give the path of a device that is gone with whatever was mounted from it.

    Raises:
        MountError: the kernel refused.
    """
    try:
        control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as err:
        raise MountError(err.errno, f"no device mapper: {err.strerror}") from err
    try:
        number = _command(control, _CREATE, name, flags=_READ_ONLY)
        try:
            _command(control, _LOAD, name, flags=_READ_ONLY, payload=_payload(verity))
            _command(control, _SUSPEND, name)  # without the flag to suspend: the table becomes the device's
            yield f"/dev/dm-{number & 0xFF | number >> 12 & ~0xFF}"
        finally:
            _command(control, _REMOVE, name, flags=_DEFERRED)
    finally:
        os.close(control)


def _payload(verity: Verity) -> bytes:
    parameters = verity.table().encode() + b"\0"
    parameters += bytes(-len(parameters) % 8)
    sectors = verity.blocks * BLOCK // _SECTOR
    return _TARGET.pack(0, sectors, 0, _TARGET.size + len(parameters), b"verity") + parameters


def _command(control: int, command: int, name: str, *, flags: int = 0, payload: bytes = b"") -> int:
    """Give the kernel a command; return the device's number."""
    size = _HEAD.size + len(payload)
    head = _HEAD.pack(*_VERSION, size, _HEAD.size, 1 if payload else 0, 0, flags, 0, 0, 0, name.encode(), b"")
    buffer = bytearray(head + payload)
    request = _READ_WRITE << 30 | _HEAD.size << 16 | _GROUP << 8 | command
    try:
        fcntl.ioctl(control, request, buffer)
    except OSError as err:
        raise MountError(err.errno, f"device mapper: {err.strerror}") from err
    return int(_HEAD.unpack_from(buffer)[10])
