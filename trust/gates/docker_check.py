"""Owns what leads dockerd past the gate: mirrors, and that it cannot be kept from origins by any setting."""

from __future__ import annotations

from collections.abc import Mapping

from trust.finding import Finding, error, warning
from trust.gates.docker import DAEMON, INSECURE, MIRRORS, parse_daemon
from trust.gates.files import Machine
from trust.gates.gate import gated_name
from trust.gates.record import Record


def docker_findings(record: Record, machine: Machine, _environ: Mapping[str, str]) -> list[Finding]:
    """Return what leads past the gate.

    Raises:
        InputError: daemon.json is malformed.
        StateError: it cannot be read.
    """
    path = machine.path(DAEMON)
    document = parse_daemon(machine.text(DAEMON) or "", source=str(path))
    findings = []
    if mirrors := document.get(MIRRORS):
        findings.append(
            error(
                f"docker: {path} has {MIRRORS} ({', '.join(mirrors)}): docker.io is asked when a mirror refuses",
                f"remove {MIRRORS}, and name images by the gate",
            )
        )
    if set(record.insecure) - set(document.get(INSECURE, [])):
        findings.append(error(f"docker: {path} does not name the gate any more under {INSECURE}"))
    names = ", ".join(f"{gated_name(record.gate, host)}/…" for host in record.upstreams)
    findings.append(
        warning(
            f"docker: only images named {names} go through the gate",
            f"block egress to {', '.join(record.upstreams)}: no setting of dockerd does",
        )
    )
    return findings
