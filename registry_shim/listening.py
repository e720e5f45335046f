"""Owns the shim's sockets: bound here, or opened by systemd before the shim began."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from aiohttp import web

from registry_shim.config import Address
from registry_shim.systemd import listen_fds
from trust.errors import InputError
from trust.value import dataclass

BACKLOG = 1024
OPERATIONS = "operations"  # FileDescriptorName= of the socket unit for the operations side


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """The sockets for pulls, and the one for the operations side, if any."""

    registry: tuple[socket.socket, ...]
    operations: socket.socket | None


def listen(
    registry: Address, operations: Address | None, *, environ: MutableMapping[str, str] = os.environ
) -> Listening:
    """Return sockets that listen: those that systemd passed, and for what it did not pass, new ones.

    Raises:
        InputError: an address cannot be had, or what was passed is no socket.
    """
    passed = listen_fds(environ)
    for_pulls = tuple(one for name, one in passed if name != OPERATIONS)
    for_operations = next((one for name, one in passed if name == OPERATIONS), None)
    for one in (*for_pulls, for_operations):
        if one is not None:
            one.setblocking(False)  # noqa: FBT003 - the library's own
    if for_operations is None and operations is not None:
        for_operations = bind(operations)
    return Listening(registry=for_pulls or (bind(registry),), operations=for_operations)


def bind(address: Address) -> socket.socket:
    """Return a socket that listens on ``address``.

    Raises:
        InputError: it cannot.
    """
    bound = bound_to(address)
    try:
        bound.listen(BACKLOG)
    except OSError as err:
        bound.close()
        raise InputError(f"cannot listen on {address}: {err.strerror}") from err
    return bound


def bound_to(address: Address) -> socket.socket:
    """Return a socket that has ``address`` and takes no connection yet.

    Raises:
        InputError: it cannot be had.
    """
    try:
        info = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(info[0], socket.SOCK_STREAM)
    except OSError as err:
        raise InputError(f"cannot listen on {address}: {err.strerror}") from err
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(info[4])
        bound.setblocking(False)  # noqa: FBT003 - the library's own
    except OSError as err:
        bound.close()
        raise InputError(f"cannot listen on {address}: {err.strerror}") from err
    return bound


async def serve_application(application: web.Application, listening: socket.socket) -> web.AppRunner:
    """Serve ``application`` on ``listening`` until the runner that is returned is cleaned up."""
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    return runner
