"""Clients that push, smuggle, flood, dawdle or look for another way through the shim."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.simulators.shim import Shim, receive_all, until
from tests.simulators.upstream import basic
from tests.simulators.wire import WireServer
from tests.simulators.yard import Plot, Yard, yard
from trust.digest import sha256

PATIENCE = 20.0


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Give a yard whose shim takes few connections and waits a second for a head."""
    with yard(tmp_path_factory.mktemp("impatient"), limits={"connections": 4, "head": "1s"}) as own:
        yield own


def head(target: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: shim", *lines, "", "")).encode("latin-1")


def statuses(answers: bytes) -> list[int]:
    """Return the status of each answer on a connection."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answers)]


@pytest.fixture(scope="module")
def common(shared_yard: Yard) -> Plot:
    """Give a repository that these tests only read, with an unsigned image in it."""
    common = shared_yard.plot()
    for tag in ("evil", "evil%20"):
        common.push(tag, common.stranger)
    cached(common)
    return common


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PROPFIND"])
def test_nothing_but_pulling_is_served(common: Plot, method: str) -> None:
    before = len(common.yard.server.requests)
    for address in (
        common.at("1"),
        common.at(common.picture.digest),
        common.at(common.picture.layer, "blobs"),
        f"/v2/{common.path}/blobs/uploads/",
        f"/v2/{common.path}/blobs/uploads/?mount={common.picture.layer}&from=acme/other",
    ):
        answers = common.yard.shim.raw(
            f"{method} {address} HTTP/1.1\r\nHost: shim\r\nConnection: close\r\n\r\n".encode()
        )
        assert statuses(answers) in ([405], [400]), answers
        assert b"UNSUPPORTED" in answers
        assert statuses(answers) == [400] or b"Allow: GET, HEAD" in answers
    assert len(common.yard.server.requests) == before


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(("Content-Length: 5", "Transfer-Encoding: chunked"), id="length and coding"),
        pytest.param(("Content-Length: 5", "Content-Length: 6"), id="two lengths"),
        pytest.param(("Content-Length: 5", "Content-Length: 5"), id="two equal lengths"),
        pytest.param(("Content-Length: +5",), id="signed length"),
        pytest.param(("Content-Length: 0x5",), id="hexadecimal length"),
        pytest.param(("Content-Length: 5, 5",), id="list of lengths"),
        pytest.param(("Content-Length : 5",), id="space before the colon"),
        pytest.param(("Transfer-Encoding: xchunked",), id="unknown coding"),
        pytest.param(("Transfer-Encoding: chunked, identity",), id="coding after chunked"),
        pytest.param((" folded: yes",), id="folded line"),
        pytest.param(("X: a\rb",), id="bare CR"),
        pytest.param(("X: a\0b",), id="NUL"),
        pytest.param(("X: " + "a" * 9000,), id="huge header"),
        pytest.param(tuple(f"X-{number}: a" for number in range(200)), id="many headers"),
        pytest.param(("Authorization: Basic YQ==", "Authorization: Basic Yg=="), id="two logins"),
        pytest.param(("Authorization: Basic \xff\xfe",), id="login that is no ASCII"),
    ],
)
def test_head_with_two_readings_is_refused_with_what_follows(common: Plot, lines: tuple[str, ...]) -> None:
    """Whoever stands before the shim may read the other one: a second request hides in the body."""
    hidden = head(common.at("1"))
    answers = common.yard.shim.raw(head("/v2/", *lines) + b"0\r\n\r\n" + hidden, seconds=3)
    assert statuses(answers)[0] == 400, answers
    assert common.picture.manifest not in answers
    assert b"Traceback" not in answers


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v2/ HTTP/1.1\nHost: shim\n\n", b"GET /v2/ HTTP/1.1\r\nHost shim\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 100 + b"\r\n\r\n",
        b"get /v2/ HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_the_connection_closed(common: Plot, request_bytes: bytes) -> None:
    answers = common.yard.shim.raw(request_bytes)
    assert statuses(answers) in ([400], [405]), answers


@pytest.mark.parametrize("version", ["0.9", "2.0"])
def test_version_that_the_answer_could_not_be_of_is_refused(common: Plot, version: str) -> None:
    """The library would answer in the same version: ``HTTP/0.9 200``, which no client reads."""
    request = f"GET {common.at(common.picture.layer, 'blobs')} HTTP/{version}\r\nHost: shim\r\n\r\n".encode()
    answers = common.yard.shim.raw(request, seconds=2)
    assert statuses(answers) in ([505], [400]), answers[:200]
    assert answers.startswith(b"HTTP/1.1 ")


def test_body_that_says_to_be_compressed_is_not_unpacked(common: Plot) -> None:
    """Nobody reads it; unpacked, it would cost memory, and each that is none a traceback in the log."""
    said = len(common.yard.shim.said)
    body = b"no gzip at all"
    for _ in range(5):
        lines = ("Content-Encoding: gzip", f"Content-Length: {len(body)}", "Connection: close")
        assert statuses(common.yard.shim.raw(head(common.at("1"), *lines) + body)) == [200]
    assert "Traceback" not in common.yard.shim.said[said:]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_connection_that_is_to_be_closed_is_closed(common: Plot, version: str) -> None:
    started = time.monotonic()
    answers = common.yard.shim.raw(
        f"GET /v2/ HTTP/{version}\r\nHost: shim\r\nConnection: close\r\n\r\n".encode(), seconds=30
    )
    assert statuses(answers) == [200]
    assert time.monotonic() - started < 10


def test_pipelined_requests_are_answered_in_order(common: Plot) -> None:
    last = f"GET {common.at('none')} HTTP/1.1\r\nHost: shim\r\nConnection: close\r\n\r\n".encode()
    answers = common.yard.shim.raw(head(common.at("1")) * 20 + last)
    assert statuses(answers) == [200] * 20 + [403]
    assert answers.count(common.picture.manifest) == 20


def test_endless_pipelined_requests_take_no_endless_memory(common: Plot) -> None:
    """A client that asks and asks and never reads."""
    (worker,) = common.yard.shim.workers

    def resident_bytes() -> int:
        return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * 4096

    common.through("1")
    before = resident_bytes()
    asked = head(common.at("1")) * 1000
    with socket.create_connection(("127.0.0.1", common.yard.shim.port), timeout=1) as connection:
        sent = 0
        try:
            while sent < 64 * 1024 * 1024:
                sent += connection.send(asked)
        except TimeoutError:
            pass
        assert sent < 64 * 1024 * 1024, "it is read no further"
        assert resident_bytes() - before < 64 * 1024 * 1024
    assert common.through("1").status == 200


def test_no_host_no_absolute_address_and_no_ns_makes_an_open_proxy(common: Plot) -> None:
    with WireServer(script=lambda exchange: exchange.answer(200, b"elsewhere")) as other:
        shim = common.yard.shim
        for request in (
            f"GET http://{other.host}/v2/acme/web/manifests/1 HTTP/1.1\r\nHost: {other.host}\r\n",
            f"GET {common.at('none')} HTTP/1.1\r\nHost: {other.host}\r\n",
            f"GET //{other.host}/v2/ HTTP/1.1\r\nHost: {other.host}\r\n",
            f"GET /v2/{other.host}/acme/web/manifests/1 HTTP/1.1\r\nHost: shim\r\n",
            f"GET /v2/?ns={other.host} HTTP/1.1\r\nHost: shim\r\n",
            f"GET /v2/acme/web/manifests/1?ns={other.host} HTTP/1.1\r\nHost: shim\r\n",
            f"GET /v2/acme/web/manifests/1?ns=registry.test&ns={other.host} HTTP/1.1\r\nHost: shim\r\n",
            f"GET /v2/acme/web/manifests/1?ns=registry.test%00{other.host} HTTP/1.1\r\nHost: shim\r\n",
            f"GET /v2/acme/web/manifests/1?ns=registry.test@{other.host} HTTP/1.1\r\nHost: shim\r\n",
            f"CONNECT {other.host} HTTP/1.1\r\nHost: {other.host}\r\n",
            f"GET /v2/second/{other.host}/web/manifests/1 HTTP/1.1\r\nHost: shim\r\nX-Host: {other.host}\r\n",
        ):
            answers = shim.raw(f"{request}Connection: close\r\n\r\n".encode())
            assert statuses(answers)[0] in {400, 403, 404, 405}, answers
            assert b"elsewhere" not in answers
        assert other.requests == []


def test_absolute_address_of_the_shim_itself_serves_nothing_unsigned(common: Plot) -> None:
    for target in (f"http://shim{common.at('evil')}", f"http://registry.test{common.at('evil')}"):
        answers = common.yard.shim.raw(head(target, "Connection: close"))
        assert common.stranger.manifest not in answers
        assert statuses(answers)[0] in {400, 403, 404}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/acme/../{path}/manifests/evil", "/v2/./{path}/manifests/evil", "/v2//{path}/manifests/evil",
        "/v2/{path}/manifests/%65vil", "/v2/{path}%2fmanifests/evil", "/v2/{path}/manifests/evil%00",
        "/v2/{path}/manifests/evil%20", "/v2/{path}/manifests/evil;x", "/v2/{path}/manifests/evil/",
        "/v2/{path}/manifests/../manifests/evil", "/v2/{path}/manifests/evil#1", "/v2/{path}/Manifests/evil",
        "/V2/{path}/manifests/evil", "/v2/%2e%2e/{path}/manifests/evil", "/v2\\{path}\\manifests\\evil",
        "/v2/{path}/manifests/evil\xff", "/v2/{path}/manifests/_trust/../evil", "/v2/{upper}/manifests/evil",
        "/v2/{path}/manifests/{digest_upper}", "/v2/{path}/blobs/{digest}?digest={digest}&ns=",
        "/v2/second/{path}/manifests/evil", "/v2/own/{path}/manifests/evil",
        "/v2/registry.test/{path}/manifests/evil",
        "/v2/{path}/manifests/evil?ns=second.test", "/v2/{path}/manifests/evil?ns=SECOND.TEST",
    ],
)  # fmt: skip
def test_no_spelling_of_an_address_serves_what_is_unsigned(common: Plot, path: str) -> None:
    digest = str(common.stranger.digest)
    target = path.format(path=common.path, upper=common.path.upper(), digest=digest, digest_upper=digest.upper())
    before = common.asked()
    answers = common.yard.shim.raw(head(target, "Connection: close"))
    assert statuses(answers)[0] in {400, 403, 404}, answers
    assert common.stranger.manifest not in answers
    assert common.asked() == before, "the upstream was not even asked"


@pytest.mark.parametrize("header", ["bytes=700000-", "bytes=2000000-3000000", "bytes=-0"])
def test_range_outside_a_blob_is_refused(common: Plot, header: str) -> None:
    reply = common.through(common.picture.layer, "blobs", Range=header)
    assert (reply.status, reply.body) == (416, b"")
    assert reply.headers["content-range"] == f"bytes */{len(common.picture.blobs[-1])}"


@pytest.mark.parametrize(
    "header",
    [
        "bytes=0-0,-1",
        "bytes=" + ",".join(["0-"] * 1000),
        "bytes=5-3",
        "items=0-1",
        "bytes=a-b",
        "bytes=" + "9" * 40 + "-",
    ],
)
def test_range_that_is_none_or_many_is_the_whole_blob(common: Plot, header: str) -> None:
    """Many overlapping ranges would cost many times the blob."""
    reply = common.through(common.picture.layer, "blobs", Range=header)
    assert (reply.status, reply.body) == (200, common.picture.blobs[-1])


def test_range_of_what_was_not_verified_yet_is_the_whole_blob(plot: Plot) -> None:
    plot.through("1")
    reply = plot.through(plot.picture.layer, "blobs", Range="bytes=5-9")
    assert (reply.status, reply.body) == (200, plot.picture.blobs[-1])


def test_range_of_a_verified_blob_is_that_part(common: Plot) -> None:
    blob = common.picture.blobs[-1]
    for header, part in (("bytes=5-9", blob[5:10]), ("bytes=-7", blob[-7:]), ("bytes=699990-", blob[699990:])):
        reply = common.through(common.picture.layer, "blobs", Range=header)
        assert (reply.status, reply.body) == (206, part)
        assert reply.headers["content-range"].endswith(f"/{len(blob)}")
    assert common.through(common.picture.layer, "blobs", "HEAD", Range="bytes=5-9").status == 200


def cached(plot: Plot) -> None:
    """Have the last layer in the shim's cache."""
    plot.through("1")
    plot.through(plot.picture.layer, "blobs")
    name = plot.picture.layer.hex
    file = plot.yard.shim.home / "cache/sha256" / name[:2] / name
    until(file.exists, "the blob is kept")


def test_body_of_a_request_is_not_waited_for(common: Plot) -> None:
    answers = common.yard.shim.raw(head("/v2/", "Content-Length: 1000000000"), seconds=0.5)
    assert statuses(answers) == [200]


def connect(shim: Shim) -> socket.socket:
    return socket.create_connection(("127.0.0.1", shim.port), timeout=PATIENCE)


def test_head_that_drips_is_cut_off(impatient: Yard) -> None:
    """Slowloris: a byte now and then holds a connection."""
    with connect(impatient.shim) as connection:
        started = time.monotonic()
        with pytest.raises(ConnectionError):  # noqa: PT012 - at any of them
            for byte in head("/v2/", *["X: y"] * 100):
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
            raise AssertionError
        assert time.monotonic() - started < 10
    until(lambda: impatient.shim.ask("/v2/").status == 200, "the shim serves")


def test_silent_connection_is_cut_off(impatient: Yard) -> None:
    with connect(impatient.shim) as connection:
        assert receive_all(connection) == b""


def test_connections_of_one_client_above_the_limit_are_told_so_and_closed(impatient: Yard) -> None:
    with ExitStack() as stack:
        first = [stack.enter_context(connect(impatient.shim)) for _ in range(4)]
        for connection in first:
            connection.sendall(head("/v2/"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        with connect(impatient.shim) as one_more:
            one_more.sendall(head("/v2/"))
            answers = receive_all(one_more)
        assert statuses(answers) == [429]
        assert b"TOOMANYREQUESTS" in answers
        assert b"Retry-After: " in answers
        for connection in first:
            connection.sendall(head("/v2/"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    until(lambda: impatient.shim.ask("/v2/").status == 200, "the shim serves")


def test_flood_of_connections_is_cut_off_at_once(impatient: Yard) -> None:
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(impatient.shim))
        with connect(impatient.shim) as flooding:
            started = time.monotonic()
            assert receive_all(flooding) == b""
            assert time.monotonic() - started < 0.9, "no second is waited for its head"
    until(lambda: impatient.shim.ask("/v2/").status == 200, "the shim serves")


def test_other_clients_are_served_in_a_flood(impatient: Yard) -> None:
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(impatient.shim))
        other = socket.create_connection(
            ("127.0.0.1", impatient.shim.port), timeout=PATIENCE, source_address=("127.0.0.2", 0)
        )
        with other:
            other.sendall(head("/v2/"))
            assert other.recv(65536).startswith(b"HTTP/1.1 200")


def test_login_of_a_client_is_in_no_log(common: Plot) -> None:
    login = basic("alice")
    common.through("1", Authorization=login)
    common.through("none", Authorization=login)
    assert login.removeprefix("Basic ") not in common.yard.shim.said


def test_blob_that_many_ask_for_and_leave_is_fetched_once(plot: Plot) -> None:
    go_on = threading.Event()
    plot.through("1")
    address = plot.at(plot.picture.layer, "blobs")

    def pause(exchange: object) -> None:
        go_on.wait(PATIENCE)
        exchange.answer(200, plot.picture.blobs[-1])  # type: ignore[attr-defined]

    plot.yard.registry.rules[address] = pause
    for _ in range(10):
        with connect(plot.yard.shim) as connection:
            connection.sendall(head(address))
    until(lambda: any(address in asked for asked in plot.asked()), "the upstream was asked")
    go_on.set()
    assert sha256(plot.through(plot.picture.layer, "blobs").body) == plot.picture.layer
    assert plot.asked().count(f"GET {address}") == 1


def test_blob_of_the_shims_own_login_is_fetched_once_whatever_clients_send(plot: Plot) -> None:
    """Under ``auth = "own"`` a client's login decides nothing: it must not buy a fetch and a thread each."""
    go_on = threading.Event()
    own = "/v2/own"
    assert plot.yard.shim.ask(f"{own}/{plot.path}/manifests/1").status == 200
    address = plot.at(plot.picture.layer, "blobs")

    def pause(exchange: object) -> None:
        go_on.wait(PATIENCE)
        exchange.answer(200, plot.picture.blobs[-1])  # type: ignore[attr-defined]

    plot.yard.registry.rules[address] = pause
    through = f"{own}/{plot.path}/blobs/{plot.picture.layer}"
    for number in range(10):
        with connect(plot.yard.shim) as connection:
            connection.sendall(head(through, f"Authorization: {basic(str(number))}"))
    until(lambda: any(address in asked for asked in plot.asked()), "the upstream was asked")
    go_on.set()
    assert sha256(plot.yard.shim.ask(through).body) == plot.picture.layer
    assert plot.asked().count(f"GET {address}") == 1
