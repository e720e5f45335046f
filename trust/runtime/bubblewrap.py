"""Owns bubblewrap: a sandbox where there is no OCI engine, for ordinary users above all.

It gives less, and who chooses it should know:
  - no system call filter and no cgroup of devices; in their place no ``CAP_MKNOD``, and no user namespaces for
    a user's own
  - nothing can join a container that runs: no ``exec``
  - an image's user other than root cannot be had as root, who has no need of it
  - a process of bubblewrap stays beside each container; ``/sys`` is empty
  - bubblewrap does not expect a hostile tree: its mount points are made here first, by way of no link

A container is alive as long as its ``alive`` is locked: bubblewrap's first process keeps that descriptor, and the
container's root can reach it there. So it is a fifo, which holds nothing and fills no disk. ``status.json`` is
written by the process of bubblewrap outside, which nobody inside sees. Source: bwrap(1) 0.8.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trust.errors import InputError, StateError, UnavailableError
from trust.runtime.bubblewrap_options import options_of
from trust.runtime.bundle import Bundle, Process
from trust.runtime.engine import Streams, exit_status, forwarded_signals, has_ended, held_process, launch
from trust.runtime.mount_points import make_mount_points
from trust.runtime.overlay import WritableRoot

if TYPE_CHECKING:
    from trust.runtime.cgroup import Groups

_ALIVE = "alive"
_STATUS = "status.json"
_PROCESSES = "processes.json"
_LAST_PROCESS_SECONDS = 10.0
_OUTSIDE_SECONDS = 2.0
_STATUS_MAX_BYTES = 64 * 1024
_APPENDED = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Bubblewrap:
    """The program ``bwrap``."""

    name = "bubblewrap"
    takes_user_namespace = False  # mount points are made by this program, which would not see the overlay

    def __init__(self, program: Path, *, home: Path, environment: Mapping[str, str]) -> None:
        self.program = program
        self.environment = environment
        self._containers = home / "containers"

    def run(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> int:
        """Return the container's exit status when it has ended."""
        with forwarded_signals() as signals:
            process = self._launch(bundle, root, streams)
            signals.to(lambda number: self.signal(bundle.identity, number))
            status = process.wait()
        if status < 0:
            raise self._failure(status)  # it was killed: what it started may run on
        for pid in self.running([bundle.identity]).values():  # the first process ends after the one outside
            with held_process(pid) as first:
                has_ended(first, _LAST_PROCESS_SECONDS)
        self._check_started(bundle, status)
        return status

    def start(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> None:
        """Have the container running after this; what its command says from here on is in its logs."""
        with forwarded_signals():  # what we ignore, it would ignore; what has a handler, it has as new
            process = self._launch(bundle, root, streams)
        if not self._status(bundle.identity):
            self._check_started(bundle, process.wait())
        process.returncode = 0  # it outlives us: nobody waits for it

    def running(self, identities: Iterable[str]) -> Mapping[str, int]:
        """Return the first process of each of these containers that runs."""
        found = {}
        for identity in identities:
            pid = self._status(identity).get("child-pid") if self._is_alive(identity) else None
            if isinstance(pid, int):
                with held_process(pid) as process:  # the lock is held a moment longer
                    if not has_ended(process, 0):
                        found[identity] = pid
        return found

    def ended_with(self, identity: str) -> int | None:
        """Return the exit status that the process of bubblewrap outside wrote down."""
        status = self._status(identity).get("exit-code")
        return status if isinstance(status, int) else None

    def execute(self, _bundle_directory: Path, _pid: int, _process: Process, _streams: Streams) -> int:
        """Refuse: bubblewrap knows no way into a sandbox that it has closed."""
        raise InputError("bubblewrap cannot run a command in a container that runs already", hint="--engine runc")

    def waited_for(self, bundle_directory: Path) -> int | None:
        """Return the process of bubblewrap outside, which ends as the command did."""
        outside = self._status(bundle_directory.name).get("outside-pid")
        return outside if isinstance(outside, int) else None

    def signal(self, identity: str, number: int) -> None:
        """Send a signal to what the container runs: bubblewrap's own first process ignores all but SIGKILL."""
        first = self.running([identity]).get(identity)
        if first is None:
            return
        target = first
        if number != signal.SIGKILL:
            with suppress(OSError):
                children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()
                target = int(children[0]) if children else first
        with suppress(ProcessLookupError):
            os.kill(target, number)

    def delete(self, identity: str) -> None:
        """Have nothing of the container running, and not the process of bubblewrap beside it."""
        self.signal(identity, signal.SIGKILL)
        outside = self._status(identity).get("outside-pid")
        if isinstance(outside, int) and self._is_alive(identity):
            with held_process(outside) as process:
                # 0.8 waits for ever where its first process was killed before the container's began
                if not has_ended(process, _OUTSIDE_SECONDS) and self._is_alive(identity):
                    os.kill(outside, signal.SIGKILL)

    def _launch(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> subprocess.Popen[bytes]:
        """Return bubblewrap, once it has said which process is the container's, or failed."""
        if bundle.caller.is_root and bundle.account.uid != 0:
            raise InputError(
                f"bubblewrap as root cannot become uid {bundle.account.uid}, which the image asks for",
                hint="--engine runc",
            )
        with ExitStack() as stack:

            def closed_after(descriptor: int) -> int:
                stack.callback(os.close, descriptor)
                return descriptor

            os.mkfifo(bundle.directory / _ALIVE, 0o600)
            alive = closed_after(os.open(bundle.directory / _ALIVE, os.O_RDWR | os.O_CLOEXEC))
            fcntl.flock(alive, fcntl.LOCK_SH)
            status = closed_after(os.open(bundle.directory / _STATUS, _APPENDED, 0o600))
            arguments = closed_after(os.memfd_create("arguments"))
            reading, writing = os.pipe()
            closed_after(reading)
            told = ["--sync-fd", str(alive), "--json-status-fd", str(status), "--info-fd", str(writing)]
            groups = _groups(bundle)
            waiting, going = os.pipe()
            closed_after(waiting)
            closed_after(going)
            if groups is not None:
                told += ["--block-fd", str(waiting)]
            command = [str(self.program), "--args", str(arguments), "--", *bundle.arguments]

            def start(words: list[str]) -> subprocess.Popen[bytes]:
                make_mount_points(bundle)
                _write(arguments, [*options_of(bundle), *told])
                kept = (alive, status, arguments, writing, waiting)
                return launch(words, streams, self.environment, kept=kept)

            try:
                process = root.start(command, start, log=Path(os.devnull))
            except OSError as err:
                raise UnavailableError(f"bubblewrap cannot be started: {err}") from err
            finally:
                os.close(writing)
            first = _record(bundle.directory / _PROCESSES, _read(reading), process.pid)
            if groups is not None and first is not None:
                try:
                    groups.place(first)
                except StateError:
                    os.kill(first, signal.SIGKILL)  # it would begin without its limits when we let go
                    raise
            os.write(going, b"1")
            return process

    def _check_started(self, bundle: Bundle, status: int) -> None:
        if "exit-code" not in self._status(bundle.identity):  # it writes that of a command which it started
            raise self._failure(status)

    def _failure(self, status: int) -> UnavailableError:
        return UnavailableError(f"bubblewrap could not run the container: exit status {exit_status(status)}")

    def _is_alive(self, identity: str) -> bool:
        path = self._containers / identity / _ALIVE
        try:
            path.chmod(0o600)  # what is inside can have shut it
            lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _status(self, identity: str) -> dict[str, object]:
        """Return what we have recorded and what bubblewrap has written so far: one object a line."""
        found: dict[str, object] = {}
        for name in (_PROCESSES, _STATUS):
            with suppress(FileNotFoundError), (self._containers / identity / name).open("rb") as file:
                # Bubblewrap writes a line piece by piece: the last one may not be whole yet.
                *lines, _ = file.read(_STATUS_MAX_BYTES).split(b"\n")
                try:
                    for line in lines:
                        found.update(json.loads(line))
                except (ValueError, TypeError) as err:
                    raise StateError(f"status of container {identity} is damaged: {err}") from err
        return found


def _groups(bundle: Bundle) -> Groups | None:
    if not bundle.limits.controllers:
        return None
    from trust.runtime.cgroup import Controllers  # noqa: PLC0415 - few containers are limited by us

    return Controllers().make(bundle.identity, bundle.limits, is_root=bundle.caller.is_root)


def _record(path: Path, info: bytes, outside: int) -> int | None:
    """Have both processes in a file of our own: bubblewrap writes the first to its status, but a moment later.

    The first is returned; None where bubblewrap failed before it was there.
    """
    try:
        first = int(json.loads(info)["child-pid"])
    except (ValueError, LookupError, TypeError):
        return None
    path.write_bytes(json.dumps({"child-pid": first, "outside-pid": outside}).encode() + b"\n")
    return first


def _read(descriptor: int) -> bytes:
    pieces = []
    while piece := os.read(descriptor, _STATUS_MAX_BYTES):
        pieces.append(piece)
    return b"".join(pieces)


def _write(descriptor: int, words: Sequence[str]) -> None:
    rest = memoryview(b"".join(os.fsencode(word) + b"\0" for word in words))
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
