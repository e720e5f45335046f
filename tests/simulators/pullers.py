"""The real clients as ``trust gate install`` sets them up: what each calls an image, and what it has of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulators.node import Node, containerd, dockerd
from trust.digest import sha256
from trust.gates.files import Machine
from trust.gates.gate import RuntimeName, checked_plan, parse_gate
from trust.gates.installation import install

Done = subprocess.CompletedProcess[str]
RUNTIMES: dict[str, RuntimeName] = {
    "podman": "podman", "skopeo": "podman", "ctr": "containerd", "docker": "docker",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Puller:
    """One client: ``pull`` and ``held`` take an image as the origin's users call it.

    ``held`` is what the client says of the digests that it has under that name.
    """

    name: str
    pull: Callable[[str], Done]
    held: Callable[[str], str]


@contextmanager
def puller(name: str, node: Node, gate: str, host: str, ca: bytes | None = None) -> Iterator[Puller]:
    """Give the client on ``node``, where every pull of an image of ``host`` goes to the ``gate``.

    ``ca`` is the gate's authority, in TLS.
    """
    install(checked_plan(RUNTIMES[name], parse_gate(gate), [host], ca), Machine(node.root), dry_run=False)
    match name:
        case "podman":
            yield Puller(name=name, pull=node.podman, held=lambda image: _podman_held(node, image))
        case "skopeo":
            yield Puller(name=name, pull=node.skopeo, held=lambda image: _skopeo_held(node, image))
        case "ctr":
            with TemporaryDirectory(prefix="c-") as directory, containerd(Path(directory)) as socket:
                yield Puller(
                    name=name, pull=lambda image: node.ctr(image, socket),
                    held=lambda image: _said(["ctr", f"--address={socket}", "images", "ls", f"name=={image}"]),
                )  # fmt: skip
        case _:
            with TemporaryDirectory(prefix="d-") as directory, dockerd(node, Path(directory)) as environment:
                yield _docker(gate, host, environment)


def _docker(gate: str, host: str, environment: dict[str, str]) -> Puller:
    def gated(image: str) -> str:
        return image.replace(host, f"{gate.partition('://')[2]}/{host.replace(':', '_')}")

    inspect = ["docker", "image", "inspect", "--format", "{{json .RepoDigests}}"]
    return Puller(
        name="docker",
        pull=lambda image: _run(["docker", "pull", "--quiet", gated(image)], environment),
        held=lambda image: _said([*inspect, gated(image)], environment),
    )


def _podman_held(node: Node, image: str) -> str:
    store = [f"--root={node.root}/store", f"--runroot={node.root}/run", "--storage-driver=vfs"]
    done = node.run("podman", *store, "image", "inspect", "--format", "{{json .RepoDigests}}", image)
    return done.stdout


def _skopeo_held(node: Node, image: str) -> str:
    """Return the digest of what it is given; what it copied is a child where that is an index."""
    done = node.run("skopeo", "inspect", "--raw", f"docker://{image}")
    return str(sha256(done.stdout.encode())) if done.returncode == 0 else ""


def _said(command: list[str], environment: dict[str, str] | None = None) -> str:
    return _run(command, environment).stdout


def _run(command: list[str], environment: dict[str, str] | None = None) -> Done:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
