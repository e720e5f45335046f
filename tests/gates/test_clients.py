"""With our files every request of real clients goes to the gate, whatever it says; without them it does not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.simulators.authority import Authority
from tests.simulators.gate import RecordingGate
from tests.simulators.node import Node, dockerd
from tests.simulators.wire import WireServer
from trust.gates.files import Machine
from trust.gates.gate import RuntimeName, checked_plan, parse_gate
from trust.gates.installation import install

pytestmark = pytest.mark.root

Client = Callable[[Node, str], "subprocess.CompletedProcess[str]"]
CLIENTS = ("podman", "skopeo", "ctr")
REFUSALS = (403, 404, 500)
DOWN = 0


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> tuple[RuntimeName, Client]:
    """Give each client with the runtime that it is configured by."""
    match request.param:
        case "podman":
            return "podman", Node.podman
        case "skopeo":
            return "podman", Node.skopeo
        case _:
            socket: Path = request.getfixturevalue("containerd_socket")
            return "containerd", lambda node, image: node.ctr(image, socket)


@contextmanager
def gate_answering(status: int | None, registry: str) -> Iterator[WireServer]:
    """Run a gate that answers ``status``; ``DOWN`` is one that nobody runs any more, None one that serves."""
    with WireServer(script=RecordingGate(registry=registry, status=status).script) as gate:
        if status != DOWN:
            yield gate
    if status == DOWN:
        yield gate


def installed(node: Node, runtime: RuntimeName, gate: WireServer, host: str, ca: bytes | None = None) -> None:
    plan = checked_plan(runtime, parse_gate(gate.url), [host], ca)
    install(plan, Machine(node.root), dry_run=False)


@pytest.mark.parametrize("status", [*REFUSALS, DOWN])
def test_origin_is_never_asked_whatever_the_gate_answers(
    client: tuple[RuntimeName, Client], status: int, node: Node, origin: WireServer, registry: str
) -> None:
    runtime, pull = client
    with gate_answering(status, registry) as gate:
        installed(node, runtime, gate, origin.host)
        done = pull(node, f"{origin.host}/acme/web:1")
        assert done.returncode != 0
        assert origin.connections == 0
        pulls = [target for target in gate.targets if "manifests" in target]
        if status == DOWN:
            assert pulls == []
        elif runtime == "podman":
            assert {target.partition(" ")[2] for target in pulls} == {
                f"/v2/{origin.host.replace(':', '_')}/acme/web/manifests/1"
            }
        else:
            assert pulls == [f"HEAD /v2/acme/web/manifests/1?ns={origin.host.replace(':', '%3A')}"]


def test_image_that_the_gate_lets_through_comes_from_the_gate_alone(
    client: tuple[RuntimeName, Client], node: Node, origin: WireServer, registry: str
) -> None:
    runtime, pull = client
    with gate_answering(None, registry) as gate:
        installed(node, runtime, gate, origin.host)
        done = pull(node, f"{origin.host}/acme/web:1")
        assert done.returncode == 0, done.stderr
        assert any("/blobs/" in target for target in gate.targets)
        assert origin.connections == 0


def test_gate_in_tls_is_known_by_the_authority_that_was_given(
    client: tuple[RuntimeName, Client], node: Node, origin: WireServer, registry: str, tmp_path: Path
) -> None:
    runtime, pull = client
    authority = Authority(tmp_path)
    script = RecordingGate(registry=registry).script
    with WireServer(script=script, tls=authority.server_context("127.0.0.1")) as gate:
        installed(node, runtime, gate, origin.host)
        assert pull(node, f"{origin.host}/acme/web:1").returncode != 0
        installed(node, runtime, gate, origin.host, ca=authority.certificate.read_bytes())
        done = pull(node, f"{origin.host}/acme/web:1")
        assert done.returncode == 0, done.stderr
        assert origin.connections == 0


def mirror_alone(node: Node, gate: WireServer, host: str) -> None:
    """Write what the clients' own manuals offer for a gate: a mirror."""
    path = host.replace(":", "_")
    node.write(
        "etc/containers/registries.conf",
        f'[[registry]]\nlocation = "{host}"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{gate.host}/{path}"\ninsecure = true\n',
    )
    node.write(
        f"etc/containerd/certs.d/{host}/hosts.toml", f'[host."{gate.url}"]\ncapabilities = ["pull", "resolve"]\n'
    )


def test_mirror_alone_asks_the_origin_when_the_gate_refuses(
    client: tuple[RuntimeName, Client], node: Node, origin: WireServer, registry: str
) -> None:
    _, pull = client
    with gate_answering(403, registry) as gate:
        mirror_alone(node, gate, origin.host)
        done = pull(node, f"{origin.host}/acme/web:1")
        assert any("manifests" in target for target in gate.targets)
        assert done.returncode == 0, "the unsigned image came from the origin"
        assert origin.connections > 0


def test_without_our_files_the_origin_is_asked(
    client: tuple[RuntimeName, Client], node: Node, origin: WireServer
) -> None:
    _, pull = client
    node.write("etc/containers/registries.conf", f'[[registry]]\nlocation = "{origin.host}"\ninsecure = true\n')
    assert pull(node, f"{origin.host}/acme/web:1").returncode == 0
    assert origin.connections > 0


def test_containerd_asks_the_gate_for_hosts_that_nobody_listed(
    node: Node, origin: WireServer, registry: str, containerd_socket: Path
) -> None:
    with gate_answering(403, registry) as gate:
        installed(node, "containerd", gate, "registry.example.com")
        assert node.ctr(f"{origin.host}/acme/web:1", containerd_socket).returncode != 0
        assert node.ctr("REGISTRY.example.com/acme/web:1", containerd_socket).returncode != 0
        assert origin.connections == 0
        assert [target.partition("?")[2] for target in gate.targets] == [
            f"ns={origin.host.replace(':', '%3A')}", "ns=REGISTRY.example.com",
        ]  # fmt: skip


@pytest.mark.parametrize("pull", [Node.podman, Node.skopeo])
def test_podman_with_another_port_of_a_gated_host_asks_nobody(
    pull: Client, node: Node, origin: WireServer, registry: str
) -> None:
    host = origin.host.partition(":")[0]
    with gate_answering(403, registry) as gate:
        installed(node, "podman", gate, host)
        assert "invalid reference format" in pull(node, f"{origin.host}/acme/web:1").stderr
        assert origin.connections == 0


def test_docker_by_the_gates_name_asks_the_gate_alone_and_by_the_origins_name_the_origin(
    node: Node, origin: WireServer, registry: str, tmp_path: Path
) -> None:
    authority, script = Authority(tmp_path), RecordingGate(registry=registry)
    node.write("etc/docker/daemon.json", '{"max-concurrent-downloads": 1}')
    with (
        WireServer(script=script.script, tls=authority.server_context("127.0.0.1")) as gate,
        TemporaryDirectory(prefix="d-") as directory,
    ):
        installed(node, "docker", gate, origin.host, ca=authority.certificate.read_bytes())
        with dockerd(node, Path(directory)) as environment:

            def pulled(image: str) -> bool:
                command = ["docker", "pull", image]
                return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

            gated = f"{gate.host}/{origin.host.replace(':', '_')}/acme/web:1"
            for status in REFUSALS:
                script.status = status
                assert not pulled(gated)
            script.status = None
            assert pulled(gated)
            assert origin.connections == 0
            assert pulled(f"{origin.host}/acme/web:1"), (
                "nothing keeps dockerd from it, which is why egress is blocked"
            )
            assert origin.connections > 0
