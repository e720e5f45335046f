"""Owns what servers cost, read from ``/proc``: the processor time and memory of a process and all below it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USER_TIME, _SYSTEM_TIME = 11, 12  # places in /proc/PID/stat, counted from the state (proc(5))


def tree(process_id: int) -> list[int]:
    """Return ``process_id`` and every process below it."""
    found = [process_id]
    for thread in Path(f"/proc/{process_id}/task").iterdir():
        with suppress(OSError):  # the thread has ended meanwhile
            for child in (thread / "children").read_text("ascii").split():
                found += tree(int(child))
    return found


def cpu_seconds(process_id: int) -> float:
    """Return the processor time, user's and system's, of the tree below ``process_id`` so far; ticks of 10 ms."""
    ticks = 0
    for one in tree(process_id):
        fields = Path(f"/proc/{one}/stat").read_text("latin-1").rpartition(")")[2].split()
        ticks += int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
    return ticks / _TICKS


def resident_bytes(process_id: int) -> int:
    """Return the sum of the resident memory of the tree below ``process_id``; shared pages count for each."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text("ascii").split()[1]) for one in tree(process_id))
    return pages * os.sysconf("SC_PAGE_SIZE")
