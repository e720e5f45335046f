"""Owns what leads containerd past the gate: other hosts' folders, and a config.toml that names none of ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from trust.errors import InputError, StateError
from trust.finding import Finding, error, fine, unknown, warning
from trust.gates.containerd import CONFIG, DEFAULT, DIRECTORY, config_text
from trust.gates.containerd_config import PLUGINS, decisive_import, read_config, registry_of
from trust.gates.files import Machine
from trust.gates.record import Record
from trust.strict_json import fields, one_spelling

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_HOSTS_FIELDS = fields("host", "server", "capabilities")
_OURS = f"/{DIRECTORY}"
_PULLS = frozenset({"pull", "resolve"})


def containerd_findings(record: Record, machine: Machine, _environ: Mapping[str, str]) -> list[Finding]:
    """Return what leads past the gate.

    Raises:
        InputError: config.toml is malformed.
        StateError: a file cannot be read.
    """
    config, directories = config_findings(machine)
    findings = [found for directory in directories for found in _other_hosts(record, machine, directory)]
    if not findings:
        findings.append(fine("containerd: no directory of another leads past the gate"))
    return [*findings, *config]


def config_findings(machine: Machine) -> tuple[list[Finding], list[str]]:
    """Return whether config.toml names our directory, and every directory of hosts that counts.

    Raises:
        InputError: config.toml is malformed.
        StateError: a file cannot be read.
    """
    document = read_config(machine, CONFIG)
    version = document.get("version") if isinstance(document.get("version"), int) else 2
    add = f"add to {machine.path(CONFIG)}: {'; '.join(config_text(version=version or 2).splitlines()[1:])}"
    if set(PLUGINS) & set(map(str, document.get("disabled_plugins", []))):
        what = "containerd: its CRI plug-in is off: only clients that are given --hosts-dir use the gate's files"
        return [warning(what, f"give them --hosts-dir {_OURS}")], [DIRECTORY]
    registry = registry_of(document)
    if registry.get("mirrors"):
        return [error(f"containerd: {machine.path(CONFIG)} has mirrors, which exclude config_path", add)], [
            DIRECTORY
        ]
    paths = [str(PurePosixPath(path)) for path in str(registry.get("config_path", "")).split(":") if path]
    directories = [path.lstrip("/") for path in paths]
    imported = decisive_import(machine, document)
    if _OURS in paths and imported is not None:
        what = f"containerd: {machine.path(CONFIG)} imports {imported}, which may name another config_path"
        hint = f"see that `containerd config dump` has config_path = '{_OURS}', or remove the import"
        return [unknown(what, hint)], directories
    if _OURS in paths:
        return [fine(f"containerd: config_path names {_OURS}")], directories
    if imported is not None:
        what = f"containerd: {machine.path(CONFIG)} names no config_path of ours; it imports {imported}"
        return [unknown(what, add)], [DIRECTORY]
    return [error(f"containerd: config_path does not name {_OURS}: Kubernetes goes past the gate", add)], [
        DIRECTORY
    ]


def _other_hosts(record: Record, machine: Machine, directory: str) -> Iterator[Finding]:
    """Yield each directory that is not ours, and that containerd prefers to ``_default`` or to one of ours."""
    for name in machine.names(directory):
        path = f"{directory}/{name}/hosts.toml"
        if path in record.files or not machine.path(f"{directory}/{name}").is_dir():
            continue
        why = _past(record, machine, path)
        if why is not None:
            host = "every host" if name == DEFAULT else _host(name)
            what = f"containerd: {machine.path(directory) / name} leads {host} past the gate: {why}"
            yield error(what, "remove that directory; trust gate install --upstream HOST writes one for the gate")


def _past(record: Record, machine: Machine, path: str) -> str | None:
    try:
        text = machine.text(path)
        document = tomllib.loads(text or "")
    except (InputError, StateError, tomllib.TOMLDecodeError, RecursionError):
        return "its hosts.toml cannot be read, and then it is not"
    hosts = document.get("host")
    tables = [document, *(hosts.values() if isinstance(hosts, dict) else [])]
    if not all(isinstance(table, dict) for table in tables):
        return "a host in its hosts.toml is no table, and then it is not read"
    try:
        for table in tables:
            one_spelling(table, _HOSTS_FIELDS, what="its hosts.toml")
    except InputError as err:
        return str(err)
    if not text or not isinstance(hosts, dict) or not hosts:
        return "it has no hosts.toml with a [host] block, and then the origin is asked"
    asked = [str(url) for url, table in hosts.items() if _PULLS & set(table.get("capabilities", _PULLS))]
    if _PULLS & set(document.get("capabilities", _PULLS)) or "server" not in document:
        asked.append(str(document.get("server", "the origin")))
    return next((f"it asks {url}" for url in asked if url.rstrip("/") != record.gate.url), None)


def _host(name: str) -> str:
    """Return the host that a directory stands for: ``HOST_PORT_`` is preferred to ``HOST:PORT``."""
    host, _, port = name.removesuffix("_").rpartition("_")
    return f"{host}:{port}" if name.endswith("_") and host and port.isdigit() else name
