"""Owns one request and its answer on one connection.

Imported only once a request is really made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from trust.deadline import deadline_in
from trust.errors import InputError, LimitError, UnreachableError
from trust.oci.connection import Connection, Connections
from trust.oci.framing import Head, read_body, read_head
from trust.oci.message import Body, Headers, Passing, Request, Response
from trust.oci.url import Url
from trust.value import replace

if TYPE_CHECKING:
    from typing_extensions import Self

REFUSAL_MAX_BYTES = 64 * 1024
DISCARD_MAX_BYTES = 64 * 1024  # a short body is read to its end so that the connection can be kept
_NO_CONTENT_FROM = 300  # a refusal's words may come as they like: they are no content
_SEND_BYTES = 256 * 1024


class Stream(Iterator[bytes]):
    """An answer whose body is still on the wire: an iterator over it, and a context manager.

    Fields as in ``Response``. Leaving it early gives up the connection, never the next answer.
    """

    def __init__(self, connection: Connection, connections: Connections, head: Head, request: Request) -> None:
        self.status: int = head.status
        self.headers: Headers = head.headers
        self.url: Url = request.url
        self.is_local: bool = connection.is_local
        self.length: int | None = head.length
        self._connection: Connection | None = connection
        self._connections = connections
        self._keeps_alive = head.keeps_alive
        self._is_whole = False
        self._pieces = read_body(connection.wire, head)
        if head.length == 0:
            self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """Return the next piece of the body, at most 256 KiB; only a whole body ends without an error.

        Raises:
            UnreachableError: cut short, malformed or too slow; LimitError: the deadline passed.
        """
        if self._is_whole:
            raise StopIteration
        if self._connection is None:
            raise UnreachableError(f"{self.url.origin}: the answer was given up before its end")
        try:
            return next(self._pieces)
        except StopIteration:
            self._finish()
            raise
        except BaseException:
            self.close()
            raise

    def whole(self, max_bytes: int) -> Response:
        """Return the answer with its whole body; raises as ``read``."""
        return self._response(self.read(max_bytes))

    def read(self, max_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            LimitError: it is longer than ``max_bytes``; and as iterating.
        """
        if self.length is not None and self.length > max_bytes:
            raise self._too_long(max_bytes, f"{self.length} were announced")
        pieces, size = [], 0
        for piece in self:
            size += len(piece)
            if size > max_bytes:
                raise self._too_long(max_bytes, "more came")
            pieces.append(piece)
        return b"".join(pieces)

    def refusal(self, max_bytes: int = REFUSAL_MAX_BYTES) -> Response:
        """Return the answer with the beginning of its body: what a server says of an error, as far as it came.

        Raises:
            LimitError: the deadline passed.
        """
        pieces, size = [], 0
        with suppress(UnreachableError):
            for piece in self:
                pieces.append(piece)
                size += len(piece)
                if size >= max_bytes:
                    break
        self.close()
        return self._response(b"".join(pieces)[:max_bytes])

    def discard(self) -> None:
        """Give the body up, keeping the connection where little is left of it."""
        if self._connection is not None and self._keeps_alive and (self.length or 0) <= DISCARD_MAX_BYTES:
            with suppress(LimitError, UnreachableError):
                self.read(DISCARD_MAX_BYTES)
        self.close()

    def close(self) -> None:
        """Close the connection unless the body was read to its end."""
        if self._connection is not None:
            self._connection.wire.close()
            self._connection = None

    def _finish(self) -> None:
        self._is_whole = True
        connection, self._connection = self._connection, None
        if connection is not None and self._keeps_alive:
            self._connections.keep(connection)
        elif connection is not None:
            connection.wire.close()

    def _response(self, body: bytes) -> Response:
        return Response(status=self.status, headers=self.headers, body=body, url=self.url, is_local=self.is_local)

    def _too_long(self, max_bytes: int, got: str) -> LimitError:
        return LimitError(f"{self.url.origin}: answer is too long: expected at most {max_bytes} bytes, {got}")


def exchange(request: Request, connections: Connections, *, user_agent: str, clock: Callable[[], float]) -> Stream:
    """Send ``request`` and return its answer, its head read; once more where a kept connection had died.

    Raises:
        UnreachableError, LimitError: as ``Http.request``.
    """
    while True:
        connection = connections.take(
            request.url,
            deadline=request.deadline or deadline_in(request.idle_seconds, clock),
            idle_seconds=request.idle_seconds,
            allow_local=request.allow_local,
        )
        try:
            head = _head(connection, request, user_agent, clock)
        except UnreachableError:
            connection.wire.close()
            if not (connection.is_used and request.is_safe and not connection.wire.has_answered):
                raise
        except BaseException:
            connection.wire.close()
            raise
        else:
            connection.wire.limit(deadline=request.deadline, idle_seconds=request.idle_seconds)
            return Stream(connection, connections, head, request)


def _head(connection: Connection, request: Request, user_agent: str, clock: Callable[[], float]) -> Head:
    wire = connection.wire
    wire.limit(deadline=request.deadline, idle_seconds=request.idle_seconds)
    broken: OSError | None = None
    try:
        _send(connection, request, user_agent)
    except OSError as err:
        broken = err  # a server may answer and close before it has read all: its answer says why
    head_deadline = request.deadline or deadline_in(request.idle_seconds, clock)
    wire.limit(deadline=head_deadline, idle_seconds=request.idle_seconds)
    try:
        head = read_head(wire, request.method)
    except UnreachableError as err:
        if broken is None:
            raise
        raise UnreachableError(f"{wire.peer}: the connection broke: {broken}", hint=err.hint) from broken
    coding = head.headers.get("content-encoding", "identity").lower()
    is_content = head.status < _NO_CONTENT_FROM and head.length != 0
    if is_content and coding not in {"identity", ""}:
        raise UnreachableError(f"{wire.peer}: expected a body as it is, got one encoded as {coding[:40]!r}")
    return head if broken is None else replace(head, keeps_alive=False)


def _send(connection: Connection, request: Request, user_agent: str) -> None:
    url, body, wire = request.url, request.body, connection.wire
    proxy = connection.proxy if url.scheme == "http" else None
    lines = [f"{request.method} {url if proxy else url.target} HTTP/1.1", f"Host: {url.authority}"]
    if proxy is not None and proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    lines += [f"User-Agent: {user_agent}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    size = _size(body)
    if not request.is_safe:
        lines.append(f"Content-Length: {size}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    if body is None or isinstance(body, bytes):
        wire.send(head + (body or b""))
        return
    wire.send(head)
    for piece in body if isinstance(body, Passing) else _pieces(body, size):
        wire.send(piece)


def _size(body: Body) -> int:
    if body is None or isinstance(body, bytes):
        return len(body or b"")
    if isinstance(body, Passing):
        if body.has_begun:
            raise UnreachableError("content was sent in part already", hint="repeat the command")
        return body.size_bytes
    try:
        return body.seek(0, os.SEEK_END)
    except OSError as err:
        raise InputError(f"file to send is unreadable: {err.strerror}") from err


def _pieces(file: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    try:
        file.seek(0)
        while left:
            piece = file.read(min(left, _SEND_BYTES))
            if not piece:
                raise InputError(f"file to send changed: expected {size_bytes} bytes, {left} are missing")
            left -= len(piece)
            yield piece
    except OSError as err:
        raise InputError(f"file to send is unreadable: {err.strerror}") from err
