"""``trust gate`` and ``trust doctor`` as a user has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.command_line import CommandLine
from tests.simulators.gate import RecordingGate
from tests.simulators.node import Node
from tests.simulators.wire import WireServer
from trust.gates.containerd import config_text
from trust.gates.files import FILE_MAX_BYTES
from trust.gates.podman import DROP_IN

DROP_INS = "etc/containers/registries.conf.d"
REJECTS = '{"default": [{"type": "reject"}]}'


def gate(status: int | None, registry: str = "") -> WireServer:
    return WireServer(script=RecordingGate(registry=registry, status=status).script)


def install(user: CommandLine, root: Path, url: str, *more: str, runtime: str = "podman") -> str:
    return user.expect(0, "gate", "install", "--runtime", runtime, "--gate", url, f"--root={root}", *more)


def document(said: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said.splitlines()[0])
    return found


def test_installation_takes_its_upstreams_from_the_policy_and_tells_its_files(
    user: CommandLine, tmp_path: Path
) -> None:
    first = document(install(user, tmp_path, "https://gate.test", "--json"))
    assert (first["schema"], first["command"], first["changed"]) == (1, "gate install", True)
    assert first["upstreams"] == ["registry.test"]
    assert first["names"] == {"registry.test": "gate.test/registry.test"}
    assert first["files"][0] == {"path": str(tmp_path / DROP_IN), "what": "written"}
    assert any("block egress" in text for text in first["advice"])
    assert not document(install(user, tmp_path, "https://gate.test", "--json"))["changed"]
    removed = user.expect(0, "gate", "remove", "--runtime", "podman", f"--root={tmp_path}", "--json")
    assert document(removed)["changed"]
    assert not (tmp_path / DROP_IN).exists()


def test_dry_run_writes_nothing(user: CommandLine, tmp_path: Path) -> None:
    said = install(user, tmp_path / "etc-less", "https://gate.test", "--dry-run")
    assert f"would be written {tmp_path}/etc-less/{DROP_IN}" in said
    assert not (tmp_path / "etc-less").exists()


def test_installation_says_what_still_leads_past_the_gate(user: CommandLine, tmp_path: Path) -> None:
    said = install(user, tmp_path, "https://gate.test", runtime="containerd")
    assert "warning: containerd: config_path does not name /etc/containerd/certs.d" in said


@pytest.mark.root
def test_installation_without_permission_is_one_line_and_a_hint(user: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir(mode=0o755)
    command = ["gate", "install", "--runtime", "podman", "--gate", "https://gate.test", "--upstream", "a.test"]
    root = Path("/")  # where nobody may write, and all may read
    done = user.run(*command, f"--root={root}", uid=65534)
    assert done.code == 3
    error, hint = done.said.splitlines()
    assert error.startswith("error: file cannot be written: /etc/")
    assert error.endswith("Permission denied")
    assert hint.startswith("hint: repeat it as root")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gate", "http://gate.test"), "https alone"),
        (("--gate", "https://gate.test", "--upstream", "nginx"), "upstream is malformed"),
        (("--gate", "https://gate.test", "--ca", "/nonexistent"), "CA file cannot be read"),
    ],
)
def test_installation_with_bad_input_writes_nothing(
    options: tuple[str, ...], said: str, user: CommandLine, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    assert said in user.expect(2, "gate", "install", "--runtime", "podman", f"--root={root}", *options)
    assert not root.exists()


def test_authority_that_is_too_large_is_not_installed(user: CommandLine, tmp_path: Path) -> None:
    ca, root = tmp_path / "ca.pem", tmp_path / "root"
    with ca.open("wb") as file:
        file.truncate(FILE_MAX_BYTES + 1)
    options = ("--gate", "https://gate.test", f"--root={root}", "--ca", str(ca))
    assert "too large" in user.expect(2, "gate", "install", "--runtime", "podman", *options)
    assert not root.exists()


def test_doctor_of_a_machine_in_order_says_so(user: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "etc/containers").mkdir(parents=True)
    (tmp_path / "etc/containers/policy.json").write_text(REJECTS)
    with gate(403) as server:
        install(user, tmp_path, server.url)
        found = document(user.expect(0, "doctor", f"--root={tmp_path}", "--json"))
    assert (found["schema"], found["command"], found["code"]) == (1, "doctor", 0)
    assert {finding["level"] for finding in found["findings"]} == {"ok"}
    said = " ".join(finding["what"] for finding in found["findings"])
    for part in ("policy ", "home ", "the clock ", "collection registry.test/acme/", "podman: ", "the gate "):
        assert part in said


def test_doctor_with_a_gate_that_is_down_finds_an_error(user: CommandLine, tmp_path: Path) -> None:
    with gate(403) as server:
        install(user, tmp_path, server.url)
    said = user.expect(1, "doctor", f"--root={tmp_path}")
    assert f"error the gate {server.url} does not answer" in said


def test_doctor_asked_for_what_is_not_installed_finds_an_error(user: CommandLine, tmp_path: Path) -> None:
    assert "error docker: no gate is installed" in user.expect(
        1, "doctor", f"--root={tmp_path}", "--runtime=docker"
    )
    with gate(403) as server:
        install(user, tmp_path, "https://gate.test")
        said = user.expect(1, "doctor", f"--root={tmp_path}", "--gate", server.url)
        assert f"lead to https://gate.test, not to {server.url}" in said
        assert f"ok the gate {server.url} answers" in said


def test_doctor_that_cannot_reach_metadata_did_not_find_out(user: CommandLine, tmp_path: Path) -> None:
    for path in user.metadata.iterdir():
        path.unlink()
    user.metadata.rmdir()
    assert "unknown collection registry.test/acme/" in user.expect(3, "doctor", f"--root={tmp_path}")


def test_doctor_with_a_policy_that_cannot_be_read_finds_an_error(user: CommandLine, tmp_path: Path) -> None:
    (user.folder / "policy.toml").write_text("schema = ")
    assert "error policy " in user.expect(1, "doctor", f"--root={tmp_path}")


def test_doctor_of_another_collection_is_an_error(user: CommandLine, tmp_path: Path) -> None:
    said = user.expect(1, "doctor", f"--root={tmp_path}", "--collection", "other.test/x/")
    assert "error collection other.test/x/ is not in the policy" in said


def test_unsigned_image_without_live_is_bad_input(user: CommandLine) -> None:
    user.expect(2, "doctor", "--unsigned", "registry.test/acme/web:9")


def live(user: CommandLine, node: Node, code: int, *more: str) -> dict[str, str]:
    """Return what a live doctor found, the client's lines by the client."""
    said = user.expect(code, "doctor", "--live", f"--root={node.root}", "--json", *more)
    return {finding["what"]: finding["level"] for finding in document(said)["findings"]}


