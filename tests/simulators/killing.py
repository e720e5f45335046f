"""The points at which a command can be killed: each call that changes the disk, by its name and its number."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

# Between two of these calls the disk stays as it is, to a process: a kill, unlike a power cut, loses no cache.
CHANGING = (
    "write", "pwrite64", "pwritev", "writev", "ftruncate", "truncate", "link", "linkat", "symlink", "symlinkat",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "fchmod", "chmod",
    "utimensat", "copy_file_range", "sendfile",
)  # fmt: skip


def points_of(log: Path, told_elsewhere: str) -> list[tuple[str, int]]:
    """Return each changing call of a traced run, by its name and its number, but for those ``told_elsewhere``."""
    seen: Counter[str] = Counter()
    points = []
    for line in log.read_text().splitlines():
        match = re.match(r"(?:[0-9]+ +)?(\w+)\(", line)
        if match is not None:
            seen[match[1]] += 1
            if not re.search(told_elsewhere, line):
                points.append((match[1], seen[match[1]]))
    return points
