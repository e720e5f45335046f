"""Kept connections that die, servers that ask for patience, and servers that stumble."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.simulators.wire import Exchange, Script, Seen, WireServer, answer, whole_request
from trust.deadline import Deadline, deadline_in
from trust.errors import InputError, UnreachableError
from trust.oci.http import Http


@dataclass
class Clock:
    """Sleeping moves it; nobody waits."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def http(clock: Clock) -> Iterator[Http]:
    with Http(environ={}, clock=clock, sleep=clock.sleep) as door:
        yield door


def soon() -> Deadline:
    return deadline_in(10, time.monotonic)


def in_turn(*scripts: Script) -> Script:
    """Return a script whose n-th request is answered by the n-th of ``scripts``, the last one for ever."""
    count = 0

    def script(exchange: Exchange) -> None:
        nonlocal count
        count += 1
        scripts[min(count, len(scripts)) - 1](exchange)

    return script


def says(status: int, body: bytes = b"", **headers: str) -> Script:
    return lambda exchange: exchange.answer(status, body, **headers)


def test_connection_is_kept_for_the_next_request(http: Http) -> None:
    with WireServer(script=says(200, b"content")) as server:
        for _ in range(3):
            assert http.request("GET", server.url, max_bytes=100, deadline=soon()).body == b"content"
        assert server.connections == 1
        http.close()


def test_connection_is_not_kept_after_connection_close(http: Http) -> None:
    with WireServer(script=says(200, b"content", Connection="close")) as server:
        for _ in range(2):
            http.request("GET", server.url, max_bytes=100, deadline=soon())
    assert server.connections == 2


def test_connection_is_not_kept_beyond_its_idle_time(http: Http, clock: Clock) -> None:
    with WireServer(script=says(200)) as server:
        http.request("GET", server.url, max_bytes=100, deadline=soon())
        clock.now += 31
        http.request("GET", server.url, max_bytes=100, deadline=soon())
        assert server.connections == 2
        http.close()


def test_idle_connections_to_other_hosts_are_closed_in_time(http: Http, clock: Clock) -> None:
    """Redirects lead to ever new storage hosts: a long-lived gate must not collect their connections."""
    ended = threading.Event()

    def until_the_end(connection: socket.socket) -> Seen | None:
        seen = whole_request(connection)
        if seen is None:
            ended.set()
        return seen

    with WireServer(script=says(200), read_request=until_the_end) as old, WireServer(script=says(200)) as new:
        http.request("GET", old.url, max_bytes=100, deadline=soon())
        clock.now += 31
        http.request("GET", new.url, max_bytes=100, deadline=soon())
        assert ended.wait(10)
        http.close()


def test_unread_body_is_not_taken_for_the_next_answer(http: Http) -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" * 10_000
    with WireServer(script=in_turn(says(200, body), says(200, b"good"))) as server:
        with http.stream("GET", f"{server.url}/big") as stream:
            next(stream)
        assert http.request("GET", server.url, max_bytes=100, deadline=soon()).body == b"good"
        assert server.connections == 2


def test_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(http: Http) -> None:
    """Response queue poisoning: a second answer waits on the kept connection."""

    def twice(exchange: Exchange) -> None:
        exchange.send(answer(200, b"good") + answer(200, b"evil"))

    with WireServer(script=in_turn(twice, says(200, b"next"))) as server:
        assert http.request("GET", server.url, max_bytes=100, deadline=soon()).body == b"good"
        assert http.request("GET", server.url, max_bytes=100, deadline=soon()).body == b"next"


@pytest.mark.parametrize("how", ["end", "reset"])
def test_get_is_repeated_on_a_new_connection_where_the_kept_one_died(http: Http, how: str) -> None:
    with WireServer(script=in_turn(says(200, b"one"), lambda e: getattr(e, how)(), says(200, b"two"))) as server:
        http.request("GET", server.url, max_bytes=100, deadline=soon())
        assert http.request("GET", server.url, max_bytes=100, deadline=soon()).body == b"two"
    assert server.targets == ["GET /", "GET /", "GET /"]


def test_connection_that_dies_at_once_is_not_repeated(http: Http) -> None:
    with WireServer(script=Exchange.end) as server, pytest.raises(UnreachableError):
        http.request("GET", server.url, max_bytes=100, deadline=soon())
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_changes_something_is_never_sent_twice(http: Http, method: str) -> None:
    with WireServer(script=in_turn(says(200), Exchange.end, says(201))) as server:
        http.request("GET", server.url, max_bytes=100, deadline=soon())
        with pytest.raises(UnreachableError):
            http.request(method, server.url, body=b"x", max_bytes=100, deadline=soon())
    assert server.targets == ["GET /", f"{method} /"]


