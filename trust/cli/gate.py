"""The commands ``trust gate …``: have this machine's own clients go through the shim, and through nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trust.cli.options import Group
from trust.cli.session import Session, session
from trust.cli.user_file import read_bytes
from trust.finding import Finding
from trust.gates.check import installed_findings
from trust.gates.files import FILE_MAX_BYTES, Machine
from trust.gates.gate import RUNTIMES, Plan, RuntimeName, checked_plan, gated_name, parse_gate, upstreams_of
from trust.gates.installation import ADVICE, Change
from trust.gates.installation import install as install_files
from trust.gates.installation import remove as remove_files
from trust.gates.record import read_record

gate = Group("gate", help="Have this machine's clients pull through the registry shim, and from nowhere else.")

root_option = click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/"),
    help="The file system whose /etc is meant, of an image that is being built.",
)


def runtime_option(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that names the client."""
    text = "Whose files: podman's are skopeo's, buildah's and CRI-O's too."
    return click.option("--runtime", type=click.Choice(RUNTIMES), required=required, help=text)


@gate.command("install")
@runtime_option(required=True)
@click.option("--gate", "url", metavar="URL", required=True, help="Where the shim is: https://HOST[:PORT].")
@click.option("--upstream", "hosts", metavar="HOST", multiple=True, help="Not every host that the policy names.")
@root_option
@click.option(
    "--ca", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="The gate's authority."
)
@click.option("--dry-run", is_flag=True, help="Say what would be written.")
def install(
    *, runtime: RuntimeName, url: str, hosts: tuple[str, ...], root: Path, ca: Path | None, dry_run: bool
) -> int:
    """Write the files that make every pull go through the gate, with no origin to fall back to."""
    run, machine = session(), Machine(root.absolute())
    plan = _plan(run, runtime, url, hosts, ca)
    changes = install_files(plan, machine, dry_run=dry_run)
    warnings = [] if dry_run else _warnings(runtime, machine)
    advice = ADVICE[runtime](plan)
    document = {
        "runtime": runtime,
        "gate": plan.gate.url,
        "upstreams": list(plan.upstreams),
        "names": {host: gated_name(plan.gate, host) for host in plan.upstreams},
        **_files(machine, changes),
        "dry_run": dry_run,
        "advice": list(advice),
        "warnings": [finding.document for finding in warnings],
    }
    lines = [*_lines(machine, changes, dry_run=dry_run), *(f"next: {text}" for text in advice)]
    run.output.result("gate install", document, lines)
    for finding in warnings:
        run.output.warn(finding.what)
        if finding.hint:
            run.output.hint(finding.hint)
    return 0


@gate.command("remove")
@runtime_option(required=True)
@root_option
def remove(*, runtime: RuntimeName, root: Path) -> int:
    """Take away what was installed; a file that was edited since is kept."""
    run, machine = session(), Machine(root.absolute())
    changes = remove_files(runtime, machine)
    document = {"runtime": runtime, **_files(machine, changes)}
    run.output.result("gate remove", document, _lines(machine, changes, dry_run=False) or ["nothing is installed"])
    for change in changes:
        if change.what == "kept":
            run.output.warn(f"{machine.path(change.path)} was edited since it was installed, and is kept")
    return 0


def _plan(run: Session, runtime: RuntimeName, url: str, hosts: tuple[str, ...], ca: Path | None) -> Plan:
    found = parse_gate(url)
    upstreams = hosts or tuple(host for host in upstreams_of(run.policy) if host != found.host)
    authority = read_bytes(ca, what="the CA file", max_bytes=FILE_MAX_BYTES) if ca is not None else None
    return checked_plan(runtime, found, upstreams, authority)


def _warnings(runtime: RuntimeName, machine: Machine) -> list[Finding]:
    """Return what still leads past the gate, beside what is advised anyway."""
    record = read_record(machine, runtime)
    found = installed_findings(record, machine, os.environ) if record else []
    return [finding for finding in found if finding.level in {"error", "unknown"}]


def _files(machine: Machine, changes: list[Change]) -> dict[str, Any]:
    files = [{"path": str(machine.path(change.path)), "what": change.what} for change in changes]
    return {"files": files, "changed": any(change.is_change for change in changes)}


def _lines(machine: Machine, changes: list[Change], *, dry_run: bool) -> list[str]:
    would = "would be " if dry_run else ""
    return [f"{would if change.is_change else ''}{change.what} {machine.path(change.path)}" for change in changes]
