"""A trial that proves nothing says so; dockerd's keeps no image that it had not before."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.simulators.authority import Authority
from tests.simulators.gate import RecordingGate
from tests.simulators.node import Node, dockerd
from tests.simulators.wire import WireServer
from trust.finding import Finding
from trust.gates.files import Machine
from trust.gates.gate import RUNTIMES, RuntimeName, checked_plan, parse_gate
from trust.gates.installation import install
from trust.gates.record import read_record
from trust.gates.trial import Trial, trial_findings
from trust.reference import parse_reference

HOST = "registry.test"


def tried(
    runtime: RuntimeName, root: Path, gate: str, environ: dict[str, str], ca: bytes | None = None
) -> list[Finding]:
    machine = Machine(root)
    install(checked_plan(runtime, parse_gate(gate), [HOST], ca), machine, dry_run=False)
    record = read_record(machine, runtime)
    assert record is not None
    unsigned = parse_reference(f"{HOST}/acme/web:1")
    return trial_findings(Trial(record=record, machine=machine, environ=environ, unsigned=unsigned))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_trial_without_a_client_did_not_find_out(runtime: RuntimeName, tmp_path: Path) -> None:
    (finding,) = tried(runtime, tmp_path, "https://gate.test", {"PATH": str(tmp_path)})
    assert (finding.level, "no client" in finding.what) == ("unknown", True)


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("reading manifest: denied: unsigned: nobody signed this", "ok"),
        ("failed with status code [manifests 9]: 403 Forbidden", "ok"),
        ("manifest unknown: no such tag", "ok"),
        ("mkdir /var/lib/containers: permission denied", "unknown"),
        ("x509: certificate signed by unknown authority", "unknown"),
        ("received unexpected HTTP status: 500", "unknown"),
        ("connection refused", "unknown"),
    ],
)
def test_client_that_failed_for_another_reason_was_not_refused(said: str, level: str, tmp_path: Path) -> None:
    client = tmp_path / "skopeo"
    client.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    client.chmod(0o755)
    _, refused = tried("podman", tmp_path, "https://gate.test", {"PATH": f"{tmp_path}:/bin"})
    assert refused.level == level


def test_trial_by_a_client_that_never_asks_anybody_proves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "skopeo"
    broken.write_text("#!/bin/sh\necho 'it is denied' >&2\nexit 1\n")
    broken.chmod(0o755)
    canary, _ = tried("podman", tmp_path, "https://gate.test", {"PATH": f"{tmp_path}:/bin"})
    assert (canary.level, "proves nothing" in canary.what) == ("unknown", True)


@pytest.mark.root
def test_docker_is_refused_by_the_gate_and_keeps_nothing_that_it_pulled_for_the_trial(
    node: Node, registry: str, tmp_path: Path
) -> None:
    authority, script = Authority(tmp_path), RecordingGate(registry=registry, status=403)
    ca = authority.certificate.read_bytes()
    with (
        WireServer(script=script.script, tls=authority.server_context("127.0.0.1")) as gate,
        TemporaryDirectory(prefix="d-") as directory,
    ):
        install(checked_plan("docker", parse_gate(gate.url), [HOST], ca), Machine(node.root), dry_run=False)
        with dockerd(node, Path(directory)) as environment:
            canary, refused = tried("docker", node.root, gate.url, environment, ca)
            assert (canary.level, refused.level) == ("warning", "ok")
            assert f"{gate.host}/{HOST}/acme/web:1 was refused" in refused.what
            script.status = None
            _, pulled = tried("docker", node.root, gate.url, environment, ca)
            assert (pulled.level, "which nobody signed" in pulled.what) == ("error", True)
            listed = subprocess.run(["docker", "images", "-q"], env=environment, capture_output=True, check=True)
            assert listed.stdout == b""
