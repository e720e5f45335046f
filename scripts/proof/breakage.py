"""Owns the list of ways to break the product: what is edited where, what that breaks, which tests notice it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.setting import BenchError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One edit: ``find``, which stands exactly once in ``path``, becomes ``replace``.

    ``part`` is the part of the product that it breaks, ``tests`` are files or node ids of pytest.
    """

    part: str
    name: str
    path: str
    find: str
    replace: str
    breaks: str
    tests: tuple[str, ...]


def read(file: Path) -> tuple[Mutant, ...]:
    """Return the mutants of ``file``, each table of which is a part of the product.

    Raises:
        BenchError: one of them lacks a field, has an unknown one, no test, or the name of another.
    """
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    try:
        mutants = tuple(
            Mutant(part=part, tests=tuple(fields.pop("tests")), **fields)
            for part, listed in document.items()
            for fields in listed
        )
    except (KeyError, TypeError) as err:
        raise BenchError(f"a mutant of {file.name} is not as expected: {err}") from err
    names = [mutant.name for mutant in mutants]
    for mutant in mutants:
        if not mutant.tests or names.count(mutant.name) > 1:
            raise BenchError(f"mutant {mutant.name}: expected one of that name, with tests")
    return mutants


def require_standing(mutants: Sequence[Mutant], checkout: Path) -> None:
    """Require that each edit still finds its place: the code may have changed under the list.

    Raises:
        BenchError: an edit has no place or several, or changes nothing.
    """
    for mutant in mutants:
        _edited(mutant, checkout)


@contextmanager
def applied(mutant: Mutant, checkout: Path) -> Iterator[None]:
    """Have ``mutant`` in ``checkout``, which is nobody else's at the time, as long as the context lasts."""
    with replaced(checkout / mutant.path, _edited(mutant, checkout)):
        yield


@contextmanager
def replaced(path: Path, text: str) -> Iterator[None]:
    """Have ``text`` in the module ``path`` as long as the context lasts, and no compiled code of another."""
    whole = path.read_text(encoding="utf-8")
    _write(path, text)
    try:
        yield
    finally:
        _write(path, whole)


def _edited(mutant: Mutant, checkout: Path) -> str:
    path = checkout / mutant.path
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = text.count(mutant.find)
    if found != 1 or mutant.find == mutant.replace:
        raise BenchError(f"mutant {mutant.name}: its edit finds {found} places in {mutant.path}, expected 1")
    return text.replace(mutant.find, mutant.replace)


def _write(path: Path, text: str) -> None:
    # Compiled code is told from its source by seconds and size, and two mutants may agree in both.
    compiled = Path(importlib.util.cache_from_source(path))
    compiled.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    compiled.unlink(missing_ok=True)
