"""A scriptable server on the loopback interface: it says byte for byte what a hostile or broken one would say.

A script is called with each request and sends what it likes. Everything that came is recorded.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

OPENING_MAX_BYTES = 1024 * 1024
SILENCE_MAX_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as it came; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Exchange:
    """One request, and the way back to its client."""

    def __init__(self, request: Seen, connection: socket.socket, closing: threading.Event) -> None:
        self.request = request
        self.connection = connection
        self.closing = closing
        self.is_over = False

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Send a proper answer; ``Content_Type="text/plain"`` becomes ``Content-Type``."""
        self.send(answer(status, body, **headers))

    def drip(self, data: bytes, *, every_seconds: float) -> None:
        """Send ``data`` byte by byte until the client is gone or the server closes."""
        for byte in data:
            self.send(bytes([byte]))
            if self.closing.wait(every_seconds):
                return

    def hold(self) -> None:
        """Say nothing until the server closes."""
        self.closing.wait(SILENCE_MAX_SECONDS)

    def end(self) -> None:
        """Close the connection properly after what was sent."""
        self.is_over = True

    def reset(self) -> None:
        """Break the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_over = True


Script = Callable[[Exchange], None]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Return a proper answer in bytes, with its length unless ``headers`` says how long it is."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if not {"Content-Length", "Transfer-Encoding"} & set(fields):
        fields["Content-Length"] = str(len(body))
    head = f"HTTP/1.1 {status} Said\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return head.encode("latin-1") + b"\r\n" + body


@dataclass(kw_only=True)
class WireServer:
    """Serves ``script`` on a free loopback port, in TLS where ``tls`` is given; a context manager."""

    script: Script
    read_request: Callable[[socket.socket], Seen | None] = field(default_factory=lambda: whole_request)
    tls: ssl.SSLContext | None = None
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Self:
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            with suppress(OSError):  # it may be gone already
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def targets(self) -> list[str]:
        """What was asked, as ``METHOD /target``."""
        return [f"{request.method} {request.target}" for request in self.requests]

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(SILENCE_MAX_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(connection)
        try:
            if self.tls is not None:
                self._open.discard(connection)
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            while (request := self.read_request(connection)) is not None:
                self.requests.append(request)
                exchange = Exchange(request, connection, self._closing)
                self.script(exchange)
                if exchange.is_over or request.headers.get("connection") == "close":
                    return
        except OSError:
            return  # the client had enough, which is what most scripts are for
        finally:
            self._open.discard(connection)
            connection.close()


def whole_request(connection: socket.socket) -> Seen | None:
    """Return the next request with its body; None where there is none, or what came is not HTTP."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        data += more
        if not more or len(data) > OPENING_MAX_BYTES or not data[:1].isalpha():
            return None
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    return Seen(method=method, target=target, headers=headers, body=body)
