"""Owns a proxy that counts: every byte goes through unchanged, and each answer's are booked on its request.

Between a client and one server, on TCP; it knows of HTTP only where a request begins. That is enough for clients
that read: no request has a body, and none is sent before the answer to the last has come.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_CHUNK_BYTES = 65_536
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request's first line and head, and how many bytes came back: status line, headers and body."""

    line: str
    head: str
    response_bytes: int = 0

    @property
    def target(self) -> str:
        """What was asked for: ``/v2/acme/web/manifests/v0``."""
        return self.line.split(" ")[1]


class CountingProxy:
    """A running proxy before ``127.0.0.1:upstream_port``."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._exchanges: list[Exchange] = []
        self.connections = 0
        self._start(self._accept)

    @property
    def port(self) -> int:
        """Where it listens on the loopback device."""
        port: int = self._listener.getsockname()[1]
        return port

    def taken(self) -> list[Exchange]:
        """Return what was exchanged since this was called last, in the order of the requests."""
        taken, self._exchanges = self._exchanges, []
        return taken

    def close(self) -> None:
        """End it and every connection through it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            with suppress(OSError):  # it may be gone already
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()
        self._listener.close()

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream_port)) as server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(client)
            with suppress(OSError):  # either side may break off, as it may without us
                self._relay(client, server)
            self._open.discard(client)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass bytes on until one side ends. One thread: an answer is never booked before its request."""
        head = b""
        current: Exchange | None = None
        while True:
            ready, _, _ = select.select([client, server], [], [])
            for source, sink in ((client, server), (server, client)):
                if source not in ready:
                    continue
                data = source.recv(_CHUNK_BYTES)
                if not data:
                    return
                if source is server:
                    if current is not None:
                        current.response_bytes += len(data)
                elif _END_OF_HEAD in (head := head + data):
                    current = _exchange(head)
                    self._exchanges.append(current)
                    head = b""
                sink.sendall(data)


@contextmanager
def counting_proxy(upstream_port: int) -> Iterator[CountingProxy]:
    """Give a proxy before ``127.0.0.1:upstream_port``; it has ended when the context is left."""
    proxy = CountingProxy(upstream_port)
    try:
        yield proxy
    finally:
        proxy.close()


def _exchange(head: bytes) -> Exchange:
    text = head.decode("latin-1")
    return Exchange(line=text.partition("\r\n")[0], head=text)
