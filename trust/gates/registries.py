"""Owns what podman's family reads of registries.conf, in its order: which entry decides over a host, and whose.

  1. the main file: the user's if there is one, else the system's; ``CONTAINERS_REGISTRIES_CONF`` replaces it
  2. the system's drop-ins, unless the user has a main file of his own: then none of them is read
  3. the user's drop-ins
A later file's entry for the same prefix replaces the earlier; the longest prefix that fits a name decides.
Source: containers-registries.conf.d(5), "Configuration precedence"; checked with podman 4.3 and skopeo 1.9.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from trust.errors import InputError
from trust.gates.files import Machine
from trust.gates.podman import DIRECTORY, MAIN
from trust.strict_json import fields, one_spelling
from trust.value import dataclass

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILE_FIELDS = fields("registry", "registries", "aliases", "unqualified-search-registries", "short-name-mode")
_MIRROR_FIELDS = fields("location", "insecure", "pull-from-mirror")
_ENTRY_FIELDS = fields("prefix", "mirror", "blocked", "mirror-by-digest-only", *_MIRROR_FIELDS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ``[[registry]]`` table; ``source`` is the file that has it, below the root."""

    prefix: str
    location: str
    mirrors: tuple[str, ...]
    is_blocked: bool
    source: str


def system_entries(machine: Machine) -> list[Entry]:
    """Return every entry of the system's files, overwritten ones too.

    Raises:
        InputError: one of them is malformed.
        StateError: one cannot be read.
    """
    return [entry for name in (MAIN, *drop_ins(machine, DIRECTORY)) for entry in file_entries(machine, name)]


def read_files(machine: Machine, home: str, main: str | None = None) -> list[str]:
    """Return the files that a user with ``home`` reads, in order; ``main`` is what his environment names."""
    user_main, user_directory = f"{home}/.config/containers/registries.conf", _user_directory(home)
    has_main = machine.read(user_main) is not None
    files = [main or (user_main if has_main else MAIN)]
    if main is not None or not has_main:
        files += drop_ins(machine, DIRECTORY)
    return [*files, *drop_ins(machine, user_directory)]


def effective_entries(machine: Machine, files: Iterable[str]) -> dict[str, Entry]:
    """Return the entry of each prefix that is in force when ``files`` are read in this order.

    Raises:
        InputError: one of them is malformed.
        StateError: one cannot be read.
    """
    return {entry.prefix: entry for name in files for entry in file_entries(machine, name)}


def drop_ins(machine: Machine, directory: str) -> list[str]:
    """Return the drop-ins of ``directory`` in the order they are read."""
    return [f"{directory}/{name}" for name in machine.names(directory) if name.endswith(".conf")]


def file_entries(machine: Machine, name: str) -> list[Entry]:
    """Return the entries of one file; none where there is no such file.

    Raises:
        InputError: it is malformed.
        StateError: it cannot be read.
    """
    text = machine.text(name)
    if text is None:
        return []
    try:
        document = one_spelling(tomllib.loads(text), _FILE_FIELDS, what=str(machine.path(name)))
        return [_entry(table, machine, name) for table in document.get("registry", [])]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as err:
        raise InputError(f"{machine.path(name)} is no registries.conf: {err}") from err


def _entry(table: dict[str, Any], machine: Machine, source: str) -> Entry:
    what = str(machine.path(source))
    location = str(one_spelling(table, _ENTRY_FIELDS, what=what).get("location", "")).rstrip("/")
    mirrors = [one_spelling(mirror, _MIRROR_FIELDS, what=what) for mirror in table.get("mirror", [])]
    return Entry(
        prefix=str(table.get("prefix") or location).rstrip("/"),
        location=location,
        mirrors=tuple(str(mirror["location"]) for mirror in mirrors),
        is_blocked=table.get("blocked") is True,
        source=source,
    )


def _user_directory(home: str) -> str:
    return f"{home}/.config/containers/registries.conf.d"
