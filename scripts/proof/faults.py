"""Proves that nothing acknowledged is lost: killed at every call that changes a disk, and given a full one."""

from __future__ import annotations

from scripts.bench.result import Row
from scripts.bench.setting import Setting
from scripts.proof.evidence import failed, total, tried
from scripts.proof.finding import Proof

SECTION = "faults"
KILLED = (
    "tests/attacks/test_kill.py",
    "tests/pending/test_kill.py",
    "tests/rotation/test_kill_rotation.py",
    "tests/stores/test_killed_file.py",
)


def prove(setting: Setting) -> Proof:
    """Return at how many points something was made to fail, and at how many of them that did harm."""
    killed = tried(setting, *KILLED)
    points, broken = total(killed, "points"), total(killed, "broken")
    return Proof(
        rows=(
            Row(figure=SECTION, what="points at which a command was killed or its disk failed, survived",
                value=points - broken, unit="points", floor=points),
        ),
        failures=failed(killed),
    )  # fmt: skip
