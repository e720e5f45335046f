"""Registry dead, disk full, CRIU another one: one line is said, nothing is left, and the original runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.migration.harbour import CHECKOUT, COUNT, Machine, empty_cgroups, found, joined, last, until
from tests.simulators.registry import DockerRegistry, docker_registry

pytestmark = pytest.mark.root
MEDIUM = f"x=$(head -c 9000000 /dev/urandom | base64); {COUNT}"  # 12 MB, likewise
LARGE = f"x=$(head -c 30000000 /dev/urandom | base64); {COUNT}"  # 40 MB that no compression makes small


@contextmanager
def small_home(machine: Machine, size: str) -> Iterator[None]:
    """Have a ``TRUST_HOME`` that holds no more than this."""
    machine.home.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(machine.home)], check=True)
    try:
        yield
    finally:
        for one in machine.run("ps")["containers"]:
            machine.run("rm", "--force", one["name"])
        subprocess.run(["umount", "--lazy", str(machine.home)], check=True)  # the supervisor may be about to leave


def one_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, said
    return lines[0]


def begun(machine: Machine, name: str, script: str) -> None:
    machine.start(name, script)
    until(lambda: last(machine.output(name)) > 3, "the counter")


def runs_on(machine: Machine, name: str) -> None:
    seen = last(machine.output(name))
    until(lambda: last(machine.output(name)) > seen + 2, "the original to run on")


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[tuple[Machine, DockerRegistry]]:
    """Give a machine whose registry may be killed."""
    with docker_registry(tmp_path / "registry") as registry:
        machine = Machine(tmp_path / "founder", registry.host)
        found(machine, "1")
        yield machine, registry
        machine.close()


def test_registry_that_is_killed_in_mid_restore_leaves_nothing(
    doomed: tuple[Machine, DockerRegistry], tmp_path: Path
) -> None:
    here, registry = doomed
    there = Machine(tmp_path / "there", registry.host)
    joined(there, here)
    begun(here, "large", LARGE)
    image = here.image("large:live")
    here.run("checkpoint", "large", image, "--leave-running")
    before, cgroups = there.leftovers(), empty_cgroups()
    process = subprocess.Popen(
        [sys.executable, "-m", "trust", "restore", image], cwd=CHECKOUT, env=there.environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    pages = there.home / "checkpoints"
    while not sum(path.stat().st_size for path in pages.glob("*/images/pages-*.img")):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGSTOP)
    assert sum(path.stat().st_size for path in pages.glob("*/images/pages-*.img")) < 30_000_000
    os.kill(registry.process_id, signal.SIGKILL)
    os.kill(process.pid, signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert registry.host in one_line(said)
    assert there.leftovers() == {**before, "containers": []}
    until(lambda: not empty_cgroups() - cgroups, "the cgroups to be gone")
    runs_on(here, "large")
    there.close()


def test_registry_that_is_killed_in_mid_checkpoint_leaves_the_original_running(
    doomed: tuple[Machine, DockerRegistry],
) -> None:
    here, registry = doomed
    begun(here, "large", LARGE)
    process = subprocess.Popen(
        [sys.executable, "-m", "trust", "checkpoint", "large", here.image("large:live")], cwd=CHECKOUT,
        env=here.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    uploads = registry.storage / "docker/registry/v2/repositories/acme/large/_uploads"
    while not list(uploads.glob("*")):
        assert process.poll() is None
    os.kill(registry.process_id, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert registry.host in one_line(said)
    runs_on(here, "large")
    assert here.leftovers()["checkpoints"] == []


@pytest.mark.parametrize("size", ["14m", "19m"])  # full while CRIU writes, while it is packed
def test_disk_that_fills_up_leaves_the_original_running(tmp_path: Path, size: str) -> None:
    with docker_registry(tmp_path / "registry") as own:
        machine = Machine(tmp_path / "small", own.host)
        with small_home(machine, size):
            found(machine, "1")
            begun(machine, "large", MEDIUM)
            said = machine.run("checkpoint", "large", machine.image("large:full"), code=3)["said"]
            assert "No space left" in one_line(said)
            assert machine.leftovers()["checkpoints"] == []
            runs_on(machine, "large")


@pytest.mark.parametrize("size", ["8m", "14m"])
def test_disk_that_fills_up_leaves_nothing_of_a_restore(here: Machine, tmp_path: Path, size: str) -> None:
    begun(here, "large", MEDIUM)
    image = here.image("large:disk")
    here.run("checkpoint", "large", image, "--leave-running")
    there = Machine(tmp_path / "small", here.registry)
    with small_home(there, size):
        joined(there, here)
        there.run("verify", there.image("web:1"))
        cgroups = empty_cgroups()
        said = there.run("restore", image, code=3)["said"]
        assert "No space left" in one_line(said)
        left = there.leftovers()
        assert (left["checkpoints"], left["containers"], left["engine"]) == ([], [], [])
        assert [line for line in left["mounts"] if f" {there.home} " not in line] == []
        until(lambda: not empty_cgroups() - cgroups, "the cgroups to be gone")
    runs_on(here, "large")


def with_criu(machine: Machine, directory: Path, version: str) -> None:
    """Have another version of CRIU on a machine, by its own word."""
    directory.mkdir()
    (directory / "criu").write_text(f"#!/bin/sh\necho 'Version: {version}'\n")
    (directory / "criu").chmod(0o755)
    machine.path = f"{directory}:{machine.path}"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("3.17.1", "criu is too old: expected 4.2 or newer, got 3.17.1"),
        ("4.1.1", "criu is too old: expected 4.2 or newer, got 4.1.1"),
        ("4.10", "another CRIU: expected 4.2.1, here is 4.10"),
        ("none", "criu says no version"),
    ],
)
def test_other_criu_resumes_nothing(
    here: Machine, there: Machine, tmp_path: Path, version: str, words: str
) -> None:
    begun(here, "counter", COUNT)
    here.run("checkpoint", "counter", here.image("counter:criu"), "--leave-running")
    with_criu(there, tmp_path / "programs", version)
    before = there.leftovers()
    said = there.run("restore", there.image("counter:criu"), code=2)["said"]
    assert words in one_line(said)
    assert there.leftovers() == before
    runs_on(here, "counter")


def test_other_criu_freezes_nothing(here: Machine, tmp_path: Path) -> None:
    begun(here, "counter", COUNT)
    whole = here.path
    with_criu(here, tmp_path / "programs", "3.17.1")
    try:
        said = here.run("checkpoint", "counter", here.image("counter:criu"), code=2)["said"]
    finally:
        here.path = whole
    assert "too old" in one_line(said)
    runs_on(here, "counter")
