"""Owns the mounting of image files, one way for each tier: what is read is what was recorded, or an error.

Each is a block device first, then EROFS on it. A mount is nowhere until a container gets it, and everything below
it ends with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

from trust.errors import StateError
from trust.runtime.device_mapper import Verity, has_device_mapper, verity_device
from trust.runtime.fuse_verity import DEVICE, verified_file
from trust.runtime.image_file import ImageFile
from trust.runtime.mounts import detached_mount, has_loop_devices, loop_device, mounts_kind
from trust.runtime.sealed import sealed_copy
from trust.runtime.tier import Tier


def mounted(image: ImageFile, tier: Tier) -> int:
    """Return the descriptor of a mount of the image file that is nowhere yet.

    Raises:
        RefusedError: ``tampered``; it is not what was recorded.
        LimitError, StateError, UnavailableError: memory, disk or kernel do not suffice.
    """
    try:
        with _DEVICES[tier](image) as device:
            return detached_mount("erofs", {"source": device})
    except OSError as err:
        raise StateError(f"image cannot be mounted as {tier.value}: {err.strerror or err}: {image.path}") from err


def why_not(tier: Tier) -> str | None:
    """Return what this machine or user lacks for a tier; None where nothing."""
    if tier is Tier.DIRECTORY:
        return None
    if os.geteuid() != 0:
        return "only root can mount an image file"
    lacks = {
        "there are no loop devices (/dev/loop-control)": not has_loop_devices(),
        "this kernel cannot mount EROFS": not mounts_kind("erofs"),
        "this kernel has no device mapper": tier is Tier.DM_VERITY and not has_device_mapper(),
        f"there is no {DEVICE}": tier is Tier.FUSE_VERITY and not os.access(DEVICE, os.R_OK | os.W_OK),
    }
    return next((what for what, is_so in lacks.items() if is_so), None)


@contextmanager
def _sealed(image: ImageFile) -> Iterator[str]:
    with image.opened() as file:
        memory = sealed_copy(file, image.digest, where=image.path)
    try:
        with loop_device(memory) as device:
            yield device
    finally:
        os.close(memory)


@contextmanager
def _fuse_verity(image: ImageFile) -> Iterator[str]:
    with verified_file(image) as file, loop_device(file) as device:
        yield device


@contextmanager
def _dm_verity(image: ImageFile) -> Iterator[str]:
    with ExitStack() as stack:
        data = stack.enter_context(loop_device(stack.enter_context(image.opened())))
        tree = os.open(image.tree_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack.callback(os.close, tree)
        verity = Verity(
            data=data,
            tree=stack.enter_context(loop_device(tree)),
            blocks=image.blocks,
            root=image.root,
            salt=image.salt,
        )
        yield stack.enter_context(verity_device(verity, f"trust-{os.urandom(8).hex()}"))


_DEVICES: Mapping[Tier, Callable[[ImageFile], AbstractContextManager[str]]] = {
    Tier.SEALED: _sealed,
    Tier.FUSE_VERITY: _fuse_verity,
    Tier.DM_VERITY: _dm_verity,
}
