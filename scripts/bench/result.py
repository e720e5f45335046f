"""Owns what a figure comes to: rows of a value with its limit, as an aligned table and as one JSON document."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.bench.measure import Timing

SCHEMA = 1
_HEADER = ("FIGURE", "WHAT", "VALUE", "QUARTILES", "CPU", "LIMIT", "")
_RIGHT = (2, 3, 4, 5)  # columns of numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured value; ``limit`` is the highest that is accepted, ``floor`` the lowest.

    Both are None where nothing was promised.
    """

    figure: str
    what: str
    value: float
    unit: str
    limit: float | None = None
    floor: float | None = None
    quartiles: tuple[float, float] | None = None
    cpu: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the value keeps its limits; true where there are none."""
        return (self.limit is None or self.value <= self.limit) and (
            self.floor is None or self.value >= self.floor
        )

    @property
    def is_promised(self) -> bool:
        """Whether there is a limit."""
        return self.limit is not None or self.floor is not None


def timed(figure: str, what: str, timing: Timing) -> Row:
    """Return the row of a process: its median wall clock time, its quartiles, its processor time."""
    return Row(
        figure=figure,
        what=what,
        value=timing.median_ms,
        unit="ms",
        quartiles=timing.quartiles_ms,
        cpu=timing.cpu_ms,
    )


def ratio(figure: str, what: str, value: float, *, limit: float | None = None, floor: float | None = None) -> Row:
    """Return the row of a quotient of two medians of the same run."""
    return Row(figure=figure, what=what, value=value, unit="x", limit=limit, floor=floor)


def table(rows: Iterable[Row]) -> str:
    """Return ``rows`` as aligned text, a line for each, ended by newlines."""
    cells = [_HEADER, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADER))]
    return "".join(_line(line, widths) for line in cells)


def document(rows: Sequence[Row], *, is_quick: bool) -> dict[str, Any]:
    """Return ``rows`` and the machine they were measured on as one JSON object, schema 1."""
    return {
        "schema": SCHEMA,
        "quick": is_quick,
        "machine": {
            "cpus": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
            "load": os.getloadavg()[0],
        },
        "met": all(row.is_met for row in rows),
        "rows": [
            {
                "figure": row.figure,
                "what": row.what,
                "value": row.value,
                "unit": row.unit,
                "quartiles": list(row.quartiles) if row.quartiles else None,
                "cpu_ms": row.cpu,
                "limit": row.limit,
                "floor": row.floor,
                "met": row.is_met if row.is_promised else None,
            }
            for row in rows
        ],
    }


def _cells(row: Row) -> tuple[str, ...]:
    quartiles = "{:.1f}-{:.1f}".format(*row.quartiles) if row.quartiles else ""
    cpu = f"{row.cpu:.1f}" if row.cpu is not None else ""
    limits = [f"{sign} {_number(bound, row.unit)}" for sign, bound in (("<=", row.limit), (">=", row.floor))
              if bound is not None]  # fmt: skip
    limit = ", ".join(limits)
    met = "" if not row.is_promised else "met" if row.is_met else "NOT MET"
    return (row.figure, row.what, _number(row.value, row.unit), quartiles, cpu, limit, met)


def _number(value: float, unit: str) -> str:
    exact = float(value).is_integer() and unit not in {"ms", "x"}
    return f"{value:.0f} {unit}" if exact else f"{value:.2f} {unit}" if unit == "x" else f"{value:.1f} {unit}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.rjust(width) if column in _RIGHT else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(padded).rstrip() + "\n"
