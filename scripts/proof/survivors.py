"""Proves that the tests notice nearly every small change of what security rests on: a tool makes all of them.

1. Each module of ``survivors.toml`` is varied by cosmic-ray's operators: one place in each variant.
2. Its tests have to pass on an unbroken copy of the checkout; then they are run on the copy for each variant.
3. A variant that all of them pass is a survivor. Each was judged, in the same file, or the section fails; so it
   does where a judgement speaks of a variant that is no more, since the line has changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from scripts.bench.result import Row
from scripts.bench.setting import CHECKOUT, BenchError, Setting
from scripts.proof.evidence import WORKERS
from scripts.proof.finding import Proof
from scripts.proof.variants import Variant, variants
from scripts.proof.warm_copy import WarmCopy, warm_copy

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SECTION = "survivors"
TABLE = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module and the tests, files or node ids of pytest, that have to notice its variants."""

    path: str
    tests: tuple[str, ...]
    is_quick: bool = False

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants of it as it stands in this checkout."""
        return variants(self.path, (CHECKOUT / self.path).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Why a survivor is harmless: that ``line``, in ``place`` of the module ``path``, became ``becomes``.

    Of several variants of the same words, it is about the ``nth``.
    """

    path: str
    place: str
    line: str
    becomes: str
    why: str
    nth: int = 1

    def is_of(self, variant: Variant) -> bool:
        """Tell whether it speaks of ``variant``."""
        key = (variant.path, variant.place, variant.line, variant.becomes, variant.nth)
        return (self.path, self.place, self.line, self.becomes, self.nth) == key


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a module: its variants and those of them that survived."""

    tried: tuple[Variant, ...]
    survivors: tuple[Variant, ...]


def prove(setting: Setting, table: Path = TABLE) -> Proof:
    """Return how many variants were tried, how many survived, and how many survivors nobody judged.

    Raises:
        BenchError: the table is not as expected, or a test fails though nothing was broken.
    """
    modules, judgements = read(table)
    wanted = [module for module in modules if module.is_quick or not setting.is_quick]
    copies: SimpleQueue[WarmCopy] = SimpleQueue()
    for number in range(min(WORKERS, len(wanted))):
        copies.put(warm_copy(setting, f"copy-{number}"))

    def outcome(module: Module) -> Outcome:
        free = copies.get()
        try:
            return tried(free, module)
        finally:
            copies.put(free)

    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            outcomes = dict(zip(wanted, pool.map(outcome, wanted), strict=True))
    finally:
        while not copies.empty():
            copies.get().close()
    return _proof(outcomes, [one for one in judgements if any(one.path == module.path for module in wanted)])


def tried(free: WarmCopy, module: Module) -> Outcome:
    """Return what came of ``module``, whose variants are tried one after the other on ``free``.

    Raises:
        BenchError: a test fails though nothing was broken.
    """
    patience_seconds = free.require_green(module.tests)
    each = module.variants
    survivors = tuple(one for one in each if free.has_survived(one, module.tests, patience_seconds))
    return Outcome(tried=each, survivors=survivors)


def read(table: Path) -> tuple[tuple[Module, ...], tuple[Judgement, ...]]:
    """Return the modules of ``table`` and the judgements; an entry may judge several variants of a line.

    Raises:
        BenchError: an entry lacks a field, has an unknown one, or speaks of a module that is not there.
    """
    document = tomllib.loads(table.read_text(encoding="utf-8"))
    try:
        modules = tuple(_module(**fields) for fields in document["modules"])
        judgements = tuple(one for fields in document.get("judged", ()) for one in _judgements(**fields))
    except (KeyError, TypeError) as err:
        raise BenchError(f"an entry of {table.name} is not as expected: {err}") from err
    strange = {one.path for one in judgements} - {module.path for module in modules}
    if strange:
        raise BenchError(f"{table.name} judges what it does not try: {', '.join(sorted(strange))}")
    return modules, judgements


def _module(*, path: str, tests: Sequence[str], quick: bool = False) -> Module:
    return Module(path=path, tests=tuple(tests), is_quick=quick)


def _judgements(*, becomes: Sequence[str], **fields: Any) -> Iterable[Judgement]:  # noqa: ANN401 - of TOML
    return [Judgement(becomes=one, **fields) for one in becomes]


def _proof(outcomes: dict[Module, Outcome], judgements: Sequence[Judgement]) -> Proof:
    every = [variant for outcome in outcomes.values() for variant in outcome.tried]
    survivors = [variant for outcome in outcomes.values() for variant in outcome.survivors]
    not_judged = [one for one in survivors if not any(judgement.is_of(one) for judgement in judgements)]
    of_nothing = [one for one in judgements if not any(one.is_of(variant) for variant in every)]
    noticed = [one for one in judgements if one not in of_nothing and not any(map(one.is_of, survivors))]
    return Proof(
        rows=(
            _row("variants that a tool made, tried", len(every)),
            _row("of those survived every test", len(survivors)),
            Row(
                figure=SECTION,
                what="rate of survivors",
                value=round(100 * len(survivors) / len(every), 2),
                unit="%",
            ),
            _row("survivors that nobody judged", len(not_judged), limit=0),
            _row("judgements of a line that is no more", len(of_nothing), limit=0),
        ),
        lines=(
            *(
                f"{module.path}: {len(outcome.tried)} variants, {len(outcome.survivors)} survived"
                for module, outcome in outcomes.items()
            ),
            *(_line("survived, not judged", one) for one in not_judged),
            *(_line("judged, and is no more", one) for one in of_nothing),
            *(_line("judged, and noticed by now", one) for one in noticed),
        ),
    )


def _row(what: str, value: int, *, limit: int | None = None) -> Row:
    return Row(figure=SECTION, what=what, value=value, unit="variants", limit=limit)


def _line(said: str, one: Variant | Judgement) -> str:
    return f"{said}: {one.path} {one.place}: {one.line} => {one.becomes}"
