"""Whoever of ours is killed at whichever call, the next command leaves nothing of what was half done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.places import Record, record
from tests.runtime.conftest import Runner
from tests.runtime.images import file
from tests.runtime.supervised import kill_supervisor, of_ours, start, until
from tests.runtime.test_containers import read_until
from tests.runtime.test_run import ROOT
from trust.runtime.containers import Containers
from trust.runtime.options import RunOptions

CALLS_MAX = 40
WORLD = """
import sys
from pathlib import Path
from tests.runtime.images import NOW, allowed, busybox_layer, deadline, file, host, image_bytes, layer, vetted
from trust.oci.layout import Layout
from trust.run import run
from trust.runtime.host import open_containers, open_engine
from trust.runtime.options import RunOptions
from trust.runtime.source import LayoutSource

source, here, engine, identity = Layout.open(Path(sys.argv[1])), host(Path(sys.argv[2])), sys.argv[3], sys.argv[4]
"""
RUN = (
    WORLD
    + """
run(allowed(image_bytes(source, busybox_layer(), layer(file("marker")))), identity=identity, host=here, now=NOW,
    options=RunOptions(command=("sleep", "300"), name="web", is_detached=sys.argv[5] == "detached",
                       is_removed_after=sys.argv[5] == "removed"),
    engine=open_engine(engine, here), source=LayoutSource(layout=source), deadline=deadline(), vet=vetted)
"""
)
REMOVE = (
    WORLD
    + """
containers = open_containers(here)
containers.remove(containers.find(identity), force=True)
"""
)


def killed_at(runner: Runner, call: str, number: int, script: str, *words: str) -> bool:
    """Run a command that is killed at its so many-th call; tell whether it was, or ended before."""
    strace = shutil.which("strace")
    assert strace is not None, "strace is not on PATH: scripts/setup puts it there"
    inject = f"inject={call}:signal=KILL:when={number}"
    paths = [str(runner.workshop.source.directory), str(runner.workshop.home), runner.engine.name]
    done = subprocess.run(
        [strace, "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, sys.executable, "-c", script,
         *paths, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=60, capture_output=True,
    )  # fmt: skip
    return done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}


def left(home: Path, identities: set[str]) -> dict[str, list[str]]:
    """Return what is left of containers: files, names, the engine's, mounts in any namespace, control groups."""
    mounts = []
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        with suppress(OSError):
            if os.fsencode(home / "containers") in path.read_bytes():
                mounts.append(path.parent.name)
    groups = {name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names}
    return {
        "containers": [path.name for path in (home / "containers").iterdir() if path.name != "names"],
        "names": [path.name for path in (home / "containers/names").glob("*")],
        "engine": [path.name for path in home.glob("engines/*/*")],
        "mounts": mounts,
        "groups": sorted(groups & identities),
    }


def cleared(runner: Runner, identities: set[str]) -> None:
    """Do what the next command does, remove what is there of right, and find nothing."""
    containers: Containers = runner.containers
    containers.sweep()
    known = {one.container.identity for one in containers.all()}
    assert {path.name for path in (runner.workshop.home / "containers").iterdir()} <= {"names", *known}
    for one in containers.all():
        assert one.pid is not None or one.course is not None, "what was not started is nobody's container"
        containers.remove(one.container, force=True)
    found = left(runner.workshop.home, identities)
    assert not any(found.values()), found


def kills(runner: Runner, calls: tuple[str, ...], script: str, *words: str) -> Iterator[str]:
    """Yield the identity of each container whose command was killed, at each call of each of these kinds."""
    for call in calls:
        for number in range(1, CALLS_MAX):
            identity = os.urandom(16).hex()
            if not killed_at(runner, call, number, script, identity, *words):
                assert number > 1, f"{call} is never called"
                yield identity
                break
            yield identity
        else:
            raise AssertionError(f"more than {CALLS_MAX} calls of {call}")


@pytest.fixture(autouse=True)
def _image_is_here(runner: Runner) -> None:
    """Have the image unpacked: what is killed is the container's making."""
    runner.run(runner.image(file("marker")), RunOptions(command=("true",), is_removed_after=True))


@pytest.mark.parametrize("runner", ["runc", pytest.param("crun", marks=pytest.mark.root)], indirect=True)
def test_run_that_is_killed_at_any_call_leaves_a_container_that_runs_or_nothing(
    runner: Runner, record_property: Record
) -> None:
    points, calls = 0, ("mkdir", "rename", "symlink", "sendmsg")
    for identity in kills(runner, calls, RUN, "detached"):
        cleared(runner, {identity})
        points += 1
    record(record_property, points - len(calls), ())  # the last of each kind was not reached


@pytest.mark.parametrize("runner", ["runc", "bubblewrap"], indirect=True)
def test_run_in_the_foreground_that_is_killed_leaves_nothing_once_its_container_has_ended(
    runner: Runner, record_property: Record
) -> None:
    for number in range(1, CALLS_MAX):
        identity = os.urandom(16).hex()
        if not killed_at(runner, "rename", number, RUN.replace('"300"', '"0.1"'), identity, "removed"):
            assert number > 1
            record(record_property, number - 1, ())
            break
        runner.containers.sweep()
        for one in runner.containers.all():
            until(runner, lambda listed: listed.pid is None, one.container)
        runner.containers.sweep()
        found = left(runner.workshop.home, {identity})
        assert not any(found.values()), found
    else:
        raise AssertionError(f"more than {CALLS_MAX} calls")


@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_removal_that_is_killed_at_any_call_is_completed_by_the_next_command(
    runner: Runner, record_property: Record
) -> None:
    points = 0
    for call in ("rename", "rmdir", "unlinkat"):
        for number in range(1, CALLS_MAX):
            container = start(runner, "echo ready; sleep 300")
            read_until(runner.containers.logs(container).stdout, "ready")
            was_killed = killed_at(runner, call, number, REMOVE, container.identity)
            cleared(runner, {container.identity})
            points += was_killed
            if not was_killed:
                assert number > 1, f"{call} is never called"
                break
    record(record_property, points, ())


def test_containers_whose_supervisor_is_killed_are_removed_whole(runner: Runner) -> None:
    container = start(runner, "echo ready; sleep 300")
    read_until(runner.containers.logs(container).stdout, "ready")
    kill_supervisor(runner)
    assert of_ours(runner.workshop.home) == []
    cleared(runner, {container.identity})
