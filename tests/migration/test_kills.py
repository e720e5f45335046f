"""Whatever kills a command of ours, the container that it has frozen runs on, and nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.places import Record, record
from tests.migration.harbour import CHECKOUT, COUNT, Machine, empty_cgroups, last, until
from tests.simulators.registry import DockerRegistry

pytestmark = pytest.mark.root
_REACHED_IN_SECONDS = 20.0


@contextmanager
def freezing(machine: Machine, registry: DockerRegistry) -> Iterator[subprocess.Popen[bytes]]:
    """Give a checkpoint that has begun to freeze; the registry takes connections and says nothing meanwhile."""
    process = begun(machine, "checkpoint", "counter", machine.image("counter:killed"))
    reached(process, lambda: staged(machine, "frozen.json"))
    os.kill(registry.process_id, signal.SIGSTOP)
    try:
        yield process
    finally:
        os.kill(registry.process_id, signal.SIGCONT)


def begun(machine: Machine, *argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "trust", *argv], cwd=CHECKOUT, env=machine.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def reached(process: subprocess.Popen[bytes], condition: Callable[[], object]) -> None:
    """Return as soon as a process that runs has come so far."""
    end = time.monotonic() + _REACHED_IN_SECONDS
    while not condition():
        assert process.poll() is None, "it has ended before"
        assert time.monotonic() < end
    assert process.poll() is None


def counts_on(log: Path) -> None:
    """Return if the counter counts on without a command of ours: only its log is read."""
    seen = last(log.read_text().splitlines())
    until(lambda: last(log.read_text().splitlines()) > seen + 3, "the original to run on")


def staged(machine: Machine, pattern: str) -> list[Path]:
    return list((machine.home / "checkpoints").glob(f"*/{pattern}"))


@pytest.fixture
def log(here: Machine) -> Path:
    """Give the log of a counter that counts."""
    here.start("counter", COUNT)
    until(lambda: last(here.output("counter")) > 5, "the counter")
    return here.directory_of("counter") / "stdout.log"


@pytest.mark.parametrize("point", ["frozen.json", "images", "images/pstree.img", "blobs/*", "blobs/*[!.]*"])
def test_checkpoint_that_is_killed_leaves_the_container_running(
    here: Machine, registry: DockerRegistry, log: Path, point: str, record_property: Record
) -> None:
    with freezing(here, registry) as process:
        reached(process, lambda: staged(here, point))
        process.kill()
        process.wait()
        counts_on(log)
    assert here.container("counter")["status"] == "running"
    assert staged(here, "*") == []
    here.run("checkpoint", "counter", here.image("counter:again"), "--leave-running")
    record(record_property, 1, ())


def test_clone_that_is_killed_leaves_the_original_running(
    here: Machine, log: Path, record_property: Record
) -> None:
    process = begun(here, "clone", "counter", "dolly")
    reached(process, lambda: staged(here, "images/pstree.img"))
    process.kill()
    process.wait()
    counts_on(log)
    assert [one["name"] for one in here.run("ps")["containers"]] == ["counter"]
    assert staged(here, "*") == []
    record(record_property, 1, ())


def test_container_whose_guard_was_killed_too_is_thawed_by_the_next_command(
    here: Machine, registry: DockerRegistry, log: Path, record_property: Record
) -> None:
    with freezing(here, registry) as process:
        reached(process, lambda: staged(here, "blobs/*"))
        for guard in guards_of(process.pid):
            os.kill(guard, signal.SIGKILL)
        process.kill()
        process.wait()
    stands_at = last(log.read_text().splitlines())
    assert not grows(log)
    assert here.container("counter")["status"] == "running"  # by trust ps
    counts_on(log)
    assert last(log.read_text().splitlines()) > stands_at
    assert staged(here, "*") == []
    record(record_property, 1, ())


def guards_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    guards = [int(child) for child in children if b"resume" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert guards
    return guards


def grows(log: Path) -> bool:
    size = log.stat().st_size
    time.sleep(0.5)  # ten counts: what is asserted is that nothing happens
    return log.stat().st_size > size


def test_restore_that_is_killed_leaves_no_yardstick(
    here: Machine, there: Machine, registry: DockerRegistry, log: Path, record_property: Record
) -> None:
    here.run("checkpoint", "counter", here.image("counter:live"), "--leave-running")
    there.run("restore", there.image("counter:live"), "--name", "first")  # the image is here then
    there.run("rm", "--force", "first")
    before, cgroups = there.leftovers(), empty_cgroups()
    process = begun(there, "restore", there.image("counter:live"), "--name", "killed")
    reached(process, lambda: staged(there, "yardstick/pid"))
    os.kill(registry.process_id, signal.SIGSTOP)
    process.kill()
    process.wait()
    os.kill(registry.process_id, signal.SIGCONT)
    until(lambda: not there.run("ps")["containers"], "nothing to be there")
    until(lambda: there.leftovers() == before, "nothing to stay")
    until(lambda: not empty_cgroups() - cgroups, "the cgroups to be gone")
    counts_on(log)
    record(record_property, 1, ())
