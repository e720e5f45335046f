"""The HTTP side towards clients that take their time: in one process, so that minutes can be milliseconds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

from registry_shim import bodies
from registry_shim.bodies import Whole, byte_range, send_kept
from registry_shim.cache import Cache, Kept
from registry_shim.config import Limits
from registry_shim.server import Answer, Server
from trust.digest import sha256

LIMITS = Limits(connections=4, head_seconds=5.0, upstream_seconds=5.0, grant_seconds=5.0)
BIG = b"b" * (32 * 1024 * 1024)
ASK = b"GET /v2/ HTTP/1.1\r\nHost: shim\r\n\r\n"


def serve(
    answer: Answer, story: Callable[[int, Server], Coroutine[Any, Any, None]], *, stall: float = 30.0
) -> None:
    """Run ``story`` with the port of a server of ``answer``."""

    async def main() -> None:
        server = Server(answer, limits=LIMITS, counted=lambda *_told: None, stall_seconds=stall)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(server, "127.0.0.1", 0)
        try:
            await asyncio.wait_for(story(listener.sockets[0].getsockname()[1], server), 30)
        finally:
            listener.close()
            await server.shutdown(1.0)

    asyncio.run(main())


async def deaf(port: int) -> socket.socket:
    """Return a connection that has asked and reads nothing."""
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)  # noqa: FBT003 - the library's own
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, ASK)
    return connection


async def eventually(holds: Callable[[], bool]) -> None:
    """Return once it holds; ``serve`` bounds the wait."""
    while not holds():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)


async def cut_off(server: Server) -> None:
    await eventually(lambda: not server.connections)
    assert server.clients == {}


def test_client_that_takes_nothing_of_a_whole_answer_is_cut_off() -> None:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return Whole(200, {}, BIG)

    async def story(port: int, server: Server) -> None:
        with await deaf(port):
            await cut_off_after_start(server)

    serve(answer, story, stall=0.2)


def test_client_that_takes_nothing_of_a_cached_blob_is_cut_off(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.2)
    cache = Cache(tmp_path, 1024**3)
    cache.put(sha256(BIG), BIG)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        kept = cache.open(sha256(BIG))
        assert kept is not None
        return await send_kept(request, kept, {})

    async def story(port: int, server: Server) -> None:
        with await deaf(port):
            await cut_off_after_start(server)

    serve(answer, story)


async def cut_off_after_start(server: Server) -> None:
    await eventually(lambda: bool(server.connections))
    await cut_off(server)


def test_file_that_has_become_shorter_breaks_the_connection(tmp_path: Any) -> None:
    """What it lacks must not be taken from the next answer on the connection."""
    path = tmp_path / "file"
    path.write_bytes(b"short")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await send_kept(request, Kept(file=path.open("rb", buffering=0), size_bytes=100), {})

    async def story(port: int, _server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK + ASK)
        got = b""
        try:
            while data := await reader.read(65536):
                got += data
        except ConnectionError:
            pass
        assert got.count(b"HTTP/1.1 200") <= 1
        assert b"Content-Length: 100" in got
        assert len(got.partition(b"\r\n\r\n")[2]) <= 5
        writer.close()

    serve(answer, story)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None), ("", None), ("bytes=", None), ("bytes=-", None), ("bytes=0-", range(10)),
        ("bytes=0-0", range(1)), ("bytes=3-5", range(3, 6)), ("bytes=9-99", range(9, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)), ("bytes=5-3", None), ("bytes=0-1,3-4", None), ("items=0-1", None),
        ("bytes=a-b", None), ("bytes=0-" + "9" * 19, None), ("bytes= 0-1", None), ("bytes=\u0663-4", None),
    ],
)  # fmt: skip
def test_range_is_one_range_or_the_whole(header: str | None, expected: range | None) -> None:
    assert byte_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999999999999999-"])
def test_range_outside_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=r"bytes \*/10"):
        byte_range(header, 10)
