"""Owns the reading of TOML tables that a person wrote: typed values out, every mistake reported at once.

An unknown key is an error: a misspelt rule must not fall open. Pure: text in, values out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from trust.errors import InputError, TrustError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - one of the two, by the interpreter
    import tomli as tomllib

T = TypeVar("T")


def load_toml(text: str, *, what: str, max_bytes: int) -> dict[str, Any]:
    """Return the document that ``text`` spells; ``what`` names it in messages (``policy /etc/…``).

    Raises:
        InputError: too large, or not TOML.
    """
    if len(text) > max_bytes:
        raise InputError(f"{what} is too large: expected at most {max_bytes} bytes")
    try:
        document = tomllib.loads(text)
        _require_representable(document)
    except (ValueError, RecursionError) as err:  # the reader's own, and Python's of a number of 5,000 digits
        raise InputError(f"{what} is not valid TOML: {err}") from err
    return document


def _require_representable(document: dict[str, Any]) -> None:
    """Return if no integer has more than 64 bits, and no text a NUL.

    The reader takes any: Python refuses to print integers of 4,300 digits, and to open a path with a NUL.
    """
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("an integer has more than 64 bits")
        elif isinstance(value, str) and "\0" in value:
            raise ValueError("a text has a NUL")


class TableReader:
    """Reads typed values out of one table and gathers what is wrong with it."""

    def __init__(self, where: str, table: Mapping[str, Any], errors: list[str]) -> None:
        self.where = where
        self.table = table
        self.errors = errors

    def unknown(self, known: Iterable[str]) -> None:
        """Note every key that is not among ``known``."""
        extra = sorted(set(self.table) - set(known))
        self.errors.extend(f"{self.where}: unknown key {key!r}" for key in extra)

    def text(self, key: str, parse: Callable[[str], T], *, default: T | None = None) -> T | None:
        """Return the parsed text under ``key``; ``default`` where missing, which without one is a mistake."""
        value = self.table.get(key)
        if value is None:
            if default is None:
                self.errors.append(f"{self.where}: {key} is missing")
            return default
        if not isinstance(value, str):
            self.errors.append(f"{self.where}: {key} is not text")
            return default
        return self._parsed(key, value, parse)

    def texts(self, key: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """Return the parsed texts of the list under ``key``; none where it is missing."""
        values = self.table.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self.errors.append(f"{self.where}: {key} is not a list of texts")
            return ()
        parsed = (self._parsed(key, value, parse) for value in values)
        return tuple(value for value in parsed if value is not None)

    def _parsed(self, key: str, value: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(value)
        except TrustError as err:
            self.errors.append(f"{self.where}: {key}: {err}")
            return None


def tables(document: Mapping[str, Any], key: str, errors: list[str]) -> list[TableReader]:
    """Return a reader for each of the ``[[key]]`` tables."""
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        errors.append(f"top level: {key}: expected [[{key}]] tables")
        return []
    return [TableReader(f"{key} {number}", table, errors) for number, table in enumerate(value, 1)]


def table(document: Mapping[str, Any], key: str, errors: list[str]) -> Mapping[str, Any]:
    """Return the ``[key]`` table, empty where it is missing."""
    value = document.get(key, {})
    if isinstance(value, dict):
        return value
    errors.append(f"top level: {key}: expected a table")
    return {}


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that takes nothing but ``words``."""

    def parse(text: str) -> str:
        if text not in words:
            raise InputError(f"expected {' or '.join(words)}, got {text!r}")
        return text

    return parse
