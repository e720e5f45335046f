"""The proxy that counts: nothing is changed, and each answer is booked on its own request."""

from __future__ import annotations

import socket

from scripts.bench.counting_proxy import counting_proxy
from tests.simulators.wire import Exchange, WireServer, answer

ANSWERS = {"/small": answer(304), "/large": answer(200, b"x" * 300_000)}


def serve(exchange: Exchange) -> None:
    exchange.send(ANSWERS[exchange.request.target])


def asked(connection: socket.socket, target: str) -> bytes:
    connection.sendall(f"GET {target} HTTP/1.1\r\n".encode())
    connection.sendall(b"Host: test\r\n\r\n")  # a head in two pieces
    wanted, got = len(ANSWERS[target]), b""
    while len(got) < wanted:
        more = connection.recv(65_536)
        assert more, f"the connection ended after {len(got)} of {wanted} bytes"
        got += more
    return got


def test_each_answer_is_booked_on_its_request_whole_and_unchanged() -> None:
    with WireServer(script=serve) as server, counting_proxy(server.port) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
            for target in ("/small", "/large", "/small"):
                assert asked(connection, target) == ANSWERS[target]
        taken = proxy.taken()
        assert [one.line for one in taken] == [f"GET {path} HTTP/1.1" for path in ("/small", "/large", "/small")]
        assert [one.response_bytes for one in taken] == [len(ANSWERS[one.target]) for one in taken]
        assert proxy.taken() == []


def test_connections_are_counted_apart() -> None:
    with WireServer(script=serve) as server, counting_proxy(server.port) as proxy:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
                asked(connection, "/small")
        assert proxy.connections == 2
        assert len(proxy.taken()) == 2
