"""The loop devices of images, on the whole machine: which came in a test, and which of them stay."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

Loops = frozenset[tuple[str, str]]
WAIT_SECONDS = 15.0


def loop_devices() -> Loops:
    """Return the loop devices of images like ours on the whole machine, each with the number of this use of it."""
    found = set()
    for device in Path("/sys/block").glob("loop*"):
        with suppress(OSError):  # it went as it was looked at
            file = (device / "loop/backing_file").read_text().strip()
            if "trust-image" in file or "image.erofs" in file or file == "/":
                found.add((device.name, (device / "diskseq").read_text().strip()))
    return frozenset(found)


def left_behind(before: Loops) -> Loops:
    """Return the loop devices that came since ``before`` and stay; those of whoever else tests here go soon."""
    came, ends = loop_devices() - before, time.monotonic() + WAIT_SECONDS
    while (left := came & loop_devices()) and time.monotonic() < ends:
        time.sleep(0.05)
    return left
