"""Owns what a section comes to: its figures, the lines behind them, and the tests that failed."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.bench.result import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """``rows`` are the figures with their limits, ``lines`` what a reader may want behind them."""

    rows: tuple[Row, ...]
    lines: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether every figure keeps its limits and nothing failed."""
        return not self.failures and all(row.is_met for row in self.rows)
