"""Detached containers to be looked after, and what can be seen of their supervisor."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.runtime.conftest import Runner
from tests.runtime.images import file
from tests.runtime.test_containers import WAIT_SECONDS
from trust.run import Started
from trust.runtime.containers import Listed
from trust.runtime.options import RunOptions
from trust.runtime.record import Container
from trust.runtime.restart import RestartPolicy

TWICE = RestartPolicy(when="on-failure", tries=2)
ALWAYS = RestartPolicy(when="always")
COUNT = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n >/n; echo run $n; "


def start(runner: Runner, script: str, **options: object) -> Container:
    asked = RunOptions(command=("/bin/sh", "-c", script), is_detached=True, **options)  # type: ignore[arg-type]
    started = runner.run(runner.image(file("marker")), asked)
    assert isinstance(started, Started)
    return started.container


def until(runner: Runner, holds: Callable[[Listed], bool], container: Container | None = None) -> Listed:
    """Return the container once it is as it is expected to be; one that never is fails the test."""
    ends = time.monotonic() + WAIT_SECONDS
    while True:
        found = runner.containers.all()
        listed = next(one for one in found if container is None or one.container.identity == container.identity)
        if holds(listed):
            return listed
        assert time.monotonic() < ends, f"it never was: {listed}"
        time.sleep(0.02)


def command_lines() -> list[bytes]:
    """Return those of all processes; one may end while it is looked at."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return found


def supervisors(home: Path) -> list[int]:
    """Return the supervisors of a home, but for their children, which look alike until they have ended."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"trust.runtime.supervisor" in words and os.fsencode(home) in words:
                found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in found.items() if parent not in found]


def kill_supervisor(runner: Runner) -> None:
    for pid in supervisors(runner.workshop.home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while supervisors(runner.workshop.home):
        time.sleep(0.01)


def answer(port: int, said: bytes = b"hello\n") -> bytes:
    """Return what comes back of ``said``; a server in a container that has just started is waited for."""
    ends = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as door:
                door.sendall(said)
                found = b""
                while len(found) < len(said) and (piece := door.recv(1 << 16)):
                    found += piece
                if found:
                    return found
        except OSError:
            pass
        assert time.monotonic() < ends, "nobody answers"
        time.sleep(0.05)


def of_ours(home: Path) -> list[int]:
    """Return every process of ours of this home: commands, supervisors, their workers; no container's."""
    found = supervisors(home)
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == os.fsencode(sys.executable) and os.fsencode(home) in words:
                found.append(int(path.name))
    return found
