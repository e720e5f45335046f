"""Owns the loopback device of a container that is resumed: up before its connections are made again.

Engines resume with an empty network, where the device is down, and CRIU connects to nothing. So the engine runs a
hook once the network is there: it says through one pipe which process is in it, and waits at another until the
device is up. Who raises it is this process, so that the hook needs nothing but a shell.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOOK_TIMEOUT_SECONDS = 30  # a hook whose other end has died is ended by the engine
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_ANSWERS = {True: b"up\n", False: b"no\n"}
_LINE_BYTES = 64
_ASK = (
    """pid=$(sed -n 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/p'); [ "$pid" ] || exit 1; """
    'echo "$pid" >"$1" && read -r word <"$2" && [ "$word" = up ]'
)


@contextmanager
def loopback_hooks(directory: Path) -> Iterator[dict[str, Any]]:
    """Give the hooks for an engine's configuration; while they are given, who runs them is answered.

    Raises:
        OSError: the pipes cannot be made in ``directory``.
    """
    paths = [directory / "loopback.ask", directory / "loopback.answer"]
    stopped, stop = os.pipe2(os.O_CLOEXEC)
    doors: list[int] = []
    try:
        for path in paths:
            os.mkfifo(path, 0o600)
            doors.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))  # both ends, so that nobody waits to open it
        answering = threading.Thread(target=_answer, args=(doors[0], doors[1], stopped), name="loopback")
        answering.start()
        try:
            words = ["sh", "-c", _ASK, "sh", *map(str, paths)]
            yield {"createRuntime": [{"path": "/bin/sh", "args": words, "timeout": HOOK_TIMEOUT_SECONDS}]}
        finally:
            os.write(stop, b"x")
            answering.join()
    finally:
        for fd in (stopped, stop, *doors):
            os.close(fd)
        for path in paths:
            path.unlink(missing_ok=True)


def raise_loopback(pid: int) -> None:
    """Have the loopback device up in the network namespace of a process.

    Raises:
        OSError: it cannot be.
    """
    failures: list[OSError] = []

    def work() -> None:  # a thread, since the namespace is entered for ever
        try:
            _raise(pid)
        except OSError as err:
            failures.append(err)

    thread = threading.Thread(target=work, name="loopback")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _answer(ask: int, answer: int, stopped: int) -> None:
    poll = select.poll()
    for fd in (ask, stopped):
        poll.register(fd, select.POLLIN)
    while ready := [fd for fd, _ in poll.poll()]:
        if stopped in ready:
            return
        line = os.read(ask, _LINE_BYTES)
        try:
            raise_loopback(int(line))
        except (OSError, ValueError):
            os.write(answer, _ANSWERS[False])
        else:
            os.write(answer, _ANSWERS[True])


def _raise(pid: int) -> None:
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "network namespace")
    finally:
        os.close(namespace)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(door, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(door, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
