"""Owns what leads podman, skopeo, buildah and CRI-O past the gate: entries, mirrors and main files of others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from trust.errors import InputError, StateError
from trust.finding import Finding, error, fine, unknown, warning
from trust.gates.files import Machine
from trust.gates.podman import DROP_IN
from trust.gates.record import Record
from trust.gates.registries import Entry, effective_entries, read_files

_POLICY = "etc/containers/policy.json"
_MEND = "mend the file: a client that cannot read it pulls nothing"
_NAMES_MAIN = ("CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH")


def podman_findings(record: Record, machine: Machine, environ: Mapping[str, str]) -> list[Finding]:
    """Return what leads past the gate, for each user whose home is known.

    Raises:
        StateError: the homes cannot be listed.
    """
    homes = _homes(machine, environ)
    ways = [*(partial(read_files, machine, home) for home in homes), partial(own_files, machine, environ)]
    findings = dict.fromkeys(found for files in ways for found in _past_by(record, machine, files))
    if not findings:
        findings[fine("podman: no file of another leads past the gate")] = None
    policies = dict.fromkeys(_policy_of(machine, home) for home in homes)
    return [*findings, *policies]


def own_files(machine: Machine, environ: Mapping[str, str]) -> list[str]:
    """Return the files that the clients of the asking user read, in order.

    Below another root than ``/`` his own environment says nothing: it is that of root there.
    """
    is_here = machine.root == Path("/")
    main = next((environ[name] for name in _NAMES_MAIN if environ.get(name)), None) if is_here else None
    return read_files(machine, _own_home(machine, environ), main=main.lstrip("/") if main else None)


def _past_by(record: Record, machine: Machine, files: Callable[[], list[str]]) -> list[Finding]:
    """Return what one user's files do; one that cannot be read, or is malformed, hides nothing of the others'."""
    try:
        return list(_reading(record, machine, files()))
    except InputError as err:
        return [error(str(err), _MEND)]
    except StateError as err:
        return [unknown(str(err), err.hint)]


def _reading(record: Record, machine: Machine, files: list[str]) -> Iterator[Finding]:
    if DROP_IN not in files:
        yield error(
            f"podman: {machine.path(files[0])} keeps the system's drop-ins from being read, the gate's among them",
            "remove it, or move what it says to registries.conf.d beside it",
        )
        return
    for prefix, entry in effective_entries(machine, files).items():
        host = next((host for host in record.upstreams if _decides(prefix, host)), None)
        if host is not None and entry.source != DROP_IN and (why := _past(record, entry)):
            hint = f"remove the [[registry]] table of {prefix} there"
            yield error(f"podman: {machine.path(entry.source)} leads {prefix} past the gate: {why}", hint)
        led = next((host for host in record.upstreams if _is_within(entry.location, host)), None)
        if host is None and led is not None and not entry.is_blocked:
            what = f"podman: {machine.path(entry.source)} leads {prefix} to {led}, past the gate"
            yield error(what, f"remove the [[registry]] table of {prefix} there")


def _past(record: Record, entry: Entry) -> str | None:
    if entry.is_blocked:
        return None
    for mirror in entry.mirrors:
        if not _is_within(mirror, record.gate.host):
            return f"it has the mirror {mirror}"
    if not _is_within(entry.location or entry.prefix, record.gate.host):
        return f"its location is {entry.location or 'unset'}"
    return None


def _decides(prefix: str, host: str) -> bool:
    """Tell whether an entry of ``prefix`` decides over names of ``host``, or some of them, that has its own entry.

    The longer prefix decides, by its letters; between ``*.example.com`` and ``r.example.com`` the wild card does.
    """
    if prefix.startswith("*."):
        return host.endswith(prefix[1:]) and len(prefix) >= len(host)
    return _is_within(prefix, host)


def _is_within(name: str, prefix: str) -> bool:
    """Tell whether ``name`` is ``prefix`` or a narrower one; a port after a host is narrower, as podman has it."""
    return name == prefix or (name.startswith(prefix) and name[len(prefix)] in ":/@")


def _policy_name(machine: Machine, home: str) -> str:
    """Return the policy.json of a user with ``home``: his own replaces the system's."""
    own = f"{home}/.config/containers/policy.json"
    return own if machine.read(own) is not None else _POLICY


def _policy_of(machine: Machine, home: str) -> Finding:
    try:
        return _policy(machine, _policy_name(machine, home))
    except InputError as err:
        return error(str(err), _MEND)
    except StateError as err:
        return unknown(str(err), err.hint)


def _policy(machine: Machine, name: str) -> Finding:
    """Return whether hosts without an entry, and other spellings of a host, are refused."""
    text = machine.text(name)
    try:
        default = json.loads(text)["default"] if text else []
        default = default if isinstance(default, list) else []
    except (ValueError, LookupError, TypeError, RecursionError):
        default = []
    if [entry.get("type") for entry in default if isinstance(entry, dict)] == ["reject"]:
        return fine(f"podman: {machine.path(name)} refuses every host that it does not name")
    return warning(
        "podman: hosts without an entry, and other spellings of one (UPPER case, its address), go past the gate",
        f'write {machine.path(name)} with "default": [{{"type": "reject"}}] and the gated hosts; docs/gate.md',
    )


def _homes(machine: Machine, environ: Mapping[str, str]) -> list[str]:
    """Return the homes whose files count, below the root: the asking user's, root's, and those under /home."""
    found = [_own_home(machine, environ), "root", *(f"home/{name}" for name in machine.names("home"))]
    return list(dict.fromkeys(found))


def _own_home(machine: Machine, environ: Mapping[str, str]) -> str:
    home = environ.get("HOME", "/root") if machine.root == Path("/") else "/root"
    return home.lstrip("/")
