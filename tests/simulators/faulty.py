"""A wire on which things go wrong: it hands every request to a real server, and one answer on as it pleases.

Which answer is a matter of its number, so that a fault can be had at every request of a command in turn.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.simulators.wire import SILENCE_MAX_SECONDS, Exchange

_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "keep-alive"})
DELAY_SECONDS = 0.4
DRIP_SECONDS = 0.002

Fault = Callable[[Exchange, bytes], None]


def drop(exchange: Exchange, _answer: bytes) -> None:
    """Close without a word."""
    exchange.end()


def delay(exchange: Exchange, answer: bytes) -> None:
    exchange.closing.wait(DELAY_SECONDS)
    exchange.send(answer)


def reset(exchange: Exchange, answer: bytes) -> None:
    """Break the connection in the middle of the answer."""
    exchange.send(answer[: len(answer) // 2])
    exchange.reset()


def truncate(exchange: Exchange, answer: bytes) -> None:
    """Close properly, one byte too early."""
    exchange.send(answer[:-1])
    exchange.end()


def corrupt(exchange: Exchange, answer: bytes) -> None:
    """Change one bit of the body, or of the head where there is no body."""
    place = (len(answer) + answer.index(b"\r\n\r\n")) // 2
    exchange.send(answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 :])


def duplicate(exchange: Exchange, answer: bytes) -> None:
    """Send the body twice."""
    exchange.send(answer + answer.partition(b"\r\n\r\n")[2])
    exchange.end()


def unavailable(exchange: Exchange, _answer: bytes) -> None:
    exchange.answer(503, b'{"errors":[{"code":"UNAVAILABLE","message":"try again"}]}')


def drip(exchange: Exchange, answer: bytes) -> None:
    """Send the first of it byte by byte."""
    head = answer[:300]
    exchange.drip(head, every_seconds=DRIP_SECONDS)
    exchange.send(answer[len(head) :])


FAULTS: dict[str, Fault] = {
    fault.__name__: fault for fault in (drop, delay, reset, truncate, corrupt, duplicate, unavailable, drip)
}
HARMLESS = frozenset({"delay", "drip"})  # slow, and whole


@dataclass(kw_only=True)
class FaultyWire:
    """A script for ``WireServer`` before the server at ``host``: answer number ``at`` gets the ``fault``.

    ``also_later``: and every answer after it, as of a server that has gone bad. While ``stopped``, requests wait.
    """

    host: str
    fault: Fault | None = None
    at: int = 0
    also_later: bool = False
    count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _goes: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._goes.set()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have every request wait meanwhile, as if it had come after."""
        self._goes.clear()
        try:
            yield
        finally:
            self._goes.set()

    def set(self, fault: Fault | None, at: int = 0, *, also_later: bool = False) -> None:
        """Have that fault from now on, and count from zero."""
        with self._lock:
            self.fault, self.at, self.also_later, self.count = fault, at, also_later, 0

    def script(self, exchange: Exchange) -> None:
        self._goes.wait(SILENCE_MAX_SECONDS)
        with self._lock:
            number, fault = self.count, self.fault
            self.count += 1
            is_due = number == self.at or (self.also_later and number > self.at)
        answer = self._answer(exchange)
        if fault is not None and is_due:
            fault(exchange, answer)
        else:
            exchange.send(answer)

    def _answer(self, exchange: Exchange) -> bytes:
        """Return what the real server says, as bytes."""
        request = exchange.request
        connection = http.client.HTTPConnection(self.host, timeout=20)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
            connection.request(request.method, request.target, body=request.body or None, headers=headers)
            reply = connection.getresponse()
            body = reply.read()
            lines = [f"{name}: {value}" for name, value in reply.getheaders() if name.lower() not in _HOP_BY_HOP]
            if reply.getheader("Content-Length") is None and reply.status not in {204, 304}:
                lines.append(f"Content-Length: {len(body)}")
            head = "\r\n".join([f"HTTP/1.1 {reply.status} {reply.reason}", *lines])
            return head.encode("latin-1") + b"\r\n\r\n" + body
        finally:
            connection.close()
