"""Owns the catalogue of attacks: what there is, before which gates, and the tests that show the answer.

It is a document, ``tests/attacks/catalogue.toml``; a test holds it and the tests that it names together.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scripts.bench.setting import CHECKOUT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TESTS = CHECKOUT / "tests"
CATALOGUE = TESTS / "attacks/catalogue.toml"
MATRIX = "matrix/test_matrix.py::test_attack_is_answered_by_every_gate_as_it_must"
IN_MATRIX = ("verify", "shim", "run")
GATES = (*IN_MATRIX, "publisher", "keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An attack; ``matrix`` are its names in the matrix, ``tests`` elsewhere: ``keys/test_x.py::test_y``."""

    name: str
    family: str
    cves: tuple[str, ...]
    matrix: tuple[str, ...]
    tests: tuple[tuple[str, tuple[str, ...]], ...]  # gate, its tests

    @property
    def cells(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each gate to which it applies, with the tests that show what it answers."""
        elsewhere = dict(self.tests)
        rows = tuple(f"{MATRIX}[{name}]" for name in self.matrix)
        for gate in GATES:
            shown = (*(rows if gate in IN_MATRIX else ()), *elsewhere.get(gate, ()))
            if shown:
                yield gate, shown


def entries(path: Path = CATALOGUE) -> tuple[Entry, ...]:
    """Return the catalogue in its order.

    Raises:
        ValueError: an entry has a key that is none, and would be passed over.
    """
    document = tomllib.loads(path.read_text("utf-8"))
    return tuple(_entry(family, table) for family, tables in document.items() for table in tables)


def _entry(family: str, table: dict[str, object]) -> Entry:
    odd = set(table) - {"name", "cve", "matrix", *GATES}
    if odd:
        raise ValueError(
            f"{table.get('name')}: expected name, cve, matrix or a gate, got {', '.join(sorted(odd))}"
        )
    return Entry(
        name=str(table["name"]),
        family=family,
        cves=_texts(table.get("cve")),
        matrix=_texts(table.get("matrix")),
        tests=tuple((gate, _texts(table[gate])) for gate in GATES if gate in table),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def missing(nodes: Iterable[str], tests: Path = TESTS) -> tuple[str, ...]:
    """Return those of ``nodes`` (``keys/test_x.py::test_y``) that no file below ``tests`` has; nothing is run."""
    return tuple(node for node in nodes if _place(node, tests)[1] is None)


def in_file_order(nodes: Iterable[str], tests: Path = TESTS) -> list[str]:
    """Return ``nodes``, none of them missing, in the order in which their files have them: some share a stage."""
    return sorted(nodes, key=lambda node: _place(node, tests))


def _place(node: str, tests: Path) -> tuple[str, int | None]:
    file, _, function = node.partition("::")
    return file, _functions(tests / file).get(function.partition("[")[0])


@cache
def _functions(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    body = ast.parse(path.read_bytes()).body
    return {one.name: one.lineno for one in body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
