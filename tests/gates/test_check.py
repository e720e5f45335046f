"""What leads past the gate is found; the real clients agree that it does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulators.command_line import CHECKOUT
from tests.simulators.gate import RecordingGate
from tests.simulators.node import Node
from tests.simulators.wire import WireServer
from trust.finding import Finding, exit_code_of
from trust.gates.check import installed_findings
from trust.gates.containerd import config_text
from trust.gates.files import Machine
from trust.gates.gate import RuntimeName, checked_plan, parse_gate
from trust.gates.installation import install
from trust.gates.podman import DROP_IN
from trust.gates.record import read_record
from trust.gates.registries import effective_entries, read_files

HOST = "registry.test"
DROP_INS = "etc/containers/registries.conf.d"
CERTS = "etc/containerd/certs.d"
REJECTS = '{"default": [{"type": "reject"}]}'

Move = Callable[[Path, str], None]


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def entry(prefix: str, location: str, mirror: str = "") -> str:
    mirrors = f'[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n' if mirror else ""
    return f'[[registry]]\nprefix = "{prefix}"\nlocation = "{location}"\ninsecure = true\n{mirrors}'


PODMAN_MOVES: dict[str, Move] = {
    "a later drop-in": lambda root, host: put(root, f"{DROP_INS}/zzz.conf", entry(host, host)),
    "a narrower prefix": lambda root, host: put(
        root, f"{DROP_INS}/00.conf", entry(f"{host}/acme", f"{host}/acme")
    ),
    "a mirror": lambda root, host: put(
        root, f"{DROP_INS}/zzz.conf", entry(f"{host}/acme", "127.0.0.1:1/nowhere", mirror=f"{host}/acme")
    ),
    "a user's main file": lambda root, host: put(
        root, "root/.config/containers/registries.conf", entry(host, host)
    ),
    "a user's drop-in": lambda root, host: put(
        root, "root/.config/containers/registries.conf.d/a.conf", entry(host, host)
    ),
}
CONTAINERD_MOVES: dict[str, Move] = {
    "a preferred spelling of the port": lambda root, host: put(
        root,
        f"{CERTS}/{host.replace(':', '_')}_/hosts.toml",
        f'server = "http://{host}"\n[host."http://{host}"]\n',
    ),
    "a directory without hosts.toml": lambda root, host: put(
        root, f"{CERTS}/{host.replace(':', '_')}_/README", ""
    ),
    "a server without a host": lambda root, host: put(
        root, f"{CERTS}/{host.replace(':', '_')}_/hosts.toml", 'server = "https://gate.test"\n'
    ),
    "a host without a server": lambda root, host: put(
        root, f"{CERTS}/{host.replace(':', '_')}_/hosts.toml", '[host."https://gate.test"]\n'
    ),
    "no TOML": lambda root, host: put(root, f"{CERTS}/{host.replace(':', '_')}_/hosts.toml", "server ="),
}


def installed(runtime: RuntimeName, root: Path, host: str = HOST, gate: str = "https://gate.test") -> None:
    install(checked_plan(runtime, parse_gate(gate), [host], None), Machine(root), dry_run=False)
    put(root, "etc/containerd/config.toml", config_text(version=2))


def found(runtime: RuntimeName, root: Path) -> list[Finding]:
    record = read_record(Machine(root), runtime)
    assert record is not None
    return installed_findings(record, Machine(root), {})


def errors(runtime: RuntimeName, root: Path) -> list[str]:
    return [finding.what for finding in found(runtime, root) if finding.level == "error"]


@pytest.mark.parametrize("runtime", ["podman", "containerd", "docker"])
def test_what_was_just_installed_is_without_error(runtime: RuntimeName, tmp_path: Path) -> None:
    installed(runtime, tmp_path)
    assert exit_code_of(found(runtime, tmp_path)) == 0


@pytest.mark.root
@pytest.mark.parametrize("move", PODMAN_MOVES)
def test_podman_goes_past_the_gate_and_the_check_says_by_what(
    move: str, node: Node, origin: WireServer, registry: str
) -> None:
    with WireServer(script=RecordingGate(registry=registry, status=403).script) as gate:
        installed("podman", node.root, origin.host, gate.url)
        assert errors("podman", node.root) == []
        before = set(node.root.rglob("*.conf"))
        PODMAN_MOVES[move](node.root, origin.host)
        assert node.podman(f"{origin.host}/acme/web:1").returncode == 0, "the unsigned image is here"
        assert origin.connections > 0
        (mover,) = set(node.root.rglob("*.conf")) - before
        (said,) = errors("podman", node.root)
        assert str(mover) in said


@pytest.mark.root
@pytest.mark.parametrize("narrower", [False, True])
def test_main_file_of_the_environment_leaves_our_drop_in_and_a_narrower_entry_in_it_is_found(
    narrower: bool,  # noqa: FBT001 - pytest passes it by name
    node: Node,
    origin: WireServer,
    registry: str,
) -> None:
    with WireServer(script=RecordingGate(registry=registry, status=403).script) as gate:
        installed("podman", node.root, origin.host, gate.url)
        node.write("etc/other.conf", entry(f"{origin.host}/acme", f"{origin.host}/acme") if narrower else "")
        store = [f"--root={node.root}/store", f"--runroot={node.root}/run", "--storage-driver=vfs"]
        image = f"{origin.host}/acme/web:1"
        node.run("env", "CONTAINERS_REGISTRIES_CONF=/etc/other.conf", "podman", *store, "pull", "--quiet", image)
        assert bool(origin.connections) == narrower
        entries = effective_entries(
            Machine(node.root), read_files(Machine(node.root), "root", main="etc/other.conf")
        )
        assert (f"{origin.host}/acme" in entries) == narrower
        assert entries[origin.host].source == DROP_IN


@pytest.mark.root
@pytest.mark.parametrize("move", CONTAINERD_MOVES)
def test_containerd_goes_past_the_gate_and_the_check_says_by_what(
    move: str, node: Node, origin: WireServer, registry: str, containerd_socket: Path
) -> None:
    with WireServer(script=RecordingGate(registry=registry, status=403).script) as gate:
        installed("containerd", node.root, origin.host, gate.url)
        assert errors("containerd", node.root) == []
        CONTAINERD_MOVES[move](node.root, origin.host)
        node.ctr(f"{origin.host}/acme/web:1", containerd_socket)
        assert origin.connections > 0
        (said,) = errors("containerd", node.root)
        assert f"leads {origin.host} past the gate" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (entry("alias.test", f"{HOST}/acme"), "leads alias.test to"),
        (entry("*.test", "elsewhere.test"), None),
        (entry("other.test", "elsewhere.test"), None),
        (entry(f"{HOST}/acme", f"gate.test/{HOST}/acme"), None),
        (f'[[registry]]\nlocation = "{HOST}/acme"\nblocked = true\n', None),
        (entry(f"{HOST}.evil.test", "elsewhere.test"), None),
        ("[[registry", "is no registries.conf"),
        (f'[[Registry]]\nPrefix = "{HOST}"\nLocation = "{HOST}"\n', "'Registry' is registry to some readers"),
        (f'[[registry]]\nPREFIX = "{HOST}"\nlocation = "{HOST}"\n', "'PREFIX' is prefix to some readers"),
        (f'{entry("a.test", "b.test")}[[registry.Mirror]]\nlocation = "{HOST}"\n', "'Mirror' is mirror to"),
        (f'{entry("a.test", "b.test")}[[registry.mirror]]\nLocation = "{HOST}"\n', "'Location' is location to"),
    ],
)
def test_entries_of_others_are_judged_by_where_they_lead(text: str, said: str | None, tmp_path: Path) -> None:
    installed("podman", tmp_path)
    put(tmp_path, f"{DROP_INS}/50-site.conf", text)
    assert [said in what for what in errors("podman", tmp_path) if said] == ([True] if said else [])


def test_wild_card_as_long_as_the_host_decides_over_it(tmp_path: Path) -> None:
    installed("podman", tmp_path, "r.test")
    put(tmp_path, f"{DROP_INS}/50-site.conf", entry("*.test", "elsewhere.test"))
    assert len(errors("podman", tmp_path)) == 1


def test_main_file_of_another_user_is_found(tmp_path: Path) -> None:
    installed("podman", tmp_path)
    put(tmp_path, "home/ann/.config/containers/registries.conf", "")
    (said,) = errors("podman", tmp_path)
    assert "home/ann" in said


@pytest.mark.parametrize(
    "name", ["home/ann/.config/containers/registries.conf.d/1.conf", "home/ann/.config/containers/policy.json"]
)
def test_malformed_file_of_one_user_hides_nothing_of_another(name: str, tmp_path: Path) -> None:
    installed("podman", tmp_path)
    put(tmp_path, "home/bob/.config/containers/registries.conf", "")
    put(tmp_path, "home/ann/.config/containers/policy.json", REJECTS)
    tmp_path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
    tmp_path.joinpath(name).write_bytes(b"\xff")
    said = errors("podman", tmp_path)
    assert len(said) == 2
    assert any(f"{name} " in f"{what} " for what in said)
    assert any("home/bob" in what for what in said)


@pytest.mark.root
@pytest.mark.parametrize("pull", [Node.podman, Node.skopeo])
def test_other_spelling_of_a_host_goes_past_the_gate_until_policy_json_refuses_it(
    pull: Callable[[Node, str], subprocess.CompletedProcess[str]], node: Node, origin: WireServer, registry: str
) -> None:
    host, shouted = f"localhost:{origin.port}", f"LOCALHOST:{origin.port}"
    with WireServer(script=RecordingGate(registry=registry).script) as gate:
        installed("podman", node.root, host, gate.url)
        node.write("etc/containers/registries.conf", entry(shouted, shouted))  # allows plain HTTP, nothing else
        assert pull(node, f"{shouted}/acme/web:1").returncode == 0
        assert origin.connections > 0
        example = (CHECKOUT / "deploy/podman/policy.json").read_text()
        node.write("etc/containers/policy.json", example.replace("registry.example.com", host))
        assert "rejected by policy" in pull(node, f"{shouted}/acme/web:1").stderr
        done = pull(node, f"{host}/acme/web:1")
        assert done.returncode == 0, done.stderr


def test_policy_json_that_rejects_closes_what_has_no_entry(tmp_path: Path) -> None:
    installed("podman", tmp_path)
    assert "warning" in {finding.level for finding in found("podman", tmp_path)}
    put(tmp_path, "etc/containers/policy.json", REJECTS)
    assert {finding.level for finding in found("podman", tmp_path)} == {"ok"}
    put(tmp_path, "home/ann/.config/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
    assert "warning" in {finding.level for finding in found("podman", tmp_path)}, (
        "a user's own replaces the system's"
    )


@pytest.mark.parametrize(
    ("config", "level"),
    [
        ("", "error"),
        ("version = 2\n", "error"),
        (config_text(version=2), "ok"),
        (config_text(version=3), "ok"),
        ("[plugins.cri.registry]\nconfig_path = '/etc/docker/certs.d:/etc/containerd/certs.d/'\n", "ok"),
        ("[plugins.cri.registry]\nconfig_path = '/etc/elsewhere'\n", "error"),
        ('[plugins.cri.registry.mirrors."docker.io"]\nendpoint = ["https://gate.test"]\n', "error"),
        ('imports = ["/etc/containerd/conf.d/*.toml"]\n', "error"),
        ('imports = ["/etc/containerd/*/a.toml"]\n', "unknown"),
        ('disabled_plugins = ["cri"]\n', "warning"),
        (f"imports = ['conf.d/none/*.toml', '/etc/none.toml']\n{config_text(version=2)}", "ok"),
        (config_text(version=2).replace("config_path", "Config_Path"), "error"),
        (f"Imports = ['conf.d/*.toml']\n{config_text(version=2)}", "error"),
        ("[plugins", "error"),
        ("plugins = 1\n", "error"),
        ("disabled_plugins = 1\n", "error"),
        (f'imports = ["a\\u0000/b.toml"]\n{config_text(version=2)}', "unknown"),
    ],
)
def test_config_of_containerd_must_name_the_directory(config: str, level: str, tmp_path: Path) -> None:
    installed("containerd", tmp_path)
    put(tmp_path, "etc/containerd/config.toml", config)
    assert {finding.level for finding in found("containerd", tmp_path)} == {"ok", level}


@pytest.mark.parametrize(
    ("imports", "name", "text", "level"),
    [
        ("/etc/containerd/conf.d/*.toml", "conf.d/99.toml", config_text(version=2), "unknown"),
        ("conf.d/*.toml", "conf.d/99.toml", config_text(version=2), "unknown"),
        ("99.toml", "99.toml", "[plugins.cri]\nsandbox_image = 'pause'\n", "unknown"),
        ("conf.d/*.toml", "conf.d/99.toml", "imports = ['/srv/*.toml']\n", "unknown"),
        ("conf.d/*.toml", "conf.d/99.toml", "[plugins", "unknown"),
        ("c*/99.toml", "conf.d/99.toml", "", "unknown"),
        ("../containerd/99.toml", "99.toml", "", "unknown"),
        ("conf.d/*.toml", "conf.d/99.toml", "version = 2\n[grpc]\ngid = 5\n", "ok"),
        ("conf.d/*.toml", "conf.d/README", "[plugins", "ok"),
    ],
)
def test_file_that_config_of_containerd_imports_is_not_ok_if_it_may_name_another_directory(
    imports: str, name: str, text: str, level: str, tmp_path: Path
) -> None:
    installed("containerd", tmp_path)
    put(tmp_path, "etc/containerd/config.toml", f"imports = ['{imports}']\n{config_text(version=2)}")
    put(tmp_path, f"etc/containerd/{name}", text)
    assert {finding.level for finding in found("containerd", tmp_path)} == {"ok", level}


@pytest.mark.parametrize("extra", ["Capabilities = ['pull']", "Server = 'https://evil.test'"])
def test_hosts_toml_in_other_letters_is_found(extra: str, tmp_path: Path) -> None:
    installed("containerd", tmp_path)
    gated = "[host.'https://gate.test']\n"
    text = f"server = 'https://gate.test'\ncapabilities = ['push']\n{extra}\n{gated}"
    put(tmp_path, f"{CERTS}/{HOST}_5000_/hosts.toml", text)
    (said,) = errors("containerd", tmp_path)
    assert "to some readers" in said
    put(
        tmp_path,
        f"{CERTS}/{HOST}_5000_/hosts.toml",
        "server = 'https://gate.test'\nhost.'https://gate.test' = 1\n",
    )
    (said,) = errors("containerd", tmp_path)
    assert "is no table" in said
    put(tmp_path, f"{CERTS}/{HOST}_5000_/hosts.toml", text.replace(extra, ""))
    assert errors("containerd", tmp_path) == []


def test_directory_that_containerd_prefers_is_looked_into(tmp_path: Path) -> None:
    installed("containerd", tmp_path)
    config = "[plugins.cri.registry]\nconfig_path = '/etc/docker/certs.d:/etc/containerd/certs.d'\n"
    put(tmp_path, "etc/containerd/config.toml", config)
    put(tmp_path, f"etc/docker/certs.d/{HOST}/ca.crt", "")
    (said,) = errors("containerd", tmp_path)
    assert f"etc/docker/certs.d/{HOST} leads {HOST} past the gate" in said


def test_mirrors_of_dockerd_are_found(tmp_path: Path) -> None:
    installed("docker", tmp_path)
    put(tmp_path, "etc/docker/daemon.json", '{"registry-mirrors": ["https://gate.test"]}')
    (said,) = errors("docker", tmp_path)
    assert "docker.io is asked" in said
    put(tmp_path, "etc/docker/daemon.json", '{"Registry-Mirrors": ["https://gate.test"]}')
    (said,) = errors("docker", tmp_path)
    assert "'Registry-Mirrors' is registry-mirrors to some readers" in said


@pytest.mark.parametrize(("text", "said"), [(None, "file is missing"), ("# edited\n", "file was changed")])
def test_file_that_is_not_as_installed_is_found(text: str | None, said: str, tmp_path: Path) -> None:
    installed("podman", tmp_path)
    (tmp_path / DROP_IN).unlink()
    if text is not None:
        put(tmp_path, DROP_IN, text)
    assert any(said in what for what in errors("podman", tmp_path))


@pytest.mark.parametrize("name", ["registries.conf", "registries.conf.d/a.conf", "policy.json"])
def test_pipe_in_the_home_of_a_user_is_named_not_waited_for_and_hides_no_other_user(
    name: str, tmp_path: Path
) -> None:
    installed("podman", tmp_path)
    put(tmp_path, "home/zoe/.config/containers/registries.conf.d/a.conf", entry(HOST, HOST))
    pipe = tmp_path / "home/eve/.config/containers" / name
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    (said,) = [finding.what for finding in found("podman", tmp_path) if finding.level == "unknown"]
    assert said == f"file cannot be read: {pipe}: expected a regular file, got a pipe"
    assert [what for what in errors("podman", tmp_path) if "home/zoe" in what]


def test_prefix_with_a_slash_at_its_end_is_the_prefix_without(tmp_path: Path) -> None:
    installed("podman", tmp_path)
    put(tmp_path, f"{DROP_INS}/50-site.conf", entry(f"{HOST}/", "elsewhere.test/"))
    assert errors("podman", tmp_path) == [], "the gate's entry is later, and replaces it"
    put(tmp_path, f"{DROP_INS}/zzz.conf", entry(f"{HOST}/", "elsewhere.test/"))
    assert len(errors("podman", tmp_path)) == 1
