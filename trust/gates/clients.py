"""Owns the real clients of a trial, each in a temporary directory that is all it can write to.

podman and skopeo get a home whose files are those that the asking user reads; containerd is a private one that
``ctr`` has fetch by the machine's own directory of hosts. dockerd is the machine's: it has no other configuration
than its own, and an image that it had not before is taken away.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Protocol

from trust.children import child_environment
from trust.errors import UnavailableError
from trust.gates.gate import RuntimeName
from trust.value import dataclass

CLIENT_MAX_SECONDS = 90.0
_STARTS_IN_SECONDS = 20.0
_OTHERS = ("CONTAINERS_", "REGISTRIES_", "XDG_", "TRUST_")  # other files than the trial's


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """How a client ended, and the last line that it said."""

    succeeded: bool
    said: str


class Client(Protocol):
    """One client with its configuration."""

    @property
    def name(self) -> str:
        """The program."""

    def pull(self, image: str, configuration: Path) -> Pull:
        """Return how the pull of ``image`` ended; ``configuration`` is a home, or a directory of hosts.

        Raises:
            UnavailableError: the client did not end in time.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Skopeo:
    """skopeo: it asks for the manifest alone, which is where an image is refused."""

    program: str
    environ: Mapping[str, str]
    name: str = "skopeo"

    def pull(self, image: str, configuration: Path) -> Pull:
        """Return how it ended; see ``Client.pull``."""
        environ = {**self.environ, "HOME": str(configuration)}
        return _ran([self.program, "inspect", "--raw", f"docker://{image}"], environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """podman with a store of its own; the same for each pull, since one whose path is too long fails unasked."""

    program: str
    environ: Mapping[str, str]
    store: Path
    name: str = "podman"

    def pull(self, image: str, configuration: Path) -> Pull:
        """Return how it ended; see ``Client.pull``."""
        environ = {**self.environ, "HOME": str(configuration)}
        store = [
            "--root",
            f"{configuration}/store",
            "--runroot",
            f"{configuration}/run",
            "--storage-driver",
            "vfs",
        ]
        return _ran([self.program, *store, "pull", "--quiet", image], environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ctr:
    """ctr with a containerd of its own; what it fetches is not unpacked, so that nothing is mounted."""

    program: str
    environ: Mapping[str, str]
    socket: Path
    name: str = "ctr"

    def pull(self, image: str, configuration: Path) -> Pull:
        """Return how it ended; see ``Client.pull``."""
        command = [self.program, "--address", str(self.socket), "content", "fetch"]
        return _ran([*command, "--hosts-dir", str(configuration), image], self.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """docker with the machine's daemon; its configuration is the daemon's."""

    program: str
    environ: Mapping[str, str]
    name: str = "docker"

    def pull(self, image: str, configuration: Path) -> Pull:  # noqa: ARG002 - as said
        """Return how it ended; see ``Client.pull``."""
        inspect = [self.program, "image", "inspect", "--format", "{{.Id}}", image]
        was_there = _ran(inspect, self.environ).succeeded
        pulled = _ran([self.program, "pull", "--quiet", image], self.environ)
        if pulled.succeeded and not was_there:
            _ran([self.program, "image", "rm", image], self.environ)
        return pulled


@contextmanager
def clients_of(runtime: RuntimeName, directory: Path, environ: Mapping[str, str]) -> Iterator[list[Client]]:
    """Give the clients of ``runtime`` that are installed; what had to be started ends with this.

    Raises:
        UnavailableError: there is none, or containerd does not start.
    """
    plain = {name: value for name, value in child_environment(environ).items() if not name.startswith(_OTHERS)}
    path = plain.get("PATH")
    found: list[Client] = []
    match runtime:
        case "podman":
            if program := which("podman", path=path):
                found.append(Podman(program=program, environ=plain, store=directory))
            if program := which("skopeo", path=path):
                found.append(Skopeo(program=program, environ=plain))
        case "docker":
            if program := which("docker", path=path):
                found.append(Docker(program=program, environ=plain))
        case "containerd":
            ctr, daemon = which("ctr", path=path), which("containerd", path=path)
            if ctr and daemon:
                with _containerd(daemon, ctr, directory, plain) as client:
                    yield [client]
                return
    if not found:
        raise UnavailableError(f"no client of {runtime} is on PATH")
    yield found


@contextmanager
def _containerd(daemon: str, ctr: str, directory: Path, environ: Mapping[str, str]) -> Iterator[Client]:
    directory.mkdir()
    config, log, socket = directory / "config.toml", directory / "log", directory / "c.sock"
    config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n', encoding="utf-8")
    places = [f"--root={directory}/root", f"--state={directory}/state", f"--address={socket}"]
    with log.open("wb") as output:
        command = [daemon, f"--config={config}", *places]
        process = subprocess.Popen(
            command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            until = time.monotonic() + _STARTS_IN_SECONDS
            while not _ran([ctr, "--address", str(socket), "version"], environ).succeeded:
                if process.poll() is not None or time.monotonic() > until:
                    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                    last = said[-1] if said else "it said nothing"
                    raise UnavailableError(f"a private containerd did not start: {last}", hint="repeat it as root")
                time.sleep(0.1)
            yield Ctr(program=ctr, environ=environ, socket=socket)
        finally:
            process.terminate()
            process.wait()


def _ran(command: list[str], environ: Mapping[str, str]) -> Pull:
    try:
        done = subprocess.run(
            command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=CLIENT_MAX_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(f"{command[0]} did not end within {CLIENT_MAX_SECONDS:.0f} seconds") from err
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Pull(succeeded=done.returncode == 0, said=lines[-1] if lines else "it said nothing")
