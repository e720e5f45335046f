"""Proves that nobody is refused wrongly: random lives of a collection, with an oracle that knows no metadata."""

from __future__ import annotations

from scripts.bench.result import Row
from scripts.bench.setting import Setting
from scripts.proof.evidence import failed, total, tried
from scripts.proof.finding import Proof

SECTION = "histories"
HISTORIES = (40, 300, 3_000)  # quick, usual, full


def prove(setting: Setting) -> Proof:
    """Return how many verdicts in how many histories were as acknowledged, and how many were not."""
    quick, usual, full = HISTORIES
    count = quick if setting.is_quick else full if setting.is_full else usual
    tests = tried(setting, "tests/attacks/test_life.py", environ={"TRUST_LIFE_HISTORIES": str(count)})
    wrong = failed(tests)
    return Proof(
        rows=(
            Row(figure=SECTION, what="histories lived", value=total(tests, "histories"), unit="", floor=count),
            Row(figure=SECTION, what="verdicts asked for in them", value=total(tests, "verdicts"), unit=""),
            Row(figure=SECTION, what="histories with a wrong verdict", value=len(wrong), unit="", limit=0),
        ),
        failures=wrong,
    )
