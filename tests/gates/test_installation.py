"""``gate install`` and ``gate remove`` on a machine with files of others."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from trust.errors import InputError, StateError
from trust.gates.files import Machine
from trust.gates.gate import RUNTIMES, Plan, RuntimeName, checked_plan, parse_gate
from trust.gates.installation import install, remove
from trust.gates.podman import DROP_IN
from trust.gates.record import read_record

CA = b"-----BEGIN CERTIFICATE-----\nours\n"
GATE = "https://gate.test"
PLAIN = "http://127.0.0.1:5001"


def plan(runtime: RuntimeName, *hosts: str, gate: str = GATE, ca: bytes | None = CA) -> Plan:
    return checked_plan(runtime, parse_gate(gate), hosts or ("registry.test", "other.test:5000"), ca)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("gate", [GATE, PLAIN])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_second_installation_changes_nothing_and_removal_leaves_what_was(
    runtime: RuntimeName, gate: str, tmp_path: Path
) -> None:
    put(tmp_path, "etc/docker/daemon.json", '{\n  "debug": true\n}\n')
    put(tmp_path, "etc/containers/registries.conf", 'unqualified-search-registries = ["docker.io"]\n')
    before, machine = contents(tmp_path), Machine(tmp_path)
    planned = [change.path for change in install(plan(runtime, gate=gate), machine, dry_run=True)]
    assert contents(tmp_path) == before
    first = install(plan(runtime, gate=gate), machine, dry_run=False)
    assert planned == [change.path for change in first]
    assert all(change.is_change for change in first)
    written = contents(tmp_path)
    assert not any(change.is_change for change in install(plan(runtime, gate=gate), machine, dry_run=False))
    assert contents(tmp_path) == written
    assert all(change.is_change for change in remove(runtime, machine))
    assert contents(tmp_path) == before
    assert remove(runtime, machine) == []


def test_files_can_be_read_by_rootless_clients_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        install(plan("podman"), Machine(tmp_path), dry_run=False)
    finally:
        os.umask(before)
    for path in (tmp_path / "etc").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_upstream_that_is_planned_no_more_is_taken_away(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install(plan("containerd"), machine, dry_run=False)
    changes = install(plan("containerd", "registry.test"), machine, dry_run=False)
    gone = "etc/containerd/certs.d/other.test:5000/hosts.toml"
    assert ("removed", gone) in [(change.what, change.path) for change in changes]
    assert not (tmp_path / gone).parent.exists(), "an empty directory would lead its host past _default"


@pytest.mark.parametrize(
    ("runtime", "name"),
    [
        ("podman", DROP_IN),
        ("containerd", "etc/containerd/certs.d/registry.test/hosts.toml"),
        ("containerd", "etc/containerd/certs.d/_default/hosts.toml"),
        ("docker", "etc/docker/certs.d/gate.test/trust-gate.crt"),
    ],
)
def test_file_of_somebody_else_is_named_and_nothing_is_written(
    runtime: RuntimeName, name: str, tmp_path: Path
) -> None:
    put(tmp_path, name, "# theirs\n")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="somebody else") as caught:
        install(plan(runtime), Machine(tmp_path), dry_run=False)
    assert str(tmp_path / name) in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["registries.conf", "registries.conf.d/10-site.conf"])
def test_entry_of_somebody_else_for_the_same_prefix_is_named(name: str, tmp_path: Path) -> None:
    put(tmp_path, f"etc/containers/{name}", '[[registry]]\nlocation = "registry.test"\ninsecure = true\n')
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"entry of its own for registry\.test") as caught:
        install(plan("podman"), Machine(tmp_path), dry_run=False)
    assert name in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "text", ["[[registry]", "registry = 1\n", '[[registry]]\nmirror = [{}]\nlocation = "a"\n']
)
def test_registries_conf_that_nobody_can_read_is_bad_input(text: str, tmp_path: Path) -> None:
    put(tmp_path, "etc/containers/registries.conf", text)
    with pytest.raises(InputError, match=r"registries\.conf"):
        install(plan("podman"), Machine(tmp_path), dry_run=False)


def test_file_that_was_edited_since_is_kept_and_said_so(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install(plan("podman"), machine, dry_run=False)
    put(tmp_path, DROP_IN, "# edited\n")
    assert ("kept", DROP_IN) in [(change.what, change.path) for change in remove("podman", machine)]
    assert (tmp_path / DROP_IN).read_text() == "# edited\n"


def test_host_that_somebody_else_allowed_in_plain_stays_in_daemon_json(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    put(tmp_path, "etc/docker/daemon.json", json.dumps({"insecure-registries": ["127.0.0.1:5001"]}))
    before = contents(tmp_path)
    install(plan("docker", gate=PLAIN, ca=None), machine, dry_run=False)
    remove("docker", machine)
    assert contents(tmp_path) == before


def test_daemon_json_follows_a_gate_that_moves_to_tls(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install(plan("docker", gate=PLAIN, ca=None), machine, dry_run=False)
    assert json.loads((tmp_path / "etc/docker/daemon.json").read_text())["insecure-registries"] == [
        "127.0.0.1:5001"
    ]
    install(plan("docker"), machine, dry_run=False)
    assert json.loads((tmp_path / "etc/docker/daemon.json").read_text()) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        '{"schema": 1, "runtime": "podman", "gate": "https://g.test", "upstreams": [], "ca": null,'
        ' "files": {"etc/shadow": "sha256:' + "0" * 64 + '"}, "insecure": []}',
        '{"schema": 1, "runtime": "podman", "gate": "https://g.test", "upstreams": [], "ca": null,'
        ' "files": {"etc/docker/../shadow": "sha256:' + "0" * 64 + '"}, "insecure": []}',
    ],
)
def test_record_that_is_damaged_or_leads_elsewhere_takes_nothing_away(text: str, tmp_path: Path) -> None:
    put(tmp_path, "etc/trust/gate/podman.json", text)
    put(tmp_path, "etc/shadow", "secret")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"podman\.json"):
        remove("podman", Machine(tmp_path))
    assert contents(tmp_path) == before


def test_record_reads_back_what_was_installed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    install(plan("podman"), machine, dry_run=False)
    record = read_record(machine, "podman")
    assert record is not None
    assert (record.gate, record.upstreams) == (parse_gate(GATE), ("registry.test", "other.test:5000"))
    assert record.ca == "etc/containers/certs.d/gate.test/trust-gate.crt"
    assert read_record(machine, "docker") is None


def test_link_in_an_image_does_not_lead_out_of_its_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "image", tmp_path / "machine"
    outside.mkdir()
    (root / "etc").mkdir(parents=True)
    (root / "etc/containers").symlink_to(outside)
    with pytest.raises(StateError, match="a link leads out of"):
        install(plan("podman"), Machine(root), dry_run=False)
    assert contents(outside) == {}


def test_link_of_an_image_in_place_of_the_temporary_file_is_not_written_through(tmp_path: Path) -> None:
    root, victim = tmp_path / "image", tmp_path / "victim"
    victim.write_text("the machine's")
    victim.chmod(0o600)
    drop_in = root / DROP_IN
    drop_in.parent.mkdir(parents=True)
    for pid in (os.getpid(), 1):
        (drop_in.parent / f".{drop_in.name}.{pid}").symlink_to(victim)
    install(plan("podman"), Machine(root), dry_run=False)
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("the machine's", 0o600)
    assert sorted(path.name for path in drop_in.parent.iterdir() if not path.is_symlink()) == [drop_in.name]


def test_link_inside_an_image_is_followed_inside_it(tmp_path: Path) -> None:
    (tmp_path / "usr/etc").mkdir(parents=True)
    (tmp_path / "etc").symlink_to("usr/etc")
    install(plan("podman"), Machine(tmp_path), dry_run=False)
    assert (tmp_path / "usr/etc" / DROP_IN.removeprefix("etc/")).is_file()
    remove("podman", Machine(tmp_path))
    assert contents(tmp_path) == {}


def test_links_in_a_circle_are_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "etc").symlink_to("etc")
    with pytest.raises(StateError, match=r"cannot be read: .*Too many levels"):
        install(plan("podman"), Machine(tmp_path), dry_run=False)


@pytest.mark.parametrize("name", ["etc/containers/registries.conf", DROP_IN])
def test_pipe_is_named_and_not_waited_for(name: str, tmp_path: Path) -> None:
    put(tmp_path, name, "")
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(StateError, match="expected a regular file, got a pipe"):
        install(plan("podman"), Machine(tmp_path), dry_run=False)


def test_file_where_a_directory_should_be_is_said_in_one_line(tmp_path: Path) -> None:
    put(tmp_path, "etc/containers", "")
    with pytest.raises(StateError, match="cannot be written"):
        install(plan("podman"), Machine(tmp_path), dry_run=False)
