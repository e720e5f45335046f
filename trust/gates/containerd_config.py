"""Owns the reading of containerd's config.toml: its registry table, and which of its imports may say otherwise.

An imported file replaces whole tables of plug-ins, by rules that differ between versions: they are not followed
here. What is told is whether an imported file speaks of the plug-in that pulls at all.
Source: containerd-config.toml(5), "imports".
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from trust.errors import InputError, TrustError
from trust.gates.containerd import CONFIG
from trust.gates.files import Machine
from trust.strict_json import fields, one_spelling

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLUGINS = ("io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri")
_FIELDS = fields("version", "imports", "plugins", "disabled_plugins")
_PLUGIN_FIELDS = fields("registry")
_REGISTRY_FIELDS = fields("config_path", "mirrors")


def read_config(machine: Machine, name: str) -> dict[str, Any]:
    """Return the tables of a config.toml; none where there is no such file.

    Raises:
        InputError: it is malformed, or spells a key that decides here as only some readers take it.
        StateError: it cannot be read.
    """
    try:
        return _parsed(machine.text(name) or "", str(machine.path(name)))
    except (ValueError, TypeError, AttributeError, RecursionError) as err:
        raise InputError(f"{machine.path(name)} is not valid TOML of containerd: {err}") from err


def registry_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the registry table of the plug-in that pulls."""
    return next((table for table in (plugin.get("registry", {}) for plugin in _tables(document)) if table), {})


def decisive_import(machine: Machine, document: dict[str, Any]) -> str | None:
    """Return the first import that may speak of the plug-in that pulls, None if no one does."""
    imports = document.get("imports", [])
    if not isinstance(imports, list):
        return str(imports)
    return next((found for text in imports for found in _decisive(machine, str(text))), None)


def _parsed(text: str, what: str) -> dict[str, Any]:
    document = one_spelling(tomllib.loads(text), _FIELDS, what=what)
    if not isinstance(document.get("disabled_plugins", []), list):
        raise TypeError("disabled_plugins is no list")
    for plugin in _tables(document):
        registry = one_spelling(plugin, _PLUGIN_FIELDS, what=what).get("registry", {})
        one_spelling(registry, _REGISTRY_FIELDS, what=what)
    return document


def _decisive(machine: Machine, imported: str) -> Iterator[str]:
    """Yield ``imported``, or the files that it fits, where they are not known to say nothing of it."""
    path = PurePosixPath("/", CONFIG).parent / imported
    if ".." in path.parts or set("*?[\\\0") & set(str(path.parent)) or set("?[\\") & set(path.name):
        yield imported
        return
    directory = str(path.parent).lstrip("/")
    try:
        names = machine.names(directory)
    except TrustError:
        yield imported
        return
    for name in names:
        if fnmatchcase(name, path.name) and not _is_silent(machine, f"{directory}/{name}"):
            yield f"{path.parent}/{name}"


def _is_silent(machine: Machine, name: str) -> bool:
    try:
        document = read_config(machine, name)
    except TrustError:
        return False
    return not (document.get("imports") or document.get("disabled_plugins") or any(_tables(document)))


def _tables(document: dict[str, Any]) -> list[dict[str, Any]]:
    plugins = document.get("plugins", {})
    return [plugins.get(name, {}) for name in PLUGINS]
