"""Owns the HTTP side towards clients: limits on heads, time and connections, and one answer for each address.

Heads are bounded in bytes and in time, bodies of requests are not read at all, connections are counted for each
client. Two lengths, a length beside a transfer coding, bare line feeds and the like are refused by the library's
parser. What goes wrong inside becomes a 503, never a traceback and never a short success.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from registry_shim.answers import Code, RefusedRequestError
from registry_shim.bodies import Whole
from registry_shim.config import Limits

HEAD_LINE_MAX_BYTES = 8190
KEEP_ALIVE_SECONDS = 75.0
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Counted = Callable[[int, float], None]  # status, seconds
_log = logging.getLogger("trust-shim")


class Server(web.Server):
    """Serves ``answer`` within ``limits``; ``counted`` is told the status and seconds of each answer."""

    def __init__(self, answer: Answer, *, limits: Limits, counted: Counted) -> None:
        super().__init__(
            self._handle,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            max_line_size=HEAD_LINE_MAX_BYTES,
            max_field_size=HEAD_LINE_MAX_BYTES,
            logger=_log,
        )
        self.limits = limits
        self.clients: dict[str, int] = {}
        self._answer = answer
        self._counted = counted

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Limited(self, loop=asyncio.get_running_loop(), **self._kwargs)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            response = await self._answered(request)
        except RefusedRequestError as err:
            response = refusal(err)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - whatever it was, a client gets an answer that lets nothing through
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the answer was broken off") from None
            _log.exception("a request failed")
            response = refusal(
                RefusedRequestError(Code.DENIED, "unreachable: the shim failed on this request", status=503)
            )
        self._counted(response.status, clock() - started)
        return response

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            raise RefusedRequestError(
                Code.UNSUPPORTED, "this registry is for pulling alone", headers={"Allow": "GET, HEAD"}
            )
        client = request.remote or ""
        if self.clients.get(client, 0) > self.limits.connections:
            raise RefusedRequestError(
                Code.TOOMANYREQUESTS,
                f"more than {self.limits.connections} connections of one client at once",
                headers={"Retry-After": "1"},
            )
        return await self._answer(request)


class _Limited(RequestHandler):
    """A connection that is counted for its client, and must send its first head in time."""

    __slots__ = ("_client", "_first_head", "_server")

    def __init__(self, server: Server, **settings: Any) -> None:  # noqa: ANN401 - the library's own
        super().__init__(server, **settings)
        self._server = server
        self._client = ""
        self._first_head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        self._server.clients[self._client] = self._server.clients.get(self._client, 0) + 1
        self._first_head = asyncio.get_running_loop().call_later(
            self._server.limits.head_seconds, self._require_head
        )

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._first_head is not None:
            self._first_head.cancel()
        left = self._server.clients.get(self._client, 0) - 1
        if left > 0:
            self._server.clients[self._client] = left
        else:
            self._server.clients.pop(self._client, None)
        super().connection_lost(exc)

    def _require_head(self) -> None:
        self._first_head = None
        if self._request_count == 0 and self.transport is not None:
            self.transport.abort()


def refusal(err: RefusedRequestError) -> Whole:
    """Return the answer that ``err`` stands for."""
    headers = {
        "Content-Type": "application/json",
        "Docker-Distribution-Api-Version": "registry/2.0",
        "Cache-Control": "no-store",
        **err.headers,
    }
    return Whole(err.status, headers, err.body)
