"""Servers that answer slowly, in each place where one can, and the deadline that ends them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.simulators.authority import Authority
from tests.simulators.wire import Exchange, Seen, WireServer, answer
from trust.deadline import deadline_in
from trust.errors import LimitError, UnavailableError, UnreachableError
from trust.oci.http import Http
from trust.oci.network import Address, SystemNetwork

DEADLINE_SECONDS = 0.4
AT_MOST_SECONDS = 5.0  # the machine may be busy; a drip would take minutes


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(environ={}) as door:
        yield door


def ended_in_time(ask: Callable[[], object], expected: type[Exception] = LimitError) -> None:
    began = time.monotonic()
    with pytest.raises(expected):
        ask()
    assert time.monotonic() - began < AT_MOST_SECONDS


def ask(http: Http, url: str) -> object:
    return http.request("GET", url, max_bytes=100_000, deadline=deadline_in(DEADLINE_SECONDS, time.monotonic))


@pytest.mark.parametrize(
    ("prompt", "drip"),
    [
        (b"", b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x" * 5000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 5000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Slow: 1\r\n" * 1000),
    ],
)
def test_slow_drip_is_ended_by_the_deadline(http: Http, prompt: bytes, drip: bytes) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(prompt)
        exchange.drip(drip, every_seconds=0.05)

    with WireServer(script=script) as server:
        ended_in_time(lambda: ask(http, server.url))


def test_silent_server_is_ended_by_the_deadline(http: Http) -> None:
    with WireServer(script=Exchange.hold) as server:
        ended_in_time(lambda: ask(http, server.url))


def test_drip_in_the_tls_handshake_is_ended_by_the_deadline() -> None:
    """A listener that takes the connection and sends the beginning of a TLS record, byte by byte."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                for byte in b"\x16\x03\x03\x40\x00" + b"\x02" * 1000:
                    try:
                        connection.send(bytes([byte]))
                    except OSError:
                        return
                    if stop.wait(0.05):
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        port = listener.getsockname()[1]
        with Http(environ={}) as http:
            ended_in_time(lambda: ask(http, f"https://127.0.0.1:{port}/"))
        stop.set()
        thread.join()


def test_listener_that_never_accepts_is_ended_by_the_deadline(http: Http) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):  # more than its queue holds
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(("127.0.0.1", port))
        ended_in_time(lambda: ask(http, f"http://127.0.0.1:{port}/"), expected=UnreachableError)


def test_silent_name_server_is_ended_by_the_deadline() -> None:
    answered = threading.Event()

    def look_up(*_: object, **__: object) -> list[tuple[object, ...]]:
        answered.wait(20)
        return []

    with Http(environ={}, network=SystemNetwork(look_up)) as http:
        ended_in_time(lambda: ask(http, "https://registry.example.com/"), expected=UnreachableError)
    answered.set()


