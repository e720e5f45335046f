"""A machine whose ``/etc`` lies in a directory: real clients see it at its real place, in a mount namespace.

Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STARTS_IN_SECONDS = 60.0
_AS_ETC = 'mount --bind "$0" /etc && exec "$@"'
_COPIED = ("passwd", "group", "hosts", "nsswitch.conf")
_ACCEPTS = '{"default": [{"type": "insecureAcceptAnything"}]}'


class Node:
    """The machine below ``root``; what a client keeps lies beside its ``etc``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc"
        (self.etc / "containers").mkdir(parents=True)
        for name in _COPIED:
            if Path("/etc", name).exists():
                shutil.copy(f"/etc/{name}", self.etc)
        (self.etc / "containers/policy.json").write_text(_ACCEPTS)
        self.home = root / "root"
        self.home.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """What a client finds."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.home)}

    def write(self, name: str, text: str) -> Path:
        """Write a file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs ``command`` on this machine."""
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", _AS_ETC, str(self.etc), *command]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a client to its end."""
        return subprocess.run(
            self.command(*command), env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )

    def podman(self, image: str) -> subprocess.CompletedProcess[str]:
        """Have podman pull ``image``."""
        store = [f"--root={self.root}/store", f"--runroot={self.root}/run", "--storage-driver=vfs"]
        return self.run("podman", *store, "pull", "--quiet", image)

    def skopeo(self, image: str) -> subprocess.CompletedProcess[str]:
        """Have skopeo copy ``image``."""
        return self.run("skopeo", "copy", "--quiet", f"docker://{image}", f"dir:{self.root}/copy")

    def ctr(self, image: str, socket: Path) -> subprocess.CompletedProcess[str]:
        """Have containerd fetch ``image`` as its configuration says."""
        hosts = f"{self.etc}/containerd/certs.d"
        return self.run("ctr", "--address", str(socket), "content", "fetch", "--hosts-dir", hosts, image)


@contextmanager
def containerd(directory: Path) -> Iterator[Path]:
    """Run containerd meanwhile; give its socket. ``directory`` is short: a socket's path has at most 107 bytes."""
    config, socket = directory / "config.toml", directory / "c.sock"
    config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    places = [f"--root={directory}/root", f"--state={directory}/state", f"--address={socket}"]
    command = ["containerd", f"--config={config}", *places]
    with _running(command, dict(os.environ), directory / "log", ["ctr", "--address", str(socket), "version"]):
        yield socket


@contextmanager
def dockerd(node: Node, directory: Path) -> Iterator[dict[str, str]]:
    """Run dockerd on ``node`` meanwhile; give the environment of its client. ``directory`` is short, as above."""
    environment = {**node.environment, "DOCKER_HOST": f"unix://{directory}/docker.sock"}
    arguments = ["--iptables=false", "--bridge=none", f"--data-root={node.root}/docker"]
    arguments += [f"--exec-root={directory}/run", f"--pidfile={directory}/docker.pid"]
    arguments += [f"--host={environment['DOCKER_HOST']}"]
    command = node.command("dockerd", *arguments)
    with _running(command, environment, directory / "log", ["docker", "version"]):
        yield environment


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path, probe: list[str]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            until = time.monotonic() + _STARTS_IN_SECONDS
            while subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
                assert process.poll() is None and time.monotonic() < until, log.read_text()[-2000:]  # noqa: PT018
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(30)
