"""Owns the end that is made of a container: it is asked first, and killed after its time."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

from trust.errors import UnavailableError
from trust.runtime.course import read_course, want_stopped
from trust.runtime.engine import Engine, has_ended, held_process
from trust.runtime.record import Container

STOP_TIMEOUT_SECONDS = 10.0
KILL_TIMEOUT_SECONDS = 10.0


def end(container: Container, directory: Path, engine: Engine, *, timeout_seconds: float) -> bool:
    """Have the container not running, nor started again; tell whether it ran, or was to.

    Raises:
        UnavailableError: it runs still.
    """
    with suppress(FileNotFoundError):
        want_stopped(directory)
    pid = engine.running([container.identity]).get(container.identity)
    if pid is None:
        course = read_course(directory)
        return course is not None and course.is_waiting
    with held_process(pid) as process:
        engine.signal(container.identity, container.stop_signal)
        if not has_ended(process, timeout_seconds):
            engine.signal(container.identity, signal.SIGKILL)
            if not has_ended(process, KILL_TIMEOUT_SECONDS):
                raise UnavailableError(
                    f"container {container.name} runs still: its process {pid} cannot be killed"
                )
    return True
