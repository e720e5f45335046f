"""Proves that nothing acknowledged is lost and nothing unsigned believed, whatever fails.

Commands are killed at every call that changes a disk, disks fail, and the network to a real registry drops,
delays, resets, truncates, corrupts, duplicates, answers 5xx and drips, at every request in turn.
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
WIRE = "tests/faults/test_wire.py"


def prove(setting: Setting) -> Proof:
    """Return at how many points something was made to fail, and at how many of them that did harm."""
    killed = tried(setting, *KILLED)
    wired = tried(setting, WIRE, environ={} if setting.is_quick else {"TRUST_FAULTS": "all"})
    return Proof(
        rows=(
            _survived("points at which a command was killed or its disk failed, survived", killed),
            _survived("requests at which the network failed, survived", wired),
        ),
        failures=failed([*killed, *wired]),
    )


def _survived(what: str, tests: Sequence[Test]) -> Row:
    points = total(tests, "points")
    return Row(
        figure=SECTION, what=what, value=points - total(tests, "broken"), unit="points", floor=max(points, 1)
    )
