"""Proves that nothing acknowledged is lost and nothing unsigned believed, whatever fails.

Commands and a running shim are killed at every call that changes a disk, disks fill up, clocks jump, a registry
dies at every request, and the network drops, delays, resets, truncates, corrupts, duplicates, answers 5xx and
drips at every request: between commands and a registry or a bucket, and on each side of the shim.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from scripts.bench.result import Row
from scripts.bench.setting import Setting
from scripts.proof.evidence import Test, failed, total, tried
from scripts.proof.finding import Proof

SECTION = "faults"
TRIED = {
    "points at which a command was killed or its disk failed": (
        "tests/attacks/test_kill.py",
        "tests/pending/test_kill.py",
        "tests/rotation/test_kill_rotation.py",
        "tests/stores/test_killed_file.py",
        "tests/keys/test_crash.py",
        "tests/faults/test_kills.py",
    ),
    "points at which a run, an unpacking or a checkpoint was killed or its disk failed": (
        "tests/runtime/test_kills.py",
        "tests/runtime/test_unpack_crash.py",
        "tests/migration/test_kills.py",
        "tests/migration/test_kill_points.py",
    ),
    "points at which the shim was killed or its disk filled up": (
        "tests/faults/test_shim_kills.py",
        "tests/faults/test_shim_disk.py",
    ),
    "requests at which the network to the registry failed": ("tests/faults/test_wire.py",),
    "requests at which the network to an object store failed": ("tests/faults/test_object_wire.py",),
    "requests at which a network of the shim failed": ("tests/faults/test_shim_wire.py",),
    "requests at which the registry under the shim was killed": ("tests/faults/test_restarts.py",),
    "jumps of a clock": ("tests/faults/test_clock.py",),
}


def prove(setting: Setting) -> Proof:
    """Return at how many points something was made to fail, and at how many of them that did harm."""
    environ = {} if setting.is_quick else {"TRUST_FAULTS": "all"}
    options = () if os.geteuid() == 0 else ("-m", "not root")
    tests = {what: tried(setting, *files, environ=environ, options=options) for what, files in TRIED.items()}
    return Proof(
        rows=tuple(_survived(f"{what}, survived", found) for what, found in tests.items()),
        failures=failed(test for found in tests.values() for test in found),
    )


def _survived(what: str, tests: Sequence[Test]) -> Row:
    points = total(tests, "points")
    return Row(
        figure=SECTION, what=what, value=points - total(tests, "broken"), unit="points", floor=max(points, 1)
    )