def told(found: dict[str, str], level: str, *words: str) -> bool:
    return any(each == level and all(word in what for word in words) for what, each in found.items())


@pytest.mark.root
@pytest.mark.parametrize("runtime", ["podman", "containerd"])
def test_live_doctor_has_the_real_clients_refused_and_the_canarys_origin_hears_nothing(
    runtime: str, user: CommandLine, node: Node
) -> None:
    node.write("etc/containerd/config.toml", config_text(version=2))
    with gate(403) as server:
        install(user, node.root, server.url, runtime=runtime)
        found = live(user, node, 0, "--unsigned", "registry.test/acme/web:9")
        asked = " ".join(server.targets)
    for client in ("podman", "skopeo") if runtime == "podman" else ("ctr",):
        assert told(found, "ok", f"{client}: asked for 127.0.0.1", "did not ask the origin")
        assert told(found, "ok", f"{client}: registry.test/acme/web:9 was refused")
    assert "canary/unsigned/manifests/latest" in asked


@pytest.mark.root
def test_live_doctor_finds_a_gate_that_lets_unsigned_images_through(
    user: CommandLine, node: Node, registry: str
) -> None:
    node.write("etc/containerd/config.toml", config_text(version=2))
    with gate(None, registry) as server:
        install(user, node.root, server.url)
        install(user, node.root, server.url, runtime="containerd")
        found = live(user, node, 1, "--unsigned", "registry.test/acme/web:1")
    for client in ("podman", "skopeo", "ctr"):
        assert told(found, "error", f"{client}: pulled registry.test/acme/web:1, which nobody signed")


@pytest.mark.root
def test_live_doctor_sees_a_client_that_goes_past_the_gate(user: CommandLine, node: Node) -> None:
    node.write("etc/containerd/config.toml", config_text(version=2))
    with gate(403) as server:
        install(user, node.root, server.url, runtime="containerd")
        default = node.etc / "containerd/certs.d/_default/hosts.toml"
        default.write_text(f'[host."{server.url}"]\ncapabilities = ["pull", "resolve"]\n')
        found = live(user, node, 1)
    assert told(found, "error", "ctr: ", "went past the gate")
    assert told(found, "error", "file was changed", str(default))


@pytest.mark.root
def test_live_doctor_with_a_gate_that_is_down_did_not_find_out_whether_it_refuses(
    user: CommandLine, node: Node
) -> None:
    with gate(403) as server:
        install(user, node.root, server.url)
    found = live(user, node, 1, "--unsigned", "registry.test/acme/web:9")
    assert told(found, "ok", "podman: asked for 127.0.0.1", "did not ask the origin")
    assert told(found, "unknown", "podman: registry.test/acme/web:9 was not pulled, for another reason")


@pytest.mark.root
def test_image_of_another_host_is_not_tried(user: CommandLine, node: Node) -> None:
    with gate(403) as server:
        install(user, node.root, server.url)
        said = user.expect(2, "doctor", "--live", f"--root={node.root}", "--unsigned", "elsewhere.test/acme/web:9")
    assert "does not stand before elsewhere.test" in said
