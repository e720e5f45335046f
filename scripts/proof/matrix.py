"""Proves the matrix: each attack before each gate, and the answer that each gave."""

from __future__ import annotations

from collections.abc import Mapping

from scripts.bench.result import Row
from scripts.bench.setting import Setting
from scripts.proof.evidence import failed, tried
from scripts.proof.finding import Proof

SECTION = "matrix"
GATES = ("verify", "shim", "run")


def prove(setting: Setting) -> Proof:
    """Return how many cells of the matrix hold, and the matrix."""
    tests = tried(setting, "tests/matrix")
    answers = {_attack(test.name): dict(_cells(test.recorded)) for test in tests}
    cells = sum(len(row) for row in answers.values())
    wanted = len(answers) * len(GATES)
    lines = [_line("ATTACK", dict(zip(GATES, GATES, strict=True))), *(_line(*one) for one in answers.items())]
    return Proof(
        rows=(
            Row(figure=SECTION, what="attacks before gates, answered as they must be", value=cells, unit="cells",
                floor=wanted),
            Row(figure=SECTION, what="attacks", value=len(answers), unit="attacks"),
        ),
        lines=tuple(lines),
        failures=failed(tests),
    )  # fmt: skip


def _attack(name: str) -> str:
    return name.partition("[")[2].removesuffix("]")


def _cells(recorded: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(name.removeprefix("answer of "), value) for name, value in recorded if name.startswith("answer of ")]


def _line(attack: str, answers: Mapping[str, str]) -> str:
    return f"{attack:<62} " + " ".join(f"{answers.get(gate, 'FAILED'):<16}" for gate in GATES).rstrip()
