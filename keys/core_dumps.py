"""Owns the promise that a crash of this process writes no secret to a disk."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # prctl(2)


def forbid_core_dumps() -> None:
    """Make this process leave no core dump, and no other process of its user read its memory.

    Children that it starts may dump again: ``execve`` resets the second, and the first is a soft limit.
    Accepted: swap and hibernation are the machine's business, and Python cannot wipe a string.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            # A core pattern that starts with a pipe ignores the limit, but not this.
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
