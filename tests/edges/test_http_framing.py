"""What a server may say about where its answer ends, and what it says when it lies."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.simulators.wire import Exchange, WireServer, answer
from trust.deadline import Deadline, deadline_in
from trust.errors import InputError, LimitError, UnreachableError
from trust.oci.errors import MalformedAnswerError
from trust.oci.http import Http
from trust.oci.message import Response

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def soon(seconds: float = 10.0) -> Deadline:
    return deadline_in(seconds, time.monotonic)


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(environ={}) as door:
        yield door


def get(http: Http, raw: bytes, *, method: str = "GET", max_bytes: int = 1000) -> Response:
    """Return what ``http`` makes of a server that says ``raw`` and closes."""

    def script(exchange: Exchange) -> None:
        exchange.send(raw)
        exchange.end()

    with WireServer(script=script) as server:
        return http.request(method, f"{server.url}/x", max_bytes=max_bytes, deadline=soon())


def test_body_of_known_length_is_returned(http: Http) -> None:
    response = get(http, answer(200, b"hello", X_Kind="plain"))
    assert (response.status, response.body, response.headers["x-kind"]) == (200, b"hello", "plain")


def test_chunked_body_with_extensions_and_trailers_is_returned(http: Http) -> None:
    raw = CHUNKED + b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert get(http, raw).body == b"hello!"


def test_body_until_the_end_of_the_connection_is_returned(http: Http) -> None:
    assert get(http, b"HTTP/1.0 200 OK\r\n\r\nhello").body == b"hello"


def test_interim_answers_are_passed_over(http: Http) -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + answer(200, b"real")
    assert get(http, raw).body == b"real"


def test_endless_interim_answers_are_refused(http: Http) -> None:
    with pytest.raises(MalformedAnswerError, match="interim"):
        get(http, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def test_answer_to_head_has_no_body_whatever_its_length_says(http: Http) -> None:
    response = get(http, answer(200, b"", Content_Length="5000"), method="HEAD")
    assert (response.body, response.headers["content-length"]) == (b"", "5000")


def test_repeated_header_keeps_every_value(http: Http) -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
    headers = get(http, raw).headers
    assert (headers["X-A"], headers.each("X-a"), "x-b" in headers) == ("1, 2", ["1", "2"], False)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "length beside chunks (request smuggling)"),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", "two lengths"),
        (b"Content-Length: 5, 6\r\n", "two lengths in one field"),
        (b"Content-Length: -5\r\n", "negative length"),
        (b"Content-Length: +5\r\n", "signed length"),
        (b"Content-Length: 0x5\r\n", "hexadecimal length"),
        (b"Content-Length: 5_0\r\n", "length as Python would read it"),
        (b"Content-Length: 99999999999999999999\r\n", "length beyond 64 bits"),
        (b"Transfer-Encoding: gzip, chunked\r\n", "compressed on the way"),
        (b"Transfer-Encoding: xchunked\r\n", "unknown coding"),
        (b"Transfer-Encoding: \xa0chunked\r\n", "a blank that is none"),
        (b"Content-Length: \xa05\r\n", "likewise of a length"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "chunked twice"),
        (b"Content-Length : 5\r\n", "blank before the colon"),
        (b"X-A: 1\r\n Content-Length: 5\r\n", "folded line"),
        (b"Content-Length\r\n", "no colon"),
        (b"X-A: a\rContent-Length: 5\r\n", "bare CR"),
        (b"X-A: a\nContent-Length: 5\r\n", "bare LF"),
        (b"X-A: a\x00b\r\n", "NUL"),
        (b"X-A:" + b" " * 50_000 + b"\0\r\n", "blanks that an expression would try in every way, for hours"),
        (b": 5\r\n", "no name"),
    ],
)
def test_head_with_two_readings_is_refused(http: Http, fields: bytes, what: str) -> None:
    with pytest.raises(MalformedAnswerError):
        get(http, b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_chunks_where_there_is_no_body_are_none_of_it(http: Http, status: bytes) -> None:
    """RFC 9112 allows the field in a 304, which has no body, and not in a 204, where others would read one."""
    raw = b"HTTP/1.1 " + status + b" -\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    if status == b"304":
        assert get(http, raw).body == b""
    else:
        with pytest.raises(MalformedAnswerError, match="where there is no body"):
            get(http, raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"<html>hello</html>\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(http: Http, raw: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        get(http, raw)


@pytest.mark.parametrize("size", [b"-5", b"0x5", b"5_0", b"", b" 5", b"5 5", b"g", b"1" * 17])
def test_malformed_chunk_size_is_refused(http: Http, size: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        get(http, CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n")


def test_chunk_longer_than_it_says_is_refused(http: Http) -> None:
    with pytest.raises((MalformedAnswerError, LimitError)):
        get(http, CHUNKED + b"3\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        answer(200, b"hell", Content_Length="5"),
        answer(200, b"", Content_Length="5"),
        CHUNKED,
        CHUNKED + b"5\r\nhel",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n",
    ],
)
def test_truncated_answer_is_never_a_short_success(http: Http, raw: bytes) -> None:
    with pytest.raises(UnreachableError):
        get(http, raw)


def test_broken_connection_is_never_a_short_success(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\nhel")
        exchange.reset()

    with WireServer(script=script) as server, pytest.raises(UnreachableError, match="broke"):
        http.request("GET", f"{server.url}/x", max_bytes=100, deadline=soon())


@pytest.mark.parametrize("length", [True, False])
def test_body_above_the_cap_is_refused(http: Http, *, length: bool) -> None:
    body = b"x" * 1001
    raw = answer(200, body) if length else b"HTTP/1.1 200 OK\r\n\r\n" + body
    with pytest.raises(LimitError, match="expected at most 1000 bytes"):
        get(http, raw, max_bytes=1000)


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 65536),
        (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"x" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x" * 65536),
        (b"HTTP/1.1 200 ", b"x" * 65536),
        (CHUNKED + b"0\r\n", b"X-Trailer: " + b"x" * 1000 + b"\r\n"),
        (CHUNKED + b"1;", b"x" * 65536),
    ],
)
def test_endless_answer_is_ended_by_its_cap(http: Http, opening: bytes, piece: bytes) -> None:
    sent = 0

    def script(exchange: Exchange) -> None:
        nonlocal sent
        exchange.send(opening)
        while sent < 200_000_000:
            exchange.send(piece)
            sent += len(piece)

    with WireServer(script=script) as server, pytest.raises(LimitError, match="expected at most"):
        http.request("GET", f"{server.url}/x", max_bytes=100_000, deadline=soon())
    assert sent < 50_000_000


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br", "identity, gzip"])
def test_compressed_body_is_refused(http: Http, coding: str) -> None:
    with pytest.raises(UnreachableError, match="encoded as"):
        get(http, answer(200, b"\x1f\x8b", Content_Encoding=coding))


def test_refusal_is_told_however_its_words_are_encoded(http: Http) -> None:
    assert get(http, answer(403, b"\x1f\x8b", Content_Encoding="gzip")).status == 403


def test_compression_is_never_asked_for(http: Http) -> None:
    with WireServer(script=lambda exchange: exchange.answer()) as server:
        http.request("GET", server.url, max_bytes=0, deadline=soon())
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_body_of_exactly_the_cap_is_returned(http: Http) -> None:
    assert len(get(http, answer(200, b"x" * 1000), max_bytes=1000).body) == 1000


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "ä"])
def test_header_that_could_end_its_line_is_not_sent(http: Http, value: str) -> None:
    with (
        WireServer(script=lambda exchange: exchange.answer()) as server,
        pytest.raises(InputError, match="header is malformed") as caught,
    ):
        http.request("GET", server.url, headers={"Authorization": value}, max_bytes=0, deadline=soon())
    assert server.requests == []
    assert value not in str(caught.value)
