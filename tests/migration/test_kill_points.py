"""A checkpoint killed, or on a disk that is full, at every call that changes the disk: its container runs on.

``TRUST_FAULTS=all`` tries each call, otherwise one of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.places import Record, few, record
from tests.migration.harbour import CHECKOUT, Machine
from tests.migration.test_kills import counts_on, log, staged
from tests.simulators.killing import CHANGING, points_of

__all__ = ["log"]  # a fixture
pytestmark = pytest.mark.root
MIN_POINTS = 20
KILLED = frozenset({-9, 137})
NEEDS_ROOM = frozenset({"write", "pwrite64", "mkdir", "rename", "symlink", "link"})


def checkpoint(here: Machine, name: str, *strace: str) -> subprocess.CompletedProcess[str]:
    """Return how a checkpoint of the counter ended under strace."""
    return subprocess.run(
        ["strace", "-qq", *strace, sys.executable, "-m", "trust", "checkpoint", "counter", here.image(name),
         "--leave-running"],
        cwd=CHECKOUT, env=here.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def points(here: Machine, trace: Path) -> list[tuple[str, int]]:
    """Return each call of a checkpoint that changes something in the machine's home."""
    calls = ",".join(f"?{call}" for call in CHANGING)
    done = checkpoint(here, "counter:rehearsal", "-y", "-o", str(trace), "-e", f"trace={calls}")
    assert done.returncode == 0, done
    return points_of(trace, rf"^(?!.*{here.home}/)")


def is_whole(here: Machine, log: Path, name: str) -> bool:
    """Tell whether the container runs on, nothing stays after the next command, and another checkpoint is made."""
    counts_on(log)
    is_running = here.container("counter")["status"] == "running"
    leaves_nothing = staged(here, "*") == []
    here.run("checkpoint", "counter", here.image(name), "--leave-running")
    return is_running and leaves_nothing


def test_checkpoint_killed_at_every_call_leaves_its_container_running(
    here: Machine, tmp_path: Path, log: Path, record_property: Record
) -> None:
    found = points(here, tmp_path / "trace")
    assert len(found) > MIN_POINTS
    tried, broken = 0, []
    for call, count in few(found, 1):
        fault = f"inject={call}:signal=KILL:when={count}"
        done = checkpoint(here, "counter:killed", "-o", os.devnull, "-e", fault)
        was_killed = done.returncode in KILLED
        tried += was_killed
        is_told = was_killed or done.returncode == 0  # nothing to remove that time, for one: it was not reached
        if not (is_told and is_whole(here, log, "counter:again")):
            broken.append((call, count, done.returncode, done.stderr))
    record(record_property, tried, broken)


def test_checkpoint_without_room_at_any_call_leaves_its_container_running(
    here: Machine, tmp_path: Path, log: Path, record_property: Record
) -> None:
    found = [point for point in points(here, tmp_path / "trace") if point[0] in NEEDS_ROOM]
    broken = []
    for call, count in few(found, 1):
        fault = f"inject={call}:error=ENOSPC:when={count}"
        done = checkpoint(here, "counter:full", "-o", os.devnull, "-e", fault)
        is_told = done.returncode in {0, 3} and "Traceback" not in done.stderr
        if not (is_told and is_whole(here, log, "counter:again")):
            broken.append((call, count, done.returncode, done.stderr))
    record(record_property, len(few(found, 1)), broken)
