"""The clients of the benchmark that check: whatever is not exactly what was signed, or a refusal, is wrong."""

from __future__ import annotations

import pytest

from scripts.bench.checked import Ask, Outcome, pulled
from tests.simulators.wire import Exchange, Script, WireServer, answer
from trust.digest import sha256

SIGNED = b"what was signed"
REFUSAL = b'{"errors": [{"code": "DENIED", "message": "unsigned: no", "detail": {"reason": "unsigned"}}]}'


def outcome_of(script: Script, ask: Ask) -> Outcome:
    with WireServer(script=script) as server:
        return pulled(server.port, [ask], clients=1, seconds=0.5, each_moment=lambda _seconds: None)


def saying(data: bytes) -> Script:
    return lambda exchange: exchange.send(data)


def broken_off() -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n" + SIGNED


@pytest.mark.parametrize(
    ("data", "is_right"),
    [
        (answer(200, SIGNED), True),
        (answer(200, b"something else!"), False),
        (answer(403, SIGNED), False),
        (answer(403, REFUSAL), False),
        (answer(503, REFUSAL), False),
        (answer(200, b""), False),
    ],
)
def test_only_the_signed_bytes_are_right_where_something_is_signed(data: bytes, *, is_right: bool) -> None:
    outcome = outcome_of(saying(data), Ask(kind="signed", path="/signed", signed=sha256(SIGNED)))
    assert outcome.answers["signed"] > 0
    assert outcome.wrong == (0 if is_right else outcome.answers["signed"])


@pytest.mark.parametrize(
    ("data", "is_right"),
    [
        (answer(403, REFUSAL), True),
        (answer(200, b"the unsigned bytes"), False),
        (answer(200, REFUSAL), False),
        (answer(403, b"the unsigned bytes"), False),
        (answer(403, REFUSAL + b"the unsigned bytes"), False),
        (answer(403, REFUSAL[:-1] + b', "more": "bytes"}'), False),
        (answer(404, REFUSAL), False),
        (answer(503, REFUSAL), False),
    ],
)
def test_only_a_refusal_and_nothing_else_is_right_where_nothing_is_signed(data: bytes, *, is_right: bool) -> None:
    outcome = outcome_of(saying(data), Ask(kind="unsigned", path="/unsigned", signed=None))
    assert outcome.answers["unsigned"] > 0
    assert outcome.wrong == (0 if is_right else outcome.answers["unsigned"])
    assert is_right == (outcome.said == [])


def test_answer_that_breaks_off_is_wrong_and_the_client_goes_on() -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(broken_off())
        exchange.end()

    outcome = outcome_of(script, Ask(kind="signed", path="/signed", signed=sha256(SIGNED)))
    assert outcome.wrong == outcome.answers["signed"] > 1
    assert "no whole answer" in outcome.said[0]