def test_get_that_broke_in_mid_answer_is_not_repeated(http: Http) -> None:
    def half(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 20")
        exchange.end()

    with WireServer(script=in_turn(says(200), half, says(200))) as server:
        http.request("GET", server.url, max_bytes=100, deadline=soon())
        with pytest.raises(UnreachableError):
            http.request("GET", server.url, max_bytes=100, deadline=soon())


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_stumbling_server_is_asked_three_times(http: Http, clock: Clock, status: int) -> None:
    script = in_turn(says(status, b"oops"), says(status, b"oops"), says(200, b"content"))
    with WireServer(script=script) as server:
        assert http.request("GET", server.url, max_bytes=100, deadline=soon()).body == b"content"
        assert server.connections == 1
        http.close()
    assert clock.slept == [0.2, 0.6]


def test_fault_that_stays_is_handed_back(http: Http) -> None:
    with WireServer(script=says(500, b"oops")) as server:
        response = http.request("GET", server.url, max_bytes=100, deadline=soon())
        assert (response.status, response.body, len(server.requests)) == (500, b"oops", 3)
        http.close()


def test_fault_of_what_changes_something_is_handed_back_at_once(http: Http) -> None:
    with WireServer(script=says(500)) as server:
        assert http.request("PUT", server.url, body=b"x", max_bytes=100, deadline=soon()).status == 500
        assert len(server.requests) == 1
        http.close()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_server_that_says_when_is_asked_then(http: Http, clock: Clock, status: int, method: str) -> None:
    with WireServer(script=in_turn(says(status, Retry_After="7"), says(200, b"content"))) as server:
        deadline = deadline_in(60, clock)
        body = b"content" if method == "PUT" else None
        assert http.request(method, server.url, body=body, max_bytes=100, deadline=deadline).status == 200
        assert [request.body for request in server.requests] == [body or b""] * 2
        http.close()
    assert clock.slept == [7.0]


def test_patience_is_bounded(http: Http, clock: Clock) -> None:
    with WireServer(script=says(429, Retry_After="5")) as server:
        response = http.request("GET", server.url, max_bytes=100, deadline=deadline_in(60, clock))
        assert (response.status, len(server.requests), clock.slept) == (429, 3, [5.0, 5.0])
        http.close()


@pytest.mark.parametrize("wait", ["61", "100000", "9" * 400])
def test_wait_beyond_the_deadline_is_not_begun(http: Http, clock: Clock, wait: str) -> None:
    with WireServer(script=says(429, Retry_After=wait)) as server:
        response = http.request("GET", server.url, max_bytes=100, deadline=deadline_in(60, clock))
        assert (response.status, clock.slept) == (429, [])
        http.close()


@pytest.mark.parametrize("wait", ["-1", "soon", "1e9", "", "٣", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_wait_that_is_no_number_is_short(http: Http, clock: Clock, wait: str) -> None:
    says_strange = f"HTTP/1.1 429 Slow\r\nRetry-After: {wait}\r\nContent-Length: 0\r\n\r\n".encode()
    with WireServer(script=in_turn(lambda e: e.send(says_strange), says(200))) as server:
        response = http.request("GET", server.url, max_bytes=100, deadline=deadline_in(60, clock))
        assert response.status == 200
        assert sum(clock.slept) < 1
        http.close()


def test_early_refusal_of_a_large_upload_is_told(http: Http) -> None:
    """The server answers and closes without reading: its words count, not the broken pipe."""

    def head_only(connection: socket.socket) -> Seen:
        connection.recv(100)
        return Seen(method="PUT", target="/", headers={}, body=b"")

    def refuse(exchange: Exchange) -> None:
        exchange.answer(413, b"too long")
        exchange.end()

    with WireServer(script=refuse, read_request=head_only) as server:
        response = http.request("PUT", server.url, body=bytes(32_000_000), max_bytes=100, deadline=soon())
    assert (response.status, response.body) == (413, b"too long")


def test_plain_http_to_another_machine_is_refused_unless_allowed(http: Http) -> None:
    with pytest.raises(InputError, match="another machine"):
        http.request("GET", "http://registry.example.com/", max_bytes=100, deadline=soon())


def test_refused_connection_names_the_host(http: Http) -> None:
    with WireServer(script=says(200)) as server:
        pass
    with pytest.raises(UnreachableError, match=rf"http://127\.0\.0\.1:{server.port}: no connection: .*refused"):
        http.request("GET", server.url, max_bytes=100, deadline=soon())


def test_threads_share_the_door() -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(200, exchange.request.target.encode())

    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(20):
            target = f"/{number}/{turn}"
            got = door.request("GET", f"{server.url}{target}", max_bytes=100, deadline=soon()).body.decode()
            if got != target:
                wrong.append((target, got))

    with WireServer(script=script) as server, Http(environ={}) as door:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert server.connections <= 6
