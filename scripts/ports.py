"""Finds a port for a server that has to be told one, such as a container's."""

from __future__ import annotations

import errno
import secrets
import socket
from typing import Final

_PORTS: Final = range(10_000, 30_000)  # below those of connections (`ip_local_port_range`, from 32768)


def free_port() -> int:
    """Return a port of the loopback device on which nobody listens now.

    One of the kernel's choice could become that of any connection before the server listens; none of these does.

    Raises:
        OSError: there is no loopback device.
    """
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as door:
            try:
                door.bind(("127.0.0.1", port))
            except OSError as err:
                if err.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