def test_slow_redirects_share_one_deadline(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        exchange.closing.wait(0.15)
        exchange.answer(302, Location=f"/{len(server.requests)}")

    with WireServer(script=script) as server:
        ended_in_time(lambda: ask(http, server.url))


def test_stalled_stream_is_ended_by_its_idle_timeout(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc")
        exchange.hold()

    def read() -> None:
        with http.stream("GET", server.url, idle_timeout_seconds=0.3) as stream:
            assert next(iter(stream)) == b"abc"
            b"".join(stream)

    with WireServer(script=script) as server:
        ended_in_time(read, expected=UnreachableError)


def test_stream_that_drips_below_the_least_pace_is_ended_without_a_deadline(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        exchange.drip(b"x" * 5000, every_seconds=0.02)

    def read() -> None:
        with http.stream("GET", server.url, idle_timeout_seconds=0.3) as stream:
            b"".join(stream)

    with WireServer(script=script) as server:
        ended_in_time(read, expected=UnreachableError)


def test_stream_with_a_dripping_head_is_ended_without_a_deadline(http: Http) -> None:
    """By the time for a head, or by the least pace: on a busy machine either is over first."""
    with WireServer(script=lambda exchange: exchange.drip(b"HTTP/1.1 200 OK" * 99, every_seconds=0.02)) as server:
        ended_in_time(lambda: http.stream("GET", server.url, idle_timeout_seconds=0.3), expected=UnavailableError)


def test_slow_reader_does_not_count_against_a_fast_server() -> None:
    """Back pressure of the consumer is not the server's slowness."""
    body = b"x" * 3_000_000
    now = 0.0
    with (
        WireServer(script=lambda exchange: exchange.answer(200, body)) as server,
        Http(environ={}, clock=lambda: now) as http,
        http.stream("GET", server.url, idle_timeout_seconds=10) as stream,
    ):
        got = 0
        for piece in stream:
            got += len(piece)
            now += 1000  # the consumer's own work
    assert got == len(body)


def test_upload_to_a_server_that_stops_reading_is_ended_by_the_deadline(http: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended_in_time(
            lambda: http.request(
                "PUT",
                f"http://127.0.0.1:{port}/",
                body=bytes(64_000_000),
                max_bytes=10,
                deadline=deadline_in(DEADLINE_SECONDS, time.monotonic),
            )
        )


@pytest.mark.parametrize(("with_deadline", "gulp_bytes"), [(True, 65_536), (False, 64)])
def test_upload_in_tls_to_a_server_that_reads_slowly_is_ended(
    tmp_path: Path, *, with_deadline: bool, gulp_bytes: int
) -> None:
    """Each TLS record goes through in time; all of them would take longer than anybody waits."""
    authority = Authority(tmp_path)

    def slowly(connection: socket.socket) -> Seen | None:
        while connection.recv(gulp_bytes) and not stop.wait(0.02):
            pass
        return None

    stop = threading.Event()
    with (
        WireServer(script=Exchange.end, read_request=slowly, tls=authority.server_context("127.0.0.1")) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}) as http,
    ):
        deadline = deadline_in(DEADLINE_SECONDS, time.monotonic) if with_deadline else None

        def upload() -> None:
            with http.stream(
                "PUT", server.url, body=bytes(64_000_000), deadline=deadline, idle_timeout_seconds=DEADLINE_SECONDS
            ):
                pass

        ended_in_time(upload, expected=LimitError if with_deadline else UnreachableError)
        stop.set()


def test_tls_server_that_drips_its_body_is_ended_by_the_deadline(tmp_path_factory: pytest.TempPathFactory) -> None:
    authority = Authority(tmp_path_factory.mktemp("tls"))

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        exchange.drip(b"x" * 5000, every_seconds=0.05)

    with (
        WireServer(script=script, tls=authority.server_context("127.0.0.1")) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}) as http,
    ):
        ended_in_time(lambda: ask(http, server.url))


def test_names_are_found_and_unknown_ones_are_named() -> None:
    def look_up(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with (
        Http(environ={}, network=SystemNetwork(look_up)) as http,
        pytest.raises(UnreachableError, match=r"https://registry\.example\.com: host name not found: .*not known"),
    ):
        ask(http, "https://registry.example.com/")


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", ".example.com"])
def test_host_that_can_be_no_name_is_said_to_be_unknown(host: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A registry may redirect to such a host; the thread that looks it up ends in silence."""
    expected = pytest.raises(UnreachableError, match=r"host name not found: .*(label|[Nn]ame)")
    with Http(environ={}) as http, expected as caught:
        ask(http, f"https://{host}/")
    assert "did not answer" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_localhost_is_this_machine_whatever_a_name_server_says() -> None:
    def look_up(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise AssertionError

    network = SystemNetwork(look_up)
    for name in ("localhost", "LocalHost", "localhost.", "registry.localhost"):
        assert [address.ip for address in network.resolve(name, 80, 10.0)] == ["127.0.0.1", "::1"]


def test_literal_addresses_are_not_looked_up() -> None:
    def look_up(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise AssertionError

    network = SystemNetwork(look_up)
    assert network.resolve("[::1]", 80, 10.0) == [Address(ip="::1", port=80)]
    assert network.resolve("192.0.2.1", 80, 10.0) == [Address(ip="192.0.2.1", port=80)]


def test_answer_in_time_is_not_delayed(http: Http) -> None:
    with WireServer(script=lambda exchange: exchange.send(answer(200, b"quick"))) as server:
        response = http.request(
            "GET", server.url, max_bytes=10, deadline=deadline_in(DEADLINE_SECONDS, time.monotonic)
        )
    assert response.body == b"quick"
