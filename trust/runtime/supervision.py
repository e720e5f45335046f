"""Owns the way to the supervisor: one process for all detached containers of a home, started when one is needed.

It may be killed at any moment. What it knows lies in the containers' directories, and whoever comes next starts
another, by ``attend``, where a container wants looking after.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import trust
from trust.errors import InputError, StateError, TrustError, UnavailableError
from trust.runtime.disk import make_private_directory

PLACE = "supervisor"
SOCKET, LOCK, LOG = "control", "lock", "log"
ANSWER_SECONDS = 120.0
MESSAGE_MAX_BYTES = 64 * 1024
_START_TRIES, _START_PAUSE_SECONDS = 500, 0.02
_ATTEND_TRIES = 50
_ASKED_TIMES = 5
_PASSED = (
    "PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME",
    "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_KINDS: Mapping[str, type[TrustError]] = {
    "input": InputError,
    "state": StateError,
    "unavailable": UnavailableError,
}

Request = Literal["start", "watch"]


def ask(
    home: Path, request: Request, identity: str, environ: Mapping[str, str], *, mount: int | None = None
) -> None:
    """Have the supervisor start a planned container, or look after one that runs or is about to.

    ``mount`` is what the container is to stand on, where its tier of integrity makes one.

    Raises:
        UnavailableError: the engine failed, or the supervisor was killed meanwhile.
        InputError, StateError: the container cannot be had like this.
    """
    place = make_private_directory(home / PLACE)
    message = json.dumps({"do": request, "identity": identity}).encode()
    answer = _answer(place, message, [] if mount is None else [mount], environ)
    if not answer:
        raise UnavailableError("supervisor was killed while it started the container", hint="try again")
    if "error" in answer:
        raise _KINDS.get(answer.get("kind", ""), UnavailableError)(answer["error"], hint=answer.get("hint"))


def _answer(place: Path, message: bytes, mounts: Sequence[int], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the supervisor answers; nothing where it was killed after it had read the message."""
    for _ in range(_ASKED_TIMES):
        with _connected(place, environ) as door:
            try:
                door.settimeout(ANSWER_SECONDS)
                socket.send_fds(door, [message], mounts)
                answer: dict[str, Any] = json.loads(door.recv(MESSAGE_MAX_BYTES) or b"{}")
            except (ConnectionResetError, BrokenPipeError):
                continue  # it ended without having read the message: the next one will
            except (OSError, ValueError) as err:
                raise UnavailableError(f"supervisor did not answer: {err}", hint="try again") from err
            return answer
    raise UnavailableError("supervisor does not stay", hint=f"see {place / LOG}")


def attend(home: Path, environ: Mapping[str, str]) -> None:
    """Have a supervisor, which finds by itself what is to be done.

    One that was just killed holds its lock for a moment yet: who holds it must answer, or is waited for.
    """
    with suppress(OSError):
        place = make_private_directory(home / PLACE)
        for _ in range(_ATTEND_TRIES):
            if not is_attended(place):
                _spawn(place, environ).returncode = 0  # it outlives us: nobody waits for it
                return
            if _answers(place):
                return
            time.sleep(_START_PAUSE_SECONDS)


def _answers(place: Path) -> bool:
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            return door.connect_ex(address(directory)) == 0
    finally:
        os.close(directory)


def is_attended(place: Path) -> bool:
    """Tell whether a supervisor is there."""
    try:
        lock = os.open(place / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def address(place: int) -> str:
    """Return the socket's name by way of the open directory: its own path can be longer than one may be."""
    return f"/proc/self/fd/{place}/{SOCKET}"


def _connected(place: Path, environ: Mapping[str, str]) -> socket.socket:
    child: subprocess.Popen[bytes] | None = None
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_START_TRIES):
            door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                door.connect(address(directory))
            except OSError:
                door.close()
            else:
                return door
            if child is None or child.poll() is not None:
                child = _spawn(place, environ)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_START_PAUSE_SECONDS)
    finally:
        os.close(directory)
        if child is not None:
            child.returncode = child.returncode or 0  # it outlives us: nobody waits for it
    raise UnavailableError(f"supervisor cannot be started: see {place / LOG}")


def _spawn(place: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    source = Path(trust.__file__).parents[1]
    environment = {name: environ[name] for name in _PASSED if name in environ}
    with (place / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "trust.runtime.supervisor", str(place.parent)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**environment, "PYTHONPATH": str(source)},
            start_new_session=True,
        )
