"""Owns the journeys ``gate install`` and ``gate remove``: what is ours is written, what is another's is left.

1. what is there is read; a file of somebody else in our place, or one that speaks of the same prefix, ends it
2. files of an earlier installation that are in the plan no more are taken away
3. each file is written as a whole, if it is not so already, then the record
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trust.digest import sha256
from trust.errors import InputError
from trust.gates.containerd import containerd_advice, containerd_files
from trust.gates.docker import (
    DAEMON,
    daemon_text,
    docker_advice,
    docker_files,
    parse_daemon,
    with_insecure,
    without_insecure,
)
from trust.gates.files import Machine
from trust.gates.gate import MARK, File, Plan, RuntimeName
from trust.gates.podman import DROP_IN, podman_advice, podman_files
from trust.gates.record import Record, read_record, record_bytes, record_name, record_of
from trust.gates.registries import system_entries
from trust.value import dataclass

FILES: Mapping[RuntimeName, Callable[[Plan], tuple[File, ...]]] = {
    "containerd": containerd_files,
    "podman": podman_files,
    "docker": docker_files,
}
ADVICE: Mapping[RuntimeName, Callable[[Plan], tuple[str, ...]]] = {
    "containerd": containerd_advice,
    "podman": podman_advice,
    "docker": docker_advice,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one file: ``written``, ``merged``, ``removed``, ``unchanged``; ``kept``: it was edited."""

    path: str
    what: str

    @property
    def is_change(self) -> bool:
        """Tell whether the file is not as it was."""
        return self.what not in {"unchanged", "kept"}


def install(plan: Plan, machine: Machine, *, dry_run: bool) -> list[Change]:
    """Have the files of ``plan`` on ``machine`` after this, by the steps of this module.

    Raises:
        InputError: a file of somebody else is in the way; nothing was written.
        StateError: a file cannot be read or written; what is written is whole, and repeating goes on.
    """
    files = FILES[plan.runtime](plan)
    before = read_record(machine, plan.runtime)
    for file in files:
        _require_ours(machine, file, before)
    if plan.runtime == "podman":
        _require_no_other_entry(plan, machine)
    daemon, insecure = _daemon(plan, machine, before)
    writes = [*files, *daemon]
    stale = [path for path in (before.files if before else {}) if path not in {file.path for file in files}]
    changes = [_taken(machine, path, before, dry_run=dry_run) for path in stale]
    record = File(path=record_name(plan.runtime), data=record_bytes(record_of(plan, files, insecure)))
    for file in (*writes, record):
        is_same = machine.read(file.path) == file.data
        if not is_same and not dry_run:
            machine.write(file.path, file.data)
        word = "merged" if file in daemon else "written"
        changes.append(Change(path=file.path, what="unchanged" if is_same else word))
    return changes


def remove(runtime: RuntimeName, machine: Machine) -> list[Change]:
    """Have nothing of ``install`` on ``machine`` after this; a file that was edited since is kept, and said so.

    Raises:
        InputError: the record, or daemon.json, is damaged.
        StateError: a file cannot be read or removed.
    """
    record = read_record(machine, runtime)
    if record is None:
        return []
    changes = [_taken(machine, path, record, dry_run=False) for path in record.files]
    text = machine.text(DAEMON) if record.insecure else None
    if text is not None:
        document = parse_daemon(text, source=f"{machine.path(DAEMON)}")
        left = _without(document, record.insecure)
        if left != document:
            _write_daemon(machine, left)
            changes.append(Change(path=DAEMON, what="merged" if left else "removed"))
    machine.remove(record_name(runtime))
    return [*changes, Change(path=record_name(runtime), what="removed")]


def _taken(machine: Machine, path: str, record: Record | None, *, dry_run: bool) -> Change:
    data = machine.read(path)
    if data is None:
        return Change(path=path, what="unchanged")
    if record is None or sha256(data) != record.files[path]:
        return Change(path=path, what="kept")
    if not dry_run:
        machine.remove(path)
    return Change(path=path, what="removed")


def _require_ours(machine: Machine, file: File, record: Record | None) -> None:
    data = machine.read(file.path)
    known = record.files.get(file.path) if record else None
    if data is None or data == file.data or data.startswith(MARK.encode()) or sha256(data) == known:
        return
    raise InputError(
        f"a file of somebody else is in the way: {machine.path(file.path)}",
        hint="move it away, with what it says of other hosts, then repeat the command",
    )


def _require_no_other_entry(plan: Plan, machine: Machine) -> None:
    for entry in system_entries(machine):
        if entry.prefix in plan.upstreams and entry.source != DROP_IN:
            raise InputError(
                f"{machine.path(entry.source)} has an entry of its own for {entry.prefix}",
                hint="remove that [[registry]] table there; two files with one prefix overwrite each other",
            )


def _daemon(plan: Plan, machine: Machine, before: Record | None) -> tuple[list[File], tuple[str, ...]]:
    """Return daemon.json as it is to be, if we have anything to say there, and the hosts that are ours in it."""
    ours = before.insecure if before else ()
    if plan.runtime != "docker" or not (plan.gate.is_plain or ours):
        return [], ()
    document = parse_daemon(machine.text(DAEMON) or "", source=str(machine.path(DAEMON)))
    wanted = _without(document, [host for host in ours if host != plan.gate.host])
    if plan.gate.is_plain:
        is_ours = wanted != with_insecure(wanted, plan.gate.host) or plan.gate.host in ours
        ours = (plan.gate.host,) if is_ours else ()
        wanted = with_insecure(wanted, plan.gate.host)
    else:
        ours = ()
    if wanted == document:
        return [], ours
    return [File(path=DAEMON, data=daemon_text(wanted).encode())], ours


def _without(document: dict[str, Any], hosts: Iterable[str]) -> dict[str, Any]:
    for host in hosts:
        document = without_insecure(document, host)
    return document


def _write_daemon(machine: Machine, document: dict[str, Any]) -> None:
    if document:
        machine.write(DAEMON, daemon_text(document).encode())
    else:
        machine.remove(DAEMON)
