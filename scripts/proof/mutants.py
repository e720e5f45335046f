"""Proves that the tests would notice: the product is broken on purpose, one way at a time, and a test must fail.

1. Each edit of ``mutants.toml`` must still find its place, or the list has fallen behind the code.
2. Its tests must pass on an unbroken copy of the checkout, or their failure would say nothing.
3. They are run on the copy with the edit made: the mutant is noticed where one fails, and survives where all pass.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from scripts.bench.result import Row
from scripts.bench.setting import CHECKOUT, BenchError, Setting
from scripts.proof.breakage import Mutant, applied, read, require_standing
from scripts.proof.copies import Copy, copy
from scripts.proof.evidence import WORKERS
from scripts.proof.finding import Proof

SECTION = "mutants"
LIST = Path(__file__).with_name("mutants.toml")
QUICK_EACH = 3  # mutants of each part: about a minute on two cores

T = TypeVar("T")
R = TypeVar("R")


def prove(setting: Setting, listed: Path = LIST) -> Proof:
    """Return how many mutants of ``listed`` were noticed, in each part of the product, and which were not.

    Raises:
        BenchError: an edit finds no place, or a test fails though nothing was broken.
    """
    mutants = read(listed)
    require_standing(mutants, CHECKOUT)
    wanted = _sample(mutants) if setting.is_quick else mutants
    bench = _Bench(setting)
    closed = bench.require_green({mutant.tests for mutant in wanted})
    tried = [mutant for mutant in wanted if mutant.tests not in closed]
    outcomes = dict(zip(tried, bench.each(_is_noticed, tried), strict=True))
    survivors = [mutant for mutant, is_noticed in outcomes.items() if not is_noticed]
    return Proof(
        rows=_rows(outcomes),
        lines=_lines(survivors, [mutant for mutant in wanted if mutant.tests in closed]),
    )


class _Bench:
    """Copies of the checkout, of which each is used by one thread at a time."""

    def __init__(self, setting: Setting) -> None:
        self._free: SimpleQueue[Copy] = SimpleQueue()
        for number in range(WORKERS):
            self._free.put(copy(setting, f"copy-{number}"))

    def each(self, do: Callable[[Copy, T], R], things: Iterable[T]) -> list[R]:
        """Return what ``do`` returns for each of ``things``, several at a time."""

        def done(thing: T) -> R:
            free = self._free.get()
            try:
                return do(free, thing)
            finally:
                self._free.put(free)

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(done, things))

    def require_green(self, sets: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
        """Require that each set of tests passes on an unbroken copy; return those that this user may not run.

        Raises:
            BenchError: one does not.
        """
        ordered = sorted(sets)
        found = dict(zip(ordered, self.each(_has_passed, ordered), strict=True))
        broken = [" ".join(tests) for tests, has_passed in found.items() if has_passed is False]
        if broken:
            raise BenchError(f"tests fail though nothing was broken: {', '.join(broken)}")
        return {tests for tests, has_passed in found.items() if has_passed is None}


def _has_passed(free: Copy, tests: Sequence[str]) -> bool | None:
    return free.has_passed(tests, options=() if os.geteuid() == 0 else ("-m", "not root"))


def _is_noticed(free: Copy, mutant: Mutant) -> bool:
    with applied(mutant, free.checkout):
        return _has_passed(free, mutant.tests) is False


def _sample(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Return a few mutants of each part, as far apart as they can be."""
    parts = {mutant.part: [each for each in mutants if each.part == mutant.part] for mutant in mutants}
    return [each for part in parts.values() for each in part[:: max(1, len(part) // QUICK_EACH)][:QUICK_EACH]]


def _rows(outcomes: dict[Mutant, bool]) -> tuple[Row, ...]:
    tried = Counter(mutant.part for mutant in outcomes)
    noticed = Counter(mutant.part for mutant, is_noticed in outcomes.items() if is_noticed)
    rows = [("mutants", noticed.total(), tried.total())]
    rows += [(f"mutants of the {part}", noticed[part], number) for part, number in tried.items()]
    return tuple(
        Row(figure=SECTION, what=f"{what} noticed by a test", value=value, unit="mutants", floor=floor)
        for what, value, floor in rows
    )


def _lines(survivors: Iterable[Mutant], left_out: Iterable[Mutant]) -> tuple[str, ...]:
    return (
        *(f"survived: {each.name} ({each.path}): {each.breaks}" for each in survivors),
        *(f"left out, since its tests need root: {each.name}" for each in left_out),
    )
