"""Owns the sockets that systemd opened before the shim began: ``sd_listen_fds(3)``, without its library."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from trust.errors import InputError

_FIRST_FD = 3  # SD_LISTEN_FDS_START
_UNNAMED = "unknown"  # what systemd calls a socket without FileDescriptorName=


def listen_fds(environ: MutableMapping[str, str] = os.environ) -> list[tuple[str, socket.socket]]:
    """Return the sockets that systemd opened for this process, each with its name; a second call returns none.

    No child inherits them or the variables that tell of them.

    Raises:
        InputError: what was passed is no socket.
    """
    pid, count, names = (environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []  # they are for another process, whose variables we inherited
    named = names.split(":") if names else []
    named += [_UNNAMED] * (int(count) - len(named))
    passed: list[tuple[str, socket.socket]] = []
    for place, name in enumerate(named[: int(count)]):
        fd = _FIRST_FD + place
        try:
            os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no names
            passed.append((name, socket.socket(fileno=fd)))
        except OSError as err:
            raise InputError(
                f"socket activation: descriptor {fd} ({name}) is no socket: {err.strerror}",
                hint="the service's .socket unit may only hold Listen… lines",
            ) from err
    return passed
