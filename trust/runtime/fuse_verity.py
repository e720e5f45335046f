"""Owns image files behind ``verity_server``: mounted as one file, nowhere, and open for reading."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from trust.errors import RefusedError, UnavailableError
from trust.runtime.image_file import ImageFile
from trust.runtime.mounts import detached_mount

DEVICE = "/dev/fuse"
_TIMEOUT_SECONDS = 30.0
_ANOTHER_ROOT = 3


@contextmanager
def verified_file(image: ImageFile) -> Iterator[int]:
    """Give a descriptor of the image file that fails to read what is not as it was recorded.

    Raises:
        RefusedError: ``tampered``; its hash tree is not the recorded one.
        UnavailableError: its server cannot be started.
        OSError: the kernel refused.
    """
    fuse = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        owner = {"rootmode": "100400", "user_id": "0", "group_id": "0"}
        mount = detached_mount("fuse", {"source": "trust-verity", "fd": f"{fuse}", **owner})
        try:
            _start_server(image, fuse)
            file = os.open(f"/proc/self/fd/{mount}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(mount)
    finally:
        os.close(fuse)
    try:
        yield file
    finally:
        os.close(file)


def _start_server(image: ImageFile, fuse: int) -> None:
    tree = os.open(image.tree_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with image.opened() as data:
            numbers = [f"{number}" for number in (fuse, data, tree, image.blocks)]
            words = [*numbers, image.root.hex(), image.salt.hex()]
            done = subprocess.run(
                [sys.executable, "-I", "-m", "trust.runtime.verity_server", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(fuse, data, tree),
                cwd="/",
                env={},
                start_new_session=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired as err:
        raise UnavailableError("server of the image file does not start") from err
    finally:
        os.close(tree)
    if done.returncode == _ANOTHER_ROOT:
        raise RefusedError(
            f"hash tree was changed on this disk: expected the root {image.root.hex()}: {image.tree_path}",
            reason="tampered",
            hint=f"find out who writes there; then remove {image.path.parent}, and the next run makes it anew",
        )
    if done.returncode != 0:
        raise UnavailableError(f"server of the image file failed: exit status {done.returncode}")
