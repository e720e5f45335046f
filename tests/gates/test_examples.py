"""The files under ``deploy`` are those that the generator writes."""

from __future__ import annotations

import json

import pytest

from tests.simulators.command_line import CHECKOUT
from trust.gates.containerd import config_text, containerd_files
from trust.gates.docker import daemon_text, with_insecure
from trust.gates.gate import checked_plan, parse_gate
from trust.gates.podman import podman_files

GATE = parse_gate("https://gate.example.com")
HOSTS = ("registry.example.com",)
DEPLOY = CHECKOUT / "deploy"


def test_drop_in_of_podman_is_as_written() -> None:
    (file,) = podman_files(checked_plan("podman", GATE, HOSTS, None))
    assert (DEPLOY / "podman/zz-trust-gate.conf").read_bytes() == file.data


def test_directory_of_hosts_of_containerd_is_as_written() -> None:
    files = containerd_files(checked_plan("containerd", GATE, HOSTS, None))
    written = {file.path.removeprefix("etc/"): file.data for file in files}
    there = [path for path in (DEPLOY / "containerd/certs.d").rglob("*") if path.is_file()]
    assert {str(path.relative_to(DEPLOY)): path.read_bytes() for path in there} == written


@pytest.mark.parametrize("version", [2])
def test_config_of_containerd_is_as_advised(version: int) -> None:
    assert (DEPLOY / "containerd/config.toml").read_text() == config_text(version=version)


def test_daemon_json_of_a_gate_on_this_machine_is_as_written() -> None:
    host = parse_gate("http://127.0.0.1:5001").host
    assert (DEPLOY / "docker/daemon.json").read_text() == daemon_text(with_insecure({}, host))


def test_policy_json_refuses_what_it_does_not_name() -> None:
    document = json.loads((DEPLOY / "podman/policy.json").read_text())
    assert document["default"] == [{"type": "reject"}]
    assert set(document["transports"]["docker"]) == set(HOSTS)
