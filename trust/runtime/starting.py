"""Owns the start of a planned container, the first as well as any other, and one look at its health.

Both are done in a process of their own: an engine takes its time, and the supervisor has others to look after.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from trust.digest import parse_digest
from trust.errors import StateError, TrustError, UnavailableError
from trust.runtime.engine import Engine, Streams
from trust.runtime.engines import engine_of
from trust.runtime.execution import Execution, executed
from trust.runtime.health import HealthCheck
from trust.runtime.integrity import ground
from trust.runtime.locks import starting
from trust.runtime.plan import Plan, read_plan
from trust.value import replace

_OF_ONE_START = ("pid", "alive", "status.json", "processes.json", "engine.log")


def engine_for(plan: Plan) -> Engine:
    """Return the engine that the plan names, as it was when the plan was made."""
    home = plan.bundle.directory.parent.parent
    return engine_of(plan.engine, plan.program, home=home, environment=plan.environment)


def planned(directory: Path) -> Plan:
    """Return the plan of a container.

    Raises:
        StateError: it has none.
    """
    plan = read_plan(directory)
    if plan is None:
        raise StateError(f"container in {directory} has no plan: it was made by an older version")
    return plan


def start_planned(directory: Path, *, is_first: bool, mount: int | None = None) -> int:
    """Have the container running; return the process whose end is its end.

    The first time, what it stands on has just been verified, and is the ``mount`` where it is one; every other
    time it is verified again.

    Raises:
        RefusedError: ``tampered``; what it would stand on is not what was verified.
        TrustError: it could not be started.
    """
    plan = planned(directory)
    with ExitStack() as stack:
        if not is_first:
            mount = stack.enter_context(ground(plan.tree, parse_digest(plan.manifest), plan.integrity)).mount
        return _started(plan, mount)


def _started(plan: Plan, mount: int | None) -> int:
    engine, bundle = engine_for(plan), plan.bundle
    directory, overlay = bundle.directory, plan.root.overlay
    root = replace(plan.root, overlay=replace(overlay, image=mount)) if overlay else plan.root
    with starting(directory):
        engine.delete(bundle.identity)
        for name in _OF_ONE_START:
            (directory / name).unlink(missing_ok=True)
        streams = [(directory / name).open("ab") for name in ("stdout.log", "stderr.log")]
        try:
            engine.start(bundle, root, Streams(stdin=subprocess.DEVNULL, stdout=streams[0], stderr=streams[1]))
        finally:
            for stream in streams:
                stream.close()
        pid = engine.waited_for(directory)
    if pid is None:
        raise UnavailableError(f"container {bundle.identity} was started and is gone")
    return pid


def is_healthy(directory: Path, check: HealthCheck) -> bool:
    """Return the container's answer to its health check; none in time is a no.

    Raises:
        TrustError: it could not be asked.
    """
    plan = planned(directory)
    engine = engine_for(plan)
    pid = engine.running([plan.bundle.identity]).get(plan.bundle.identity)
    if pid is None:
        return False
    process = executed(Execution(command=check.command), directory=directory, pid=pid)
    nowhere = Streams(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, check.timeout_seconds)
    try:
        return engine.execute(directory, pid, process, nowhere) == 0
    except (_TooLateError, UnavailableError):
        return False  # a command that is not in the container is no sign of health
    finally:
        with suppress(TrustError):
            signal.setitimer(signal.ITIMER_REAL, 0)


class _TooLateError(Exception):
    """The health check has taken all its time."""


def _too_late(_number: int, _frame: FrameType | None) -> None:
    raise _TooLateError
