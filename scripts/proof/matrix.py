"""Proves the matrix, each attack before each gate with the answer that each gave, and what the catalogue names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scripts.bench.result import Row
from scripts.bench.setting import Setting
from scripts.proof.catalogue import MATRIX, Entry, entries, in_file_order, missing
from scripts.proof.evidence import Test, failed, tried
from scripts.proof.finding import Proof

SECTION = "matrix"
GATES = ("verify", "shim", "run")


def prove(setting: Setting) -> Proof:
    """Return how many cells of the matrix hold, the matrix, and how much of the catalogue has tests that hold.

    In the short form the tests that the catalogue names elsewhere have to be there, and are not run.
    """
    tests = tried(setting, "tests/matrix")
    answers = {_attack(test.name): dict(_cells(test.recorded)) for test in tests}
    cells = sum(len(row) for row in answers.values())
    wanted = len(answers) * len(GATES)
    catalogue = entries()
    elsewhere = {node for entry in catalogue for _, shown in entry.tests for node in shown}
    absent = missing(elsewhere)
    there = in_file_order(node for node in elsewhere if node not in absent)
    more = () if setting.is_quick else tried(setting, *(f"tests/{node}" for node in there))
    held = _held([*tests, *more]) | (set(there) if setting.is_quick else set())
    open_cells = [
        f"{entry.name}, before {gate}"
        for entry in catalogue
        for gate, shown in entry.cells
        if not held.issuperset(shown)
    ]
    lines = [_line("ATTACK", dict(zip(GATES, GATES, strict=True))), *(_line(*one) for one in answers.items())]
    return Proof(
        rows=(
            Row(figure=SECTION, what="attacks before gates, answered as they must be", value=cells, unit="cells",
                floor=wanted),
            Row(figure=SECTION, what="attacks", value=len(answers), unit="attacks"),
            _coverage(catalogue, open_cells),
        ),
        lines=(*lines, *(f"not shown here: {cell}" for cell in open_cells)),
        failures=failed([*tests, *more]),
    )  # fmt: skip


def _coverage(catalogue: Sequence[Entry], open_cells: Sequence[str]) -> Row:
    wanted = sum(1 for entry in catalogue for _ in entry.cells)
    return Row(
        figure=SECTION,
        what=f"the {len(catalogue)} attacks of the catalogue, each before its gates, shown by tests",
        value=wanted - len(open_cells), unit="cells", floor=wanted,
    )  # fmt: skip


def _held(tests: Sequence[Test]) -> set[str]:
    """Return the nodes that passed as the catalogue spells them: with parameters, if each of them did."""
    nodes: dict[str, bool] = {}
    for test in tests:
        node = test.name.removeprefix("tests/")
        if not node.startswith(MATRIX):
            node = node.partition("[")[0]
        nodes[node] = nodes.get(node, True) and test.has_passed
    return {node for node, holds in nodes.items() if holds}


def _attack(name: str) -> str:
    return name.partition("[")[2].removesuffix("]")


def _cells(recorded: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(name.removeprefix("answer of "), value) for name, value in recorded if name.startswith("answer of ")]


def _line(attack: str, answers: Mapping[str, str]) -> str:
    told = (f"{answers.get(gate, 'FAILED'):<16}" for gate in GATES)
    return f"{attack:<62} {' '.join(told)}".rstrip()
