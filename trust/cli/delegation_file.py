"""Owns the file of ``trust delegate apply``: many roles, spelled in TOML, every mistake told at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from trust.cli.user_file import read_bytes
from trust.delegations import TARGETS, checked_role
from trust.errors import InputError
from trust.instant import parse_duration
from trust.toml_table import TableReader, load_toml, tables
from trust.value import dataclass

FILE_MAX_BYTES = 4 * 1024 * 1024
_KEYS = ("name", "paths", "keys", "threshold", "bins", "expires", "from")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One role of the file; ``keys`` are names, URIs, or paths of public keys."""

    name: str
    paths: tuple[str, ...]
    keys: tuple[str, ...]
    threshold: int
    bins: int
    period: timedelta | None
    delegator: str


def read_delegation_file(path: Path) -> list[Entry]:
    """Return the roles of ``path``; a key file is looked for beside it.

    Raises:
        InputError: one line with every error of the document.
    """
    try:
        data = read_bytes(path, what="delegation file", max_bytes=FILE_MAX_BYTES)
        text = data.decode("utf-8")  # TOML has its own word on ends of lines
    except UnicodeDecodeError as err:
        raise InputError(f"delegation file cannot be read: {path}: {err}") from err
    document = load_toml(text, what=f"delegation file {path}", max_bytes=FILE_MAX_BYTES)
    errors: list[str] = []
    TableReader("top level", document, errors).unknown(("role",))
    entries = [_entry(reader, path.parent) for reader in tables(document, "role", errors)]
    names = [entry.name for entry in entries]
    errors += [f"role {name} stands twice" for name in sorted({name for name in names if names.count(name) > 1})]
    if not entries and not errors:
        errors.append("no [[role]] is in it")
    if errors:
        raise InputError(f"delegation file {path} is wrong: {'; '.join(errors)}")
    return entries


def _entry(reader: TableReader, beside: Path) -> Entry:
    reader.unknown(_KEYS)
    keys = reader.texts("keys", str)
    paths = reader.texts("paths", str)
    for what, values in (("keys", keys), ("paths", paths)):
        if not values:
            reader.errors.append(f"{reader.where}: {what} is missing")
    return Entry(
        name=reader.text("name", checked_role) or "",
        paths=paths,
        keys=tuple(_beside(beside, key) for key in keys),
        threshold=_number(reader, "threshold", 1),
        bins=_number(reader, "bins", 0),
        period=reader.text("expires", parse_duration, default=timedelta(0)) or None,
        delegator=reader.text("from", str, default=TARGETS) or TARGETS,
    )


def _beside(directory: Path, key: str) -> str:
    path = directory / key
    try:
        return str(path) if path.is_file() else key
    except OSError:  # a name that no file can have
        return key


def _number(reader: TableReader, key: str, default: int) -> int:
    value = reader.table.get(key, default)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    reader.errors.append(f"{reader.where}: {key} is no number: got {value!r}")
    return default
