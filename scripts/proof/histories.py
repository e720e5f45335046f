"""Proves that nobody is told wrong: random lives, honest or beside a thief, with oracles that know no metadata."""

from __future__ import annotations

from scripts.bench.result import Row
from scripts.bench.setting import Setting
from scripts.proof.evidence import Test, failed, total, tried
from scripts.proof.finding import Proof

SECTION = "histories"
HISTORIES = (40, 300, 3_000)  # quick, usual, full
_LIVES = {"tests/attacks/test_life.py": "", "tests/attacks/test_thief_life.py": " beside a thief"}


def prove(setting: Setting) -> Proof:
    """Return how many verdicts in how many histories were as they had to be, and how many were not."""
    quick, usual, full = HISTORIES
    count = quick if setting.is_quick else full if setting.is_full else usual
    tests = tried(setting, *_LIVES, environ={"TRUST_LIFE_HISTORIES": str(count)})
    wrong = failed(tests)
    lived = [
        Row(
            figure=SECTION,
            what=f"histories lived{beside}",
            value=total((test for test in tests if test.name.startswith(path)), "histories"),
            unit="",
            floor=count,
        )
        for path, beside in _LIVES.items()
    ]
    return Proof(
        rows=(
            *lived,
            Row(figure=SECTION, what="verdicts asked for in them", value=total(tests, "verdicts"), unit=""),
            Row(figure=SECTION, what="histories with a wrong verdict", value=len(wrong), unit="", limit=0),
        ),
        lines=tuple(_again(test, count) for test in tests if not test.has_passed),
        failures=wrong,
    )


def _again(test: Test, count: int) -> str:
    """Return how the same histories are lived again, and what went wrong in them is told."""
    seed = dict(test.recorded).get("seed")
    return f"again: TRUST_LIFE_SEED={seed} TRUST_LIFE_HISTORIES={count} pytest --timeout 0 {test.name}"
