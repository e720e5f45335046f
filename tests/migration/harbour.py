"""Machines between which containers move: each with a ``TRUST_HOME`` of its own, one registry for all of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.runtime.images import busybox_layer, image_bytes, layer
from trust.oci.layout import Layout
from trust.runtime.disk import remove_tree

CHECKOUT = Path(__file__).parents[2]
COUNT = 'i=0; while :; do i=$((i+1)); echo "$i" > /count; echo "$i"; sleep 0.05; done'
_STARTS_IN_SECONDS = 20.0


class Machine:
    """One machine: what it is started through (``within``), its home, the registry's name on it."""

    def __init__(self, directory: Path, registry: str, *, within: Sequence[str] = (), plain: bool = False) -> None:
        self.directory = directory
        self.registry = registry
        self.home = directory / "home"
        self._within = list(within)
        self._plain = ["--plain-http"] if plain else []
        self.path = os.environ["PATH"]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": self.path,
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),
            "TRUST_HOME": str(self.home),
            "TRUST_POLICY": str(self.directory / "policy.toml"),
            "TRUST_PASSPHRASE": "correct horse",
        }

    @property
    def proc(self) -> Path:
        """Where the kernel tells of a process that sees what the machine's processes see."""
        return Path("/proc/self")

    @property
    def seen_home(self) -> Path:
        """The home, as this process can read it."""
        return self.home

    def image(self, name: str) -> str:
        return f"{self.registry}/acme/{name}"

    def run(self, *argv: str, code: int = 0) -> dict[str, Any]:
        """Run ``trust`` to its end; return its document, and what it said on stderr as ``said``."""
        done = subprocess.run(
            [*self._within, sys.executable, "-m", "trust", *argv, *self._plain, "--json"],
            cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, (argv, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return {**json.loads(done.stdout or "{}"), "said": done.stderr}

    def start(self, name: str, script: str, *more: str, image: str = "web:1") -> None:
        """Have a detached container of a shell script."""
        command = ["run", "--engine", "runc", "-d", "--name", name, *self._plain, "--json", *more]
        done = subprocess.run(
            [*self._within, sys.executable, "-m", "trust", *command, self.image(image), "/bin/sh", "-c", script],
            cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done

    def container(self, name: str) -> dict[str, Any]:
        found = {one["name"]: one for one in self.run("ps")["containers"]}
        return dict(found.get(name, {"status": "none", "pid": None}))

    def directory_of(self, name: str) -> Path:
        return self.seen_home / "containers" / str(self.container(name)["id"])

    def output(self, name: str) -> list[str]:
        return str(self.run("logs", name)["stdout"]).splitlines()

    def inside(self, name: str, script: str) -> str:
        """Return what a shell script says in the network namespace of a container."""
        pid = self.container(name)["pid"]
        done = subprocess.run(
            ["nsenter", "-t", str(pid), "-n", "sh", "-c", script], capture_output=True, text=True, timeout=20,
            check=False,
        )  # fmt: skip
        return done.stdout

    def leftovers(self) -> dict[str, Any]:
        """Return what containers and checkpoints leave behind: files, mounts, cgroups, processes of runc's."""
        containers = self.seen_home / "containers"
        known = [path.name for path in containers.iterdir()] if containers.exists() else []
        mounts = (self.proc / "mountinfo").read_text().splitlines()
        return {
            "checkpoints": sorted(path.name for path in (self.seen_home / "checkpoints").glob("*")),
            "containers": sorted(name for name in known if name != "names"),
            "engine": sorted(path.name for path in (self.seen_home / "engines/runc").glob("*")),
            "mounts": [line for line in mounts if f"{self.home}/" in line],
        }

    def close(self) -> None:
        for one in self.run("ps")["containers"]:
            self.run("rm", "--force", one["name"])
        remove_tree(self.seen_home)


def empty_cgroups() -> set[str]:
    """Return the containers' cgroups on this machine that have no process: what a failed restore leaves."""
    root = Path("/sys/fs/cgroup")
    paths = [*root.glob("*/trust/*/"), *root.glob("trust/*/")]
    return {path.name for path in paths if _read(path / "cgroup.procs") == ""}


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None  # it has just gone


def found(machine: Machine, *tags: str) -> None:
    """Make the collection of a machine and sign images of busybox in it."""
    machine.directory.mkdir(exist_ok=True)
    machine.run("init", f"{machine.registry}/acme/", "--metadata", "registry:", "--write-policy")
    layout = Layout.create(machine.directory / "layout")
    for tag in tags:
        data = image_bytes(layout, busybox_layer(), layer(), config={"Env": [f"TAG={tag}"]})
        tagged(layout, tag, data)
        machine.run("push", "--as", machine.image(f"web:{tag}"), f"oci:{layout.directory}:{tag}")


def tagged(layout: Layout, tag: str, data: bytes) -> None:
    """Have a manifest under a tag in a layout."""
    from trust.digest import sha256  # noqa: PLC0415
    from trust.manifest import OCI_MANIFEST, Descriptor  # noqa: PLC0415

    digest = sha256(data)
    layout.add_blob([data], digest, len(data))
    layout.tag(
        tag,
        Descriptor(media_type=OCI_MANIFEST, digest=digest, size_bytes=len(data), platform=None, annotations={}),
    )


def joined(machine: Machine, founder: Machine) -> None:
    """Have a machine know the collection of another, by its root's digest."""
    machine.directory.mkdir(exist_ok=True)
    root = re.search(r"sha256:[0-9a-f]{64}", (founder.directory / "policy.toml").read_text())
    assert root is not None
    machine.run("policy", "add", f"{machine.registry}/acme/", "--root", root[0], "--metadata", "registry:")


def until(condition: Callable[[], object], what: str) -> None:
    """Return when a condition holds."""
    end = time.monotonic() + _STARTS_IN_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def last(lines: Sequence[str]) -> int:
    return int(lines[-1]) if lines else 0
