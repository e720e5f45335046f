"""Owns the names of the tiers of integrity: how what runs is held to what was verified. Pure.

directory    the unpacked tree, compared with its inventory at each start; whoever writes there later is not seen
sealed       an image file in sealed memory, hashed there; nobody can change it, root neither
fuse-verity  an image file of which a process of ours checks each block as it is read
dm-verity    an image file of which the kernel does
"""

from __future__ import annotations

from enum import Enum

from trust.errors import InputError


class Tier(Enum):
    """One way of holding what runs to what was verified; the value is the word that ``--integrity`` takes."""

    DM_VERITY = "dm-verity"
    SEALED = "sealed"
    FUSE_VERITY = "fuse-verity"
    DIRECTORY = "directory"


# The others have a price that nobody expects of a default: memory, a process or a device for each container.
DEFAULT_TIER = Tier.DIRECTORY
DIRECTORY_WARNING = (
    "integrity is that of a directory: the image was compared with what was verified as it was started,"
    " and what somebody writes to TRUST_HOME from now on is not seen"
)


def parse_tier(text: str) -> Tier:
    """Return the tier that ``text`` names.

    Raises:
        InputError: there is none.
    """
    for tier in Tier:
        if tier.value == text:
            return tier
    raise InputError(f"integrity is unknown: expected {', '.join(each.value for each in Tier)}, got {text[:40]!r}")
