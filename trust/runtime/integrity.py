"""Owns what a container stands on: the unpacked tree or a mount of its image, held to what was verified.

A tier that cannot be had on this machine is refused: never is another taken in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trust.digest import Digest
from trust.errors import UnavailableError
from trust.runtime.tier import Tier
from trust.runtime.unpack import check_unpacked
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a container's root is made over: the unpacked ``tree``, or the ``mount`` of its image, a descriptor."""

    tree: Path
    mount: int | None = None

    @property
    def root(self) -> Path | int:
        """What to read the image's own files from."""
        return self.tree if self.mount is None else self.mount


@contextmanager
def ground(tree: Path, manifest: Digest, tier: Tier) -> Iterator[Ground]:
    """Give what a container of the image ``manifest`` stands on; what it did not get by then is gone afterwards.

    Raises:
        RefusedError: ``tampered``; it is not what was verified.
        UnavailableError: the tier cannot be had on this machine.
        LimitError, StateError: memory or disk do not suffice.
    """
    if tier is Tier.DIRECTORY:
        check_unpacked(tree, manifest)
        yield Ground(tree=tree)
        return
    from trust.runtime.image_file import image_file  # noqa: PLC0415 - few containers ask for one
    from trust.runtime.image_mounts import mounted, why_not  # noqa: PLC0415

    missing = why_not(tier)
    if missing is not None:
        here = ", ".join(each.value for each in Tier if why_not(each) is None)
        raise UnavailableError(f"integrity {tier.value} cannot be had here: {missing}", hint=f"here are: {here}")
    mount = mounted(image_file(tree, manifest), tier)
    try:
        yield Ground(tree=tree, mount=mount)
    finally:
        os.close(mount)
