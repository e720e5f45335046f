"""The supervisor, and everything else of ours, can be killed whenever somebody likes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from scripts.ports import free_port
from tests.runtime.conftest import Runner
from tests.runtime.supervised import (
    ALWAYS,
    answer,
    command_lines,
    kill_supervisor,
    of_ours,
    start,
    supervisors,
    until,
)
from tests.runtime.test_containers import WAIT_SECONDS
from tests.runtime.test_run import ROOT
from trust.runtime.disk import make_private_directory
from trust.runtime.ports import parse_port
from trust.runtime.supervision import attend


def test_killed_supervisor_is_replaced_and_takes_up_what_was_left(runner: Runner) -> None:
    port = free_port()
    served = start(runner, "nc -ll -p 8080 -e cat", ports=(parse_port(f"127.0.0.1:{port}:8080"),), restart=ALWAYS)
    waiting = start(runner, "sleep 0.2; exit 9", restart=ALWAYS)
    ended = start(runner, "exit 5")
    until(runner, lambda one: one.container.exit_status == 5, ended)
    assert answer(port) == b"hello\n"
    kill_supervisor(runner)
    listed = until(runner, lambda one: one.pid is not None, served)  # it does not hang on us
    attend(runner.workshop.home, runner.host.environ)
    assert answer(port) == b"hello\n"
    assert until(runner, lambda _: True, served).pid == listed.pid
    before = until(runner, lambda one: one.course is not None, waiting).course
    assert before is not None
    restarts = before.restarts
    until(runner, lambda one: one.course is not None and one.course.restarts > restarts, waiting)
    assert until(runner, lambda _: True, ended).container.exit_status == 5
    os.kill(listed.pid or 0, signal.SIGKILL)  # the one whose parent we are not
    until(runner, lambda one: one.pid is not None and one.pid != listed.pid, served)
    assert answer(port) == b"hello\n"


@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_supervisor_that_is_dying_yet_is_replaced_all_the_same(runner: Runner) -> None:
    home = runner.workshop.home
    place = make_private_directory(home / "supervisor")
    lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as one that was killed, whose files the kernel has not closed yet
    dying = threading.Timer(0.2, os.close, (lock,))
    dying.start()
    attend(home, runner.host.environ)
    dying.join()
    ends = time.monotonic() + WAIT_SECONDS
    while not supervisors(home):  # its command line is there a moment after it
        assert time.monotonic() < ends


START = """
import secrets, sys
from pathlib import Path
from tests.runtime.images import NOW, allowed, deadline, host, image_bytes, busybox_layer, vetted
from trust.oci.layout import Layout
from trust.run import run
from trust.runtime.host import open_engine, open_containers
from trust.runtime.options import RunOptions
from trust.runtime.restart import parse_restart
from trust.runtime.source import LayoutSource

source, here = Layout.open(Path(sys.argv[1])), host(Path(sys.argv[2]))
image = allowed(image_bytes(source, busybox_layer()))
for number in range(100):
    run(image, identity=secrets.token_hex(16), host=here, now=NOW, engine=open_engine(sys.argv[3], here),
        options=RunOptions(command=("sleep", "300"), is_detached=True, restart=parse_restart("always")),
        source=LayoutSource(layout=source), deadline=deadline(), vet=vetted)
    for one in open_containers(here).all():
        if one.container.name != "kept":
            open_containers(here).remove(one.container, force=True)
"""


def engine_states(home: Path) -> set[str]:
    return {path.name for path in home.glob("engines/*/*")}


@pytest.mark.parametrize("round_", range(6))
def test_everything_of_ours_may_be_killed_at_any_moment_and_nothing_is_lost_or_left(
    runner: Runner, round_: int
) -> None:
    home = runner.workshop.home
    kept = start(runner, "echo ready; sleep 300", name="kept", restart=ALWAYS)
    first = until(runner, lambda one: one.pid is not None).pid
    paths = [str(runner.workshop.source.directory), str(home), runner.engine.name]
    command = subprocess.Popen(
        [sys.executable, "-c", START, *paths],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.3 + (round_ * 0.618 + len(runner.engine.name) * 0.233) % 0.7)  # a moment that nobody chose
    for pid in of_ours(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    command.wait()
    time.sleep(0.3)  # engines are not ours: what one was about to do it does
    runner.containers.sweep()
    found = {one.container.identity: one for one in runner.containers.all()}
    assert found[kept.identity].pid == first  # what ran runs, and is known
    attend(home, runner.host.environ)
    another = start(runner, "echo ready; sleep 300")
    assert another.identity in {one.container.identity for one in runner.containers.all() if one.pid}
    for listed in runner.containers.all():
        runner.containers.remove(listed.container, force=True)
    runner.containers.sweep()
    assert runner.containers.all() == ()
    assert [path.name for path in (home / "containers").iterdir()] == ["names"]
    assert list((home / "containers/names").iterdir()) == []
    assert engine_states(home) == set()
    assert b"/bin/sh\0-c\0echo ready; sleep 300\0" not in command_lines()
