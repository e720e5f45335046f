"""Owns the live side of the page: server-sent events that carry the parts that changed.

However many decisions there are, a part is drawn at most twice a second, and once for all listeners. A listener
has no queue that could grow: it is given what is true when it can take more, and one that takes nothing is let go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress

from aiohttp import web

from trust.value import dataclass

MOST_LISTENERS = 32
_BETWEEN_SECONDS = 0.5  # two updates a second
_IDLE_SECONDS = 5.0  # "3 minutes left" grows old without any decision
_SLOW_SECONDS = 10.0  # to take one update
_HELLO = b"retry: 2000\n\n"
_PULSE = b"data: 1\n\n"  # the page takes silence for a lost connection, and we find those who left


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """The parts as they were drawn at ``at`` of the loop's clock, when ``changes`` had been announced."""

    parts: Mapping[str, str]
    changes: int
    at: float


class Feed:
    """Those who listen; ``draw`` returns the HTML of each part."""

    def __init__(self, draw: Callable[[], Mapping[str, str]]) -> None:
        self._draw = draw
        self._drawn: _Drawn | None = None
        self._changes = 0
        self._wakers: set[asyncio.Event] = set()
        self._is_closing = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._wakers)

    def changed(self) -> None:
        """Announce that something is to be drawn anew; costs nothing while nobody listens."""
        self._changes += 1
        for waker in self._wakers:
            waker.set()

    def close(self) -> None:
        """Let every listener go: the keeper ends."""
        self._is_closing = True
        self.changed()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /events`` for as long as the listener stays."""
        if request.method == "HEAD":
            return web.Response(content_type="text/event-stream")
        if len(self._wakers) >= MOST_LISTENERS or self._is_closing:
            return web.Response(status=503, text="too many pages are open\n", headers={"Retry-After": "10"})
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
            await response.prepare(request)
            with suppress(ConnectionError, asyncio.TimeoutError):  # it left, or takes nothing: both end it
                await self._tell(response, waker)
        finally:
            self._wakers.discard(waker)
        if request.transport is not None:
            request.transport.abort()  # what a slow one has not read is not waited for
        return response

    async def _tell(self, response: web.StreamResponse, waker: asyncio.Event) -> None:
        said: dict[str, str] = {}
        await response.write(_HELLO)
        while not self._is_closing:
            waker.clear()
            drawn = self._latest()
            news = {name: html for name, html in drawn.parts.items() if said.get(name) != html}
            said.update(news)
            data = f"event: parts\ndata: {json.dumps(news)}\n\n".encode() if news else _PULSE
            await asyncio.wait_for(response.write(data), _SLOW_SECONDS)
            await asyncio.sleep(_BETWEEN_SECONDS)
            if drawn.changes == self._changes:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(waker.wait(), _IDLE_SECONDS)

    def _latest(self) -> _Drawn:
        now = asyncio.get_running_loop().time()
        if self._drawn is None or now - self._drawn.at >= _BETWEEN_SECONDS:
            self._drawn = _Drawn(parts=self._draw(), changes=self._changes, at=now)
        return self._drawn
