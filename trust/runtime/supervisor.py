"""Owns the supervisor's process: the parent of all detached containers of a home, and of nothing else that stays.

It reaps (``PR_SET_CHILD_SUBREAPER``), so that it learns how containers end. It holds nothing that is not on the
disk: killed at any moment, the next one finds what runs, and does what is to be done. It ends when nothing is left
to look after.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from trust.runtime.supervision import LOCK, LOG, PLACE, SOCKET, address
from trust.runtime.upkeep import Supervisor

_PR_SET_CHILD_SUBREAPER = 36
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 50, 0.1
_LOG_MAX_BYTES = 1 << 20


def _alone(place: Path) -> bool:
    """Hold the lock for as long as this process lives; tell whether that was possible."""
    lock = os.open(place / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_LOCK_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOCK_PAUSE_SECONDS)  # the one before may be about to end
    return False


def main(home: Path) -> None:
    """Be the supervisor of ``home``, if there is none."""
    place = home / PLACE
    if not _alone(place):
        return
    if (place / LOG).stat().st_size > _LOG_MAX_BYTES:
        os.truncate(place / LOG, 0)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # ignored, they would be ignored in every container too
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(FileNotFoundError):
        (place / SOCKET).unlink()
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(address(directory))
    supervisor = Supervisor(home, door, clock=time.monotonic, share=random.random, environ=os.environ)
    supervisor.take_up()
    door.listen(1024)
    supervisor.run()
    with suppress(FileNotFoundError):
        (place / SOCKET).unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
