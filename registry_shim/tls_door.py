"""Owns the time before a TLS connection is one: it is counted for its client when accepted, not when it is secure.

A half-open connection costs a third of a megabyte; counted only after its handshake, a client had as many as it
liked. And owns how often the loop's own complaints are said: without descriptors there are thousands a second.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any, cast

from registry_shim.server import FLOOD_FACTOR, Server

COMPLAINT_SECONDS = 5.0
_log = logging.getLogger("trust-shim")


class TlsDoor(asyncio.Protocol):
    """A connection before its handshake, which must end within ``patience_seconds``."""

    def __init__(self, server: Server, context: ssl.SSLContext, patience_seconds: float) -> None:
        self._server = server
        self._context = context
        self._patience_seconds = patience_seconds
        self._shaking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and let it shake hands unless its client has too many."""
        plain = cast("asyncio.Transport", transport)
        plain.pause_reading()  # what it says first is for TLS
        peer = plain.get_extra_info("peername")
        client = peer[0] if isinstance(peer, tuple) else ""
        if self._server.enter(client) > self._server.limits.connections * FLOOD_FACTOR:
            self._server.leave(client)
            plain.abort()
            return
        self._shaking = asyncio.get_running_loop().create_task(self._shake(plain, client))

    async def _shake(self, plain: asyncio.Transport, client: str) -> None:
        handler = self._server()
        try:
            secure = await asyncio.get_running_loop().start_tls(
                plain, handler, self._context, server_side=True, ssl_handshake_timeout=self._patience_seconds
            )
            if secure is not None:  # gone meanwhile
                handler.connection_made(secure)
        except (OSError, ssl.SSLError):  # no TLS, too late, or gone: it has had no answer and gets none
            plain.abort()
        finally:
            self._server.leave(client)


class Complaints:
    """Says what goes wrong in the loop, each kind once in ``COMPLAINT_SECONDS``; set as its exception handler."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log ``context`` unless the like was logged a moment ago."""
        message = str(context.get("message", ""))
        now = loop.time()
        if now - self._said.get(message, -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._said[message] = now
            _log.error("%s", message, exc_info=context.get("exception"))
