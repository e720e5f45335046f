"""A publisher of versions, and a host where a container follows them; a real registry is between."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripts.ports import free_port
from tests.migration.harbour import CHECKOUT, Machine, tagged
from tests.runtime.images import busybox_layer, file, host, image_bytes, layer
from tests.simulators.registry import DockerRegistry
from trust.digest import Digest, sha256
from trust.oci.layout import Layout
from trust.runtime.host import open_containers

WAIT_SECONDS = 40.0
SERVES = "while :; do nc -ll -p 8080 -e cat /version; done"
METADATA = "acme/trust-metadata"


class Publisher:
    """Signs ``acme/REPOSITORY:1`` anew for each version."""

    def __init__(self, machine: Machine, registry: DockerRegistry, directory: Path, repository: str) -> None:
        self.machine = machine
        self.registry = registry
        self.repository = repository
        self.image = f"{machine.registry}/acme/{repository}:1"
        self._layout = Layout.create(directory)

    def build(self, version: str, script: str = SERVES) -> Digest:
        """Return the digest of a version whose command is ``script``, which nobody has signed yet."""
        config = {"Cmd": ["/bin/sh", "-c", script], "Env": [f"VERSION={self.repository}-{version}"]}
        pieces = file("version", f"{version}\n".encode())
        data = image_bytes(self._layout, busybox_layer(), layer(pieces), config=config)
        tagged(self._layout, version, data)
        return sha256(data)

    def publish(self, version: str, script: str = SERVES) -> Digest:
        """Have a version in the registry, and the tag signed to be it."""
        digest = self.build(version, script)
        self.machine.run("push", "--as", self.image, f"oci:{self._layout.directory}:{version}")
        return digest

    def metadata_tag(self) -> Path:
        """Return the file of the registry that says which metadata is current."""
        return self.registry.link_of_tag(METADATA, "_trust")

    def image_tag(self) -> Path:
        """Return the file of the registry that says what the tag is."""
        return self.registry.link_of_tag(f"acme/{self.repository}", "1")


class Host:
    """A machine on which one container, ``web``, follows the publisher's tag."""

    def __init__(self, machine: Machine, publisher: Publisher) -> None:
        self.machine = machine
        self.publisher = publisher
        self.port = free_port()
        self.containers = open_containers(host(machine.home))

    def start(self, *more: str, engine: str = "runc", every: str = "1s", trial: str = "1s") -> dict[str, Any]:
        """Have ``web`` running."""
        pace = ["--update", "--update-every", every, "--update-trial", trial]
        ports = ["-p", f"127.0.0.1:{self.port}:8080"]
        words = ["run", "--engine", engine, "-d", "--name", "web", *pace, *ports, *more]
        self.run(*words, self.publisher.image)
        return self.web()

    def run(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Run ``trust`` to its end; return its document. Nothing may come after an image but its command."""
        done = subprocess.run(
            [sys.executable, "-m", "trust", "--json", *words], cwd=CHECKOUT, env=self.machine.environment,
            capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return dict(json.loads(done.stdout))

    def update(self, *, code: int = 0) -> dict[str, Any]:
        """Have the tag looked at now; return what came of it."""
        return dict(self.machine.run("update", "web", code=code)["containers"][0])

    def web(self) -> dict[str, Any]:
        """Return the container as ``ps`` shows it."""
        return self.machine.container("web")

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the container once it is as expected."""
        ends = time.monotonic() + WAIT_SECONDS
        while not holds(web := self.web()):
            assert time.monotonic() < ends, f"it never was: {web}"
            time.sleep(0.1)
        return web

    def decisions(self) -> list[dict[str, Any]]:
        """Return the decision log."""
        return list(self.machine.run("logs", "--updates", "web")["updates"])

    def answer(self) -> str | None:
        """Return the version that answers at the port; None where nobody does."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as door:
                return door.recv(100).decode().strip() or None
        except OSError:
            return None

    def answered(self, version: str) -> None:
        """Return once a version answers at the port."""
        ends = time.monotonic() + WAIT_SECONDS
        while (found := self.answer()) != version:
            assert time.monotonic() < ends, f"expected {version}, got {found}"
            time.sleep(0.05)

    def directories(self) -> list[str]:
        """Return what there is of containers, on trial or not."""
        return sorted(path.name for path in (self.machine.home / "containers").iterdir() if path.name != "names")

    def states(self) -> list[str]:
        """Return what engines know."""
        return sorted(path.name for path in self.machine.home.glob("engines/*/*"))

    def kill_all(self) -> None:
        """Kill every process of ours on this host, and no container."""
        home = os.fsencode(self.machine.home)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if words[0] == os.fsencode(sys.executable) and home in words:
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def close(self) -> None:
        self.machine.close()
