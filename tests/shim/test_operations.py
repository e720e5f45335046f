"""What an operator asks over HTTP: health, readiness, figures, and events that nobody can make expensive."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from registry_shim import events
from registry_shim.operations import Operations
from tests.shim.conftest import Keeper
from tests.shim.samples import collection, decided, traffic


def test_alive_while_the_keeper_lives_and_ready_when_it_says_so(keeper: Keeper) -> None:
    assert keeper.text("/healthz") == "alive\n"
    answer = keeper.ask("/readyz")
    assert (answer.status, answer.body) == (503, b"it starts\n")
    keeper.tell(lambda operations: operations.ready(is_ready=False, why="acme/: nothing\nwas verified yet"))
    answer = keeper.ask("/readyz")
    assert (answer.status, answer.body) == (503, b"acme/: nothing was verified yet\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    keeper.tell(lambda operations: operations.ready(is_ready=True))
    answer = keeper.ask("/readyz")
    assert (answer.status, answer.body) == (200, b"ready\n")


def test_figures_are_served_as_prometheus_wants_them(keeper: Keeper) -> None:
    keeper.tell(lambda operations: operations.decided(decided()))
    keeper.tell(lambda operations: operations.traffic(traffic()))
    keeper.tell(lambda operations: operations.collections([collection()]))
    keeper.tell(lambda operations: operations.log(lines=5, lost=2))
    keeper.tell(lambda operations: operations.workers(alive=2, wanted=2))
    answer = keeper.ask("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.body.decode()))
    samples = {
        (sample.name, *sample.labels.values()): sample.value for each in families for sample in each.samples
    }
    assert samples["trust_shim_decisions_total", "denied", "unsigned"] == 1
    assert samples["trust_shim_log_lost_total",] == 2
    assert samples["trust_shim_requests_total", "200"] == 1


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/", "/events"])
def test_nothing_but_reading_is_served(keeper: Keeper, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = keeper.ask(path, method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    answer = keeper.ask(path, method="HEAD")
    assert answer.status in {200, 503}
    assert answer.body == b""


def test_what_is_not_there_is_not_found(keeper: Keeper) -> None:
    for path in ("/v2/", "/healthz/", "/metrics/../healthz", "/%2e%2e/etc/passwd", "//"):
        answer = keeper.ask(path)
        assert answer.status == 404


def test_without_a_page_there_are_figures_only() -> None:
    keeper = Keeper(page=False)
    try:
        states = [keeper.ask(path).status for path in ("/", "/events", "/metrics", "/healthz")]
    finally:
        keeper.stop()
    assert states == [404, 404, 200, 200]


def test_every_answer_is_guarded(keeper: Keeper) -> None:
    for path in ("/", "/healthz", "/metrics", "/events", "/none"):
        answer = keeper.ask(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Server"] == "trust-shim"
        assert answer.headers["Access-Control-Allow-Origin"] is None


def test_a_name_that_a_stranger_can_point_here_is_told_nothing() -> None:
    keeper = Keeper(hosts=("Shim.Example.com",))
    try:
        for host, expected in (
            ("127.0.0.1:9091", 200),
            ("[::1]:9091", 200),
            ("localhost", 200),
            ("shim", 200),
            ("shim.localhost:80", 200),
            ("shim.example.com.:9091", 200),
            ("attacker.example", 421),
            ("shim.example.com.attacker.example", 421),
            ("127.0.0.1.attacker.example:9091", 421),
            ("localhost.attacker.example", 421),
            ("127.0.0.1@attacker.example", 421),
        ):
            states = {
                path: keeper.ask(path, host=host).status for path in ("/", "/metrics", "/events", "/healthz")
            }
            assert states == {"/": expected, "/metrics": expected, "/events": expected, "/healthz": 200}, host
    finally:
        keeper.stop()


def _decide(operations: Operations, **changes: Any) -> None:
    operations.decided(decided(**changes))


class Listener:
    """A page that listens."""

    def __init__(self, keeper: Keeper) -> None:
        self.connection = keeper.connect()
        self.connection.request("GET", "/events")
        self.answer = self.connection.getresponse()

    def parts(self) -> Iterator[dict[str, str]]:
        kind = ""
        for line in self.answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind:
                yield json.loads(value)
                kind = ""

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def test_a_listener_hears_all_at_first_and_then_what_changed(keeper: Keeper) -> None:
    listener = Listener(keeper)
    parts = listener.parts()
    assert listener.answer.headers["Content-Type"] == "text/event-stream"
    assert next(parts).keys() == {"now", "collections", "decisions"}
    keeper.tell(lambda operations: operations.decided(decided(image="a/b:1")))
    news = next(parts)
    assert news.keys() == {"now", "decisions"}
    assert "a/b:1" in news["decisions"]
    keeper.tell(lambda operations: operations.collections([collection()]))
    assert next(parts).keys() == {"collections"}
    listener.close()


def test_however_many_decisions_a_listener_hears_twice_a_second(keeper: Keeper) -> None:
    listener = Listener(keeper)
    parts = listener.parts()
    next(parts)
    began = time.monotonic()
    updates, last = 0, ""
    for number in range(1_500):
        keeper.tell(partial(_decide, image=f"a/b:{number}"))
    while "a/b:1499" not in last:
        last = next(parts)["decisions"]
        updates += 1
    assert updates <= (time.monotonic() - began) * 2 + 1
    assert last.count("<tr ") == 51
    listener.close()


def test_a_listener_hears_no_more_than_that_beside_the_parts(keeper: Keeper) -> None:
    listener = Listener(keeper)
    began, lines = time.monotonic(), 0
    for line in listener.answer:
        lines += line.startswith(b"data: ")
        keeper.tell(_decide)
        if time.monotonic() - began > 2:
            break
    assert lines <= (time.monotonic() - began) * 2 + 1
    listener.close()


def test_one_listener_too_many_is_asked_to_come_later(keeper: Keeper) -> None:
    listeners = [Listener(keeper) for _ in range(events.MOST_LISTENERS)]
    for each in listeners:
        next(each.parts())
    answer = keeper.ask("/events")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    for each in listeners:
        each.close()
    deadline = time.monotonic() + 20
    while keeper.ask("/events").status != 200:
        keeper.tell(lambda operations: operations.decided(decided()))
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_listener_that_reads_nothing_is_let_go(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_SLOW_SECONDS", 0.2)
    monkeypatch.setattr(events, "_BETWEEN_SECONDS", 0.01)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", keeper.port))
    slow.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    feed = keeper.operations._feed
    deadline = time.monotonic() + 30
    while not feed.listeners:
        assert time.monotonic() < deadline
    number = 0
    while feed.listeners:
        number += 1
        keeper.tell(partial(_decide, image=f"a/{number}", detail="x" * 1_500))
        assert time.monotonic() < deadline
    with slow, suppress(ConnectionError):
        slow.settimeout(10)  # a time-out would say that it was not let go
        while slow.recv(1 << 16):
            pass


def test_the_keeper_ends_at_once_however_many_listen() -> None:
    keeper = Keeper()
    listeners = [Listener(keeper) for _ in range(3)]
    for each in listeners:
        next(each.parts())
    began = time.monotonic()
    keeper.stop()
    assert time.monotonic() - began < 3
    for each in listeners:
        each.close()


def test_what_is_told_while_nobody_listens_costs_no_drawing(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(keeper.operations._feed, "_draw", lambda: drawn.append(1))
    for _ in range(100):
        keeper.tell(lambda operations: operations.decided(decided()))
    assert not drawn
