"""Proves that nothing acknowledged is lost and nothing unsigned believed, whatever fails.

Commands are killed at every call that changes a disk, disks fail, and the network drops, delays, resets,
truncates, corrupts, duplicates, answers 5xx and drips, at every request in turn: between commands and a registry,
between commands and an object store, and on each side of a running shim.
"""

from __future__ import annotations

from collections.abc import Sequence

from scripts.bench.result import Row
from scripts.bench.setting import Setting
from scripts.proof.evidence import Test, failed, total, tried
from scripts.proof.finding import Proof

SECTION = "faults"
KILLED = (
    "tests/attacks/test_kill.py",
    "tests/pending/test_kill.py",
    "tests/rotation/test_kill_rotation.py",
    "tests/stores/test_killed_file.py",
)
WIRES = (
    ("commands and their registry", "tests/faults/test_wire.py"),
    ("commands and their object store", "tests/faults/test_object_wire.py"),
    ("the shim and its clients, its upstream, its store", "tests/faults/test_shim_wire.py"),
)


def prove(setting: Setting) -> Proof:
    """Return at how many points something was made to fail, and at how many of them that did harm."""
    killed = tried(setting, *KILLED)
    environ = {} if setting.is_quick else {"TRUST_FAULTS": "all"}
    wired = [(between, tried(setting, wire, environ=environ)) for between, wire in WIRES]
    return Proof(
        rows=(
            _survived("points at which a command was killed or its disk failed, survived", killed),
            *(
                _survived(f"requests at which the network between {b} failed, survived", tests)
                for b, tests in wired
            ),
        ),
        failures=failed([*killed, *(test for _, tests in wired for test in tests)]),
    )


def _survived(what: str, tests: Sequence[Test]) -> Row:
    points = total(tests, "points")
    return Row(
        figure=SECTION, what=what, value=points - total(tests, "broken"), unit="points", floor=max(points, 1)
    )
