"""Owns user namespaces for root's containers: the container's root is nobody on the host.

A container's ids 0 to 65535 are 65,536 ids of the host that nobody else has. The image stays as it is, and is
shared as ever: it is mounted with the kernel's own mapping (idmapped mounts, below an overlay since Linux 5.19),
so that nothing is copied or chowned. What a container writes lies on the disk with its own ids. Source:
mount_setattr(2), user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trust.errors import InputError
from trust.runtime.mounts import MountError

RANGE_IDS = 1 << 16
_FIRST, _LAST = 0x8, 0x6FFF  # in ranges: those that systemd sets aside for containers
_STAGES = ("/mnt", "/media", "/srv", "/opt")
_CLONE_NEWUSER = 0x10000000


def first_id(identity: str) -> int:
    """Return the host's id that is the container's 0.

    Two of some hundred containers share a range by chance, and then lack this wall between the two of them.
    """
    return (_FIRST + int(identity[:8], 16) % (_LAST - _FIRST + 1)) * RANGE_IDS


def stage(home: Path) -> Path:
    """Return a directory of the host at which the container's own mount namespace has its root.

    It must be reached by ids that may enter nothing of ours, and be there for who joins the container later.

    Raises:
        InputError: there is none.
    """
    for place in map(Path, _STAGES):
        if place.is_dir() and not place.is_symlink() and not home.is_relative_to(place):
            return place
    raise InputError(f"a user namespace needs one of {', '.join(_STAGES)}, in which nothing of ours is")


@contextmanager
def user_namespace(first: int) -> Iterator[int]:
    """Give the descriptor of a namespace that maps ids from 0 to those from ``first``.

    Forks: the caller has one thread.

    Raises:
        MountError: the kernel refused.
    """
    asking, told = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            done = ctypes.CDLL(None).unshare(_CLONE_NEWUSER) == 0
            os.write(told[1], b"1" if done else b"0")
            os.close(asking[1])
            os.read(asking[0], 1)
        os._exit(0)
    try:
        if os.read(told[0], 1) != b"1":
            raise MountError(1, "user namespace was refused")
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{kind}").write_text(f"0 {first} {RANGE_IDS}\n", encoding="ascii")
        namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for end in (*asking, *told):
            os.close(end)
        os.waitpid(child, 0)
    try:
        yield namespace
    finally:
        os.close(namespace)
