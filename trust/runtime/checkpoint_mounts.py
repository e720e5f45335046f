"""Owns the mounts and device nodes that CRIU's images tell of."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from trust.errors import InputError
from trust.runtime.checkpoint_images import above, number, records, text
from trust.value import dataclass

_TMPFS = re.compile(r"tmpfs-(?:dev-)?[0-9]+\.tar\.gz\.img")
_MASK = "/dev/null"  # what hides files of the kernel; the engine mounts it, at a second move with other flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount as a container sees it; of one that the engine brings (``key``), only where and how."""

    mountpoint: str
    parent: str
    fstype: int
    flags: int
    superblock_flags: int
    key: str
    root: str
    source: str
    options: str


def mounts_of(images: Path) -> Iterator[Mount]:
    """Yield every mount.

    Raises:
        RefusedError: ``tampered``; one is shared with others.
    """
    for path in images.glob("mountpoints-*.img"):
        found = list(records(path))
        places = {number(one, 2): text(one, 7) for one in found}
        for one in found:
            mountpoint, key = text(one, 7), text(one, 18)
            if number(one, 10) or number(one, 11) or number(one, 12):
                raise above(f"has a mount that is shared with others: at {mountpoint[:80]}")
            is_foreign = bool(key) or mountpoint == "/"  # the engine mounts these, from its own configuration
            yield Mount(
                mountpoint=mountpoint,
                parent=places.get(number(one, 4), ""),
                fstype=0 if is_foreign else number(one, 1),
                flags=0 if key == _MASK else number(one, 5),
                superblock_flags=0 if is_foreign else number(one, 17),
                key=key,
                root="" if is_foreign else text(one, 6),
                source="" if is_foreign else text(one, 8),
                options="" if is_foreign else text(one, 9),
            )


def devices_of(images: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name and numbers of every device node in a file system in memory.

    Raises:
        InputError: malformed. RefusedError: ``tampered``; a file outside its place.
    """
    for path in images.iterdir():
        if not _TMPFS.fullmatch(path.name):
            continue
        try:
            with tarfile.open(path, "r|gz") as archive:
                for entry in archive:
                    if entry.name.startswith("/") or ".." in entry.name.split("/"):
                        raise above(f"has a file outside its place: {entry.name[:80]}")
                    if entry.ischr() or entry.isblk():
                        yield entry.name, entry.devmajor, entry.devminor
        except (tarfile.TarError, OSError, EOFError) as err:
            raise InputError(f"checkpoint is malformed: {path.name}: {err}") from err
