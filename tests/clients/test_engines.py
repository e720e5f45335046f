"""``trust push`` and ``trust pull`` through the engines that people have, on a real registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.simulators.pushing import push_image
from tests.simulators.registry import docker_registry

pytestmark = pytest.mark.root

_STARTS_IN_SECONDS = 60.0


@dataclass(frozen=True)
class Host:
    """A machine's worth of homes: for trust, for podman, for docker."""

    registry: str
    directory: Path
    sockets: Path  # short: a socket's path has at most 107 bytes

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "TRUST_HOME": str(self.directory / "trust"),
            "TRUST_POLICY": str(self.directory / "policy.toml"),
            "TRUST_PASSPHRASE": "of the tests",
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
            "DOCKER_HOST": f"unix://{self.sockets}/docker.sock",
        }

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def trust(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "trust", *arguments)

    def refused(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trust", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with docker_registry(tmp_path / "registry") as registry, TemporaryDirectory(prefix="d-") as sockets:
        host = Host(registry=registry.host, directory=tmp_path, sockets=Path(sockets))
        containers = tmp_path / ".config" / "containers"
        containers.mkdir(parents=True)
        (containers / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (tmp_path / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/podman"\nrunroot = "{tmp_path}/podman-run"\n'
        )
        host.trust("init", f"{host.registry}/acme/", "--metadata", "registry:", "--write-policy")
        yield host


@pytest.fixture
def dockerd(host: Host) -> Iterator[None]:
    directory = host.directory
    arguments = ["--iptables=false", "--bridge=none", f"--data-root={directory}/docker"]
    arguments += [f"--exec-root={host.sockets}/run", f"--pidfile={directory}/docker.pid"]
    with (directory / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(["dockerd", *arguments, f"--host={host.environment['DOCKER_HOST']}"],
                                   env=host.environment, stdout=log, stderr=log)  # fmt: skip
        try:
            until = time.monotonic() + _STARTS_IN_SECONDS
            command = ["docker", "version"]
            while subprocess.run(command, env=host.environment, capture_output=True, check=False).returncode:
                assert time.monotonic() < until, (directory / "dockerd.log").read_text()[-2000:]
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _pulled_then_pushed(host: Host, engine: str) -> None:
    signed = push_image(host.registry, "1.0", "the publisher's")
    host.trust("sign", f"{host.registry}/acme/web:1.0@{signed}")
    push_image(host.registry, "1.0", "the attacker's")
    host.trust("pull", f"{host.registry}/acme/web:1.0", "--engine", engine)
    named = host.run(engine, "image", "inspect", f"{host.registry}/acme/web:1.0")
    assert str(signed) in json.dumps(json.loads(named)[0]["RepoDigests"])

    host.run(engine, "tag", f"{host.registry}/acme/web:1.0", f"{host.registry}/acme/web:2.0")
    pushed = json.loads(host.trust("push", f"{host.registry}/acme/web:2.0", "--engine", engine, "--json"))
    assert pushed["changed"]
    resolved = host.trust("resolve", f"{host.registry}/acme/web:2.0").strip()
    assert resolved == f"{host.registry}/acme/web@{pushed['images'][0]['digest']}"


def test_podman_pulls_the_signed_digest_and_pushes_what_is_then_signed(host: Host) -> None:
    _pulled_then_pushed(host, "podman")


@pytest.mark.usefixtures("dockerd")
def test_docker_pulls_the_signed_digest_and_pushes_what_is_then_signed(host: Host) -> None:
    _pulled_then_pushed(host, "docker")


def test_unsigned_image_is_not_pulled(host: Host) -> None:
    push_image(host.registry, "9", "unsigned")
    done = host.refused("pull", f"{host.registry}/acme/web:9", "--engine", "podman")
    assert done.returncode == 1
    assert "unsigned" in done.stderr
    assert "acme/web" not in host.run("podman", "images")
