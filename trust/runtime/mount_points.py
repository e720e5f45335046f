"""Owns the mount points that a container's root has to have, made behind no link of its image.

For an engine that does not expect a hostile tree: bubblewrap follows the image's links.
"""

from __future__ import annotations

import os
import stat

from trust.errors import InputError
from trust.runtime.bundle import Bundle
from trust.runtime.walk import Root

_KERNEL = ((b"proc",), (b"dev",), (b"sys",))
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_mount_points(bundle: Bundle) -> None:
    """Have in the container's own root a directory or file, behind no link, for everything that is mounted.

    Bubblewrap would follow the image's links, even to ``/oldroot``, where it still holds the host.
    """
    with Root(bundle.root) as root:
        for parts in _KERNEL:
            with root.directory(parts, make=_make_directory) as place:
                if place.path != parts:
                    raise InputError(f"image has a link for /{parts[0].decode()}")
        for target in bundle.files:
            _make_mount_point(root, target, is_directory=False)
        for one in bundle.tmpfs:
            _make_mount_point(root, one.target, is_directory=True)
        for volume in bundle.volumes:
            _make_mount_point(root, volume.target, is_directory=volume.source.is_dir())


def _make_mount_point(root: Root, target: str, *, is_directory: bool) -> None:
    parts = [part.encode() for part in target.split("/") if part]
    with root.directory(parts[:-1], make=_make_directory) as place:
        if b"/".join(place.path) != b"/".join(parts[:-1]):
            raise InputError(f"image has a link on the way to {target}, where something is to be mounted")
        try:
            mode = os.stat(parts[-1], dir_fd=place.fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            mode = 0
        if mode and not (stat.S_ISDIR(mode) if is_directory else stat.S_ISREG(mode)):
            if stat.S_ISDIR(mode):
                raise InputError(f"image has a directory at {target}, where a file is to be mounted")
            os.unlink(parts[-1], dir_fd=place.fd)
            mode = 0
        if mode == 0:
            if is_directory:
                os.mkdir(parts[-1], dir_fd=place.fd)
            else:
                os.close(os.open(parts[-1], _NEW_FILE, 0o644, dir_fd=place.fd))


def _make_directory(parent_fd: int, name: bytes, _path: tuple[bytes, ...]) -> None:
    os.mkdir(name, 0o755, dir_fd=parent_fd)
