"""Owns the examination of an installed gate: its files are there, unchanged, and nothing leads past them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trust.digest import sha256
from trust.errors import InputError, TrustError
from trust.finding import Finding, error, fine, unknown
from trust.gates.containerd_check import containerd_findings
from trust.gates.docker_check import docker_findings
from trust.gates.files import Machine
from trust.gates.gate import RuntimeName
from trust.gates.podman_check import podman_findings
from trust.gates.record import Record

_BYPASSES: Mapping[RuntimeName, Callable[[Record, Machine, Mapping[str, str]], list[Finding]]] = {
    "containerd": containerd_findings,
    "podman": podman_findings,
    "docker": docker_findings,
}


def installed_findings(record: Record, machine: Machine, environ: Mapping[str, str]) -> list[Finding]:
    """Return what is found about the installation of ``record``; ``environ`` is that of the user who asks."""
    findings = file_findings(record, machine)
    try:
        findings += _BYPASSES[record.runtime](record, machine, environ)
    except InputError as err:
        findings.append(
            error(str(err), "mend the file: a client that cannot read it stops, or goes past the gate")
        )
    except TrustError as err:
        findings.append(unknown(str(err), err.hint))
    return findings


def file_findings(record: Record, machine: Machine) -> list[Finding]:
    """Return whether each file of ``record`` is there and as it was written."""
    findings = []
    again = f"trust gate install --runtime {record.runtime} --gate {record.gate.url}"
    for path, digest in record.files.items():
        try:
            data = machine.read(path)
        except TrustError as err:
            findings.append(unknown(str(err), err.hint))
            continue
        if data is None:
            findings.append(error(f"{record.runtime}: file is missing: {machine.path(path)}", again))
        elif sha256(data) != digest:
            findings.append(error(f"{record.runtime}: file was changed: {machine.path(path)}", again))
    if not findings:
        files = f"{len(record.files)} files are there and unchanged" if record.files else "no file is needed"
        findings.append(
            fine(f"{record.runtime}: gate {record.gate.url} for {', '.join(record.upstreams)}: {files}")
        )
    return findings
