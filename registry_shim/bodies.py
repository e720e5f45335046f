"""Owns the ways an answer's body leaves: whole from memory, by sendfile from the cache, along with a fill.

A whole answer is written as bytes that were made once: head and body of a hot manifest cost a third of what the
library's own response does. A fill that fails after its first byte ends the connection: a client must see a broken
transfer and never a short success.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import IO, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from registry_shim.cache import Kept
from registry_shim.fills import Fill, Fills

SEND_BYTES = 1024 * 1024
STALL_SECONDS = 60.0  # for each SEND_BYTES by sendfile
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_PARTIAL, _OK, _NOT_SATISFIABLE = 206, 200, 416


class Whole(web.Response):
    """An answer whose bytes are ready; may be sent any number of times, also at once.

    ``phrase`` is added to the status line, which is all that containerd shows of a refusal.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, *, phrase: str = "") -> None:
        super().__init__(status=status)
        self._keep_alive = True
        self.size_bytes = len(body)
        said = HTTPStatus(status).phrase + (f": {phrase}" if phrase else "")
        lines = [f"HTTP/1.1 {status} {said}", *(f"{n}: {v}" for n, v in headers.items())]
        head = "\r\n".join((*lines, f"Content-Length: {len(body)}")).encode("latin-1")
        self._before = head + b"\r\nDate: "
        self._content = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the answer to ``request``, without a body to HEAD."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        body = b"" if request.method == "HEAD" else self._content
        end = b"\r\n\r\n" if request.keep_alive else b"\r\nConnection: close\r\n\r\n"
        transport.write(self._before + _date() + end + body)
        if transport.get_write_buffer_size() > SEND_BYTES:
            await request.protocol._drain_helper()  # noqa: SLF001 - what its own writers wait for
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: all was written."""


_now: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    global _now  # noqa: PLW0603 - one text a second for all answers
    second = int(asyncio.get_running_loop().time())
    if _now[0] != second:
        _now = (second, formatdate(usegmt=True).encode("ascii"))
    return _now[1]


def byte_range(header: str | None, size_bytes: int) -> range | None:
    """Return the bytes that a ``Range`` header asks for; None where the whole content is the answer.

    Several ranges, other units and malformed ones are answered by the whole, as RFC 9110 §14.2 allows.

    Raises:
        ValueError: it lies outside the content.
    """
    match = _RANGE.fullmatch(header) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size_bytes - int(match[2])), size_bytes
    else:
        start, end = int(match[1]), min(size_bytes, int(match[2] or size_bytes) + 1)
    if start >= end and match[1] and match[2] and int(match[1]) > int(match[2]):
        return None
    if start >= size_bytes or start >= end:
        raise ValueError(f"bytes */{size_bytes}")
    return range(start, end)


async def send_kept(request: web.BaseRequest, kept: Kept, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send verified content from its file, or the one range of it that was asked for; the file is closed."""
    with kept.file:
        fields = {**headers, "Accept-Ranges": "bytes"}
        try:
            asked = request.headers.get("Range") if request.method == "GET" else None  # RFC 9110 §14.2
            wanted = byte_range(asked, kept.size_bytes)
        except ValueError as err:
            return Whole(_NOT_SATISFIABLE, {**fields, "Content-Range": str(err)}, b"")
        span = range(kept.size_bytes) if wanted is None else wanted
        response = web.StreamResponse(status=_OK if wanted is None else _PARTIAL, headers=fields)
        if wanted is not None:
            response.headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{kept.size_bytes}"
        response.content_length = len(span)
        writer = await response.prepare(request)
        if request.method == "HEAD" or not span:
            await response.write_eof()
            return response
        transport = request.transport
        if transport is None or writer is None:
            raise ConnectionResetError("the client has gone")
        if hasattr(writer, "send_headers"):
            writer.send_headers()
        await _send_span(transport, kept.file, span)
        await response.write_eof()
        return response


async def _send_span(transport: asyncio.Transport, file: IO[bytes], span: range, *, fallback: bool = True) -> None:
    """Send a part of a file, or end the connection: what it lacks must not be taken from the next answer.

    Raises:
        ConnectionResetError: the client took nothing for ``STALL_SECONDS``, or the file is shorter than it was.
    """
    loop = asyncio.get_running_loop()
    for start in range(span.start, span.stop, SEND_BYTES):
        count = min(SEND_BYTES, span.stop - start)
        try:
            sent = await asyncio.wait_for(
                loop.sendfile(transport, file, start, count, fallback=fallback), STALL_SECONDS
            )
        except (TimeoutError, asyncio.TimeoutError):
            sent = 0
        if sent != count:
            transport.abort()
            raise ConnectionResetError("the answer was broken off")


async def send_fill(
    request: web.BaseRequest, fills: Fills, fill: Fill, headers: Mapping[str, str]
) -> web.StreamResponse | None:
    """Send a blob as it comes in; None, and nothing was sent, where the upstream has no such blob.

    Raises:
        TrustError, RefusedRequestError: it failed before its first byte.
    """
    try:
        if not await fill.begins():
            return None
        response = web.StreamResponse(status=_OK, headers=headers)
        response.content_length = fill.size_bytes
        writer = await response.prepare(request)
        if writer is not None and hasattr(writer, "send_headers"):
            writer.send_headers()
        try:
            sent = 0
            while sent < fill.size_bytes:
                available = await fill.beyond(sent)
                span = range(sent, min(available, sent + SEND_BYTES))
                await _send_available(request, response, fill, span)
                sent = span.stop
        except Exception:
            if request.transport is not None:
                request.transport.abort()  # the length that was promised does not come: a broken transfer
            raise
        await response.write_eof()
        return response
    finally:
        fills.leave(fill)


async def _send_available(request: web.BaseRequest, response: web.StreamResponse, fill: Fill, span: range) -> None:
    """Send a part of a fill: from the kernel's own copy where nothing has to be encrypted.

    The library's way for where that cannot be moves the file's position, which all who follow the fill share.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    if transport.get_extra_info("sslcontext") is None:
        with suppress(asyncio.SendfileNotAvailableError):
            await _send_span(transport, cast("IO[bytes]", fill), span, fallback=False)  # it wants its fileno
            return
    piece = os.pread(fill.descriptor, len(span), span.start)
    if len(piece) != len(span):
        raise ConnectionResetError("the answer was broken off")
    await response.write(piece)
