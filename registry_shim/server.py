"""Owns the HTTP side towards clients: limits on heads, time and connections, and one answer for each address.

Heads are bounded in bytes and in time, bodies of requests are not read at all, connections are counted for each
client, and one that takes nothing of its answer is cut off. Two lengths, a length beside a transfer coding, bare
line feeds and the like are refused by the library's parser. What goes wrong inside becomes a 503, never a
traceback and never a short success.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.web_protocol import RequestHandler

from registry_shim.answers import Code, RefusedRequestError
from registry_shim.bodies import Whole
from registry_shim.config import Limits

HEAD_LINE_MAX_BYTES = 8190
KEEP_ALIVE_SECONDS = 75.0
GRACE_SECONDS = 1.0  # at the end, for the first request of a connection
GRACE_STEP_SECONDS = 0.02
FLOOD_FACTOR = 2  # so many times its connections, and a client gets no answer any more
STALL_SECONDS = 60.0  # a client that takes nothing of its answer holds memory and a file
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Counted = Callable[[int, float, int], None]  # status, seconds, bytes of content
_REASON = re.compile(r"[a-z-]{1,40}", re.ASCII)
_log = logging.getLogger("trust-shim")


class Server(web.Server):
    """Serves ``answer`` within ``limits``; ``counted`` is told of each answer."""

    def __init__(
        self, answer: Answer, *, limits: Limits, counted: Counted, stall_seconds: float = STALL_SECONDS
    ) -> None:
        super().__init__(
            self._handle,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            max_line_size=HEAD_LINE_MAX_BYTES,
            max_field_size=HEAD_LINE_MAX_BYTES,
            auto_decompress=False,  # nobody reads a request's body: what is packed in it is not unpacked
            logger=_log,
        )
        self.limits = limits
        self.stall_seconds = stall_seconds
        self.clients: dict[str, int] = {}
        self._is_ending = False
        self._answer = answer
        self._counted = counted

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Limited(self, loop=asyncio.get_running_loop(), **self._kwargs)

    def enter(self, client: str) -> int:
        """Count a connection of ``client``; return how many it has now."""
        count = self.clients[client] = self.clients.get(client, 0) + 1
        return count

    def leave(self, client: str) -> None:
        """Count a connection of ``client`` out."""
        left = self.clients.get(client, 0) - 1
        if left > 0:
            self.clients[client] = left
        else:
            self.clients.pop(client, None)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Let the running answers end.

        Who only keeps a connection is not waited for, and is told at once; who has just made one, and whose first
        request is under way, gets its answer.
        """
        self._is_ending = True
        clock = asyncio.get_running_loop().time
        grace_ends = clock() + GRACE_SECONDS
        await asyncio.sleep(GRACE_STEP_SECONDS)  # what was accepted a moment ago becomes a connection
        while any(not one.has_asked for one in self._idle()) and clock() < grace_ends:
            self._close_idle(lambda one: one.has_asked)
            await asyncio.sleep(GRACE_STEP_SECONDS)
        self._close_idle(lambda _one: True)
        await super().shutdown(timeout)

    def _idle(self) -> list[_Limited]:
        return [one for one in self.connections if isinstance(one, _Limited) and one.is_idle]

    def _close_idle(self, which: Callable[[_Limited], bool]) -> None:
        for connection in self._idle():
            if which(connection):
                connection.force_close()

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
        self._counted(response.status, clock() - started, _size(request, response))
        if self._is_ending or not request.keep_alive or response.status == HTTPStatus.TOO_MANY_REQUESTS:
            request.protocol.close()  # once it is sent
        return response

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            raise RefusedRequestError(
                Code.UNSUPPORTED, "this registry is for pulling alone", headers={"Allow": "GET, HEAD"}
            )
        if request.version not in {HttpVersion10, HttpVersion11}:
            raise RefusedRequestError(Code.UNSUPPORTED, "expected HTTP/1.0 or HTTP/1.1", status=505)
        logins = request.headers.getall("Authorization", [])
        if len(logins) > 1 or not all(login.isascii() and login.isprintable() for login in logins):
            raise RefusedRequestError(Code.UNSUPPORTED, "Authorization is malformed", status=400)
        client = request.remote or ""
        if self.clients.get(client, 0) > self.limits.connections:
            raise RefusedRequestError(
                Code.TOOMANYREQUESTS,
                f"more than {self.limits.connections} connections of one client at once",
                headers={"Retry-After": "1", **({"Connection": "close"} if request.keep_alive else {})},
            )
        return await self._answer(request)


class _Limited(RequestHandler):
    """A connection that is counted for its client, must send its first head in time, and take its answers."""

    __slots__ = ("_client", "_first_head", "_server", "_stalled")

    def __init__(self, server: Server, **settings: Any) -> None:  # noqa: ANN401 - the library's own
        super().__init__(server, **settings)
        self._server = server
        self._client = ""
        self._first_head: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is being answered or waits to be."""
        return not self._request_in_progress and not self._messages

    @property
    def has_asked(self) -> bool:
        """Tell whether a request came."""
        return bool(self._request_count)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        if (
            self._server.enter(self._client) > self._server.limits.connections * FLOOD_FACTOR
            and self.transport is not None
        ):
            self.transport.abort()
        self._first_head = asyncio.get_running_loop().call_later(
            self._server.limits.head_seconds, self._require_head
        )

    def connection_lost(self, exc: BaseException | None) -> None:
        for timer in (self._first_head, self._stalled):
            if timer is not None:
                timer.cancel()
        self._server.leave(self._client)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = asyncio.get_running_loop().call_later(self._server.stall_seconds, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to what is no request.

        Anybody can send that, or leave in the midst of an answer: nobody's log should fill with it.

        Raises:
            ConnectionError: the client has gone.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if status != HTTPStatus.BAD_REQUEST:
            return super().handle_error(request, status, exc, message)
        self.close()
        return refusal(RefusedRequestError(Code.UNSUPPORTED, "the request is malformed", status=status))

    def _require_head(self) -> None:
        self._first_head = None
        if self._request_count == 0:
            self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _size(request: web.BaseRequest, response: web.StreamResponse) -> int:
    if request.method == "HEAD":
        return 0
    return response.size_bytes if isinstance(response, Whole) else response.content_length or 0


def refusal(err: RefusedRequestError) -> Whole:
    """Return the answer that ``err`` stands for."""
    headers = {
        "Content-Type": "application/json",
        "Docker-Distribution-Api-Version": "registry/2.0",
        "Cache-Control": "no-store",
        **err.headers,
    }
    reason = (err.detail or {}).get("reason", "")
    return Whole(err.status, headers, err.body, phrase=reason if _REASON.fullmatch(str(reason)) else "")
