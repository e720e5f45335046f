"""An HTTP proxy of the tests: a script for ``WireServer`` that forwards plain requests and opens tunnels."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping

from tests.simulators.wire import Exchange


class ForwardingProxy:
    """Leads every host to the port that ``doors`` gives it, whatever its name resolves to elsewhere."""

    def __init__(self, doors: Mapping[str, int]) -> None:
        self._doors = doors

    def script(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method == "CONNECT":
            self._tunnel(exchange, request.target.rpartition(":")[0])
            return
        host, _, rest = request.target.removeprefix("http://").partition("/")
        with socket.create_connection(("127.0.0.1", self._doors[host.partition(":")[0]]), timeout=10) as onward:
            onward.sendall(
                f"{request.method} /{rest} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            )
            while data := onward.recv(65536):
                exchange.send(data)
        exchange.end()

    def _tunnel(self, exchange: Exchange, host: str) -> None:
        with socket.create_connection(("127.0.0.1", self._doors[host]), timeout=10) as onward:
            exchange.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_relay, args=(onward, exchange.connection))
            back.start()
            _relay(exchange.connection, onward)
            back.join()
        exchange.end()


def _relay(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
