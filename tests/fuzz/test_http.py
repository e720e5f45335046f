"""Whatever bytes a client sends, the shim answers in HTTP or closes, and no byte of an unsigned image ever leaves.

``TRUST_FUZZ_HTTP`` says how many inputs; ``scripts/prove inputs`` tries 100,000.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuzz.requests import request_bytes
from tests.simulators.shim import Shim, until
from tests.simulators.yard import Plot, Yard, yard

INPUTS = int(os.environ.get("TRUST_FUZZ_HTTP", "600"))
SEED = int(os.environ.get("TRUST_FUZZ_SEED", "1"))
AT_ONCE = 48
WARMING = 300
SILENCE_SECONDS = 1.0  # then an input that waits for more of itself is given up
DOCUMENTED_FAULTS = {501, 503, 505}
SHOWN = 5
_HEAD = re.compile(
    rb"HTTP/1\.[01] ([1-5][0-9]{2}) [^\r\n]*\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n)*)\r\n"
)
_LENGTH = re.compile(rb"(?i)^content-length: *([0-9]+)\r$", re.MULTILINE)

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Give a yard for these requests alone: what it holds open is counted."""
    with yard(tmp_path_factory.mktemp("http"), plots=1, workers=2) as own:
        yield own


@pytest.fixture(scope="module")
def attacked(quiet: Yard) -> Plot:
    plot = quiet.plot()
    for tag in ("evil", "latest"):
        plot.push(tag, plot.stranger)
    assert plot.unprotected("evil").body == plot.stranger.manifest, "without the shim, the attack works"
    assert plot.through("1").body == plot.picture.manifest, "with it, what is signed is served"
    for blob in (plot.picture.layer, plot.picture.digest):
        plot.through(blob, "blobs")
    return plot


def test_no_request_gets_more_than_an_answer_of_the_shim(attacked: Plot, record_property: Record) -> None:
    shim = attacked.yard.shim
    workers, warming = shim.workers, min(WARMING, INPUTS // 2)
    wrong: list[str] = []
    statuses: Counter[int] = Counter()

    async def attempt(number: int) -> None:
        sent = _input(attacked, number)
        got = await _exchange(shim.port, sent, f"127.0.0.{2 + number % 8}")
        try:
            found, what = _answers(got), _leaked(attacked, got)
        except ValueError as err:
            found, what = [], str(err)
        statuses.update(found)
        what = what or next((f"status {one}" for one in found if one >= 500 and one not in DOCUMENTED_FAULTS), "")
        if what:
            wrong.append(f"{what}: input {number}: {sent[:600]!r}: answer {got[:600]!r}")

    asyncio.run(_every(attempt, range(warming)))  # connections to the upstream are made, and kept
    before = _descriptors(shim)
    asyncio.run(_every(attempt, range(warming, INPUTS)))
    record_property("http", INPUTS)
    record_property("answers", sum(statuses.values()))
    record_property("statuses", dict(sorted(statuses.items())))
    record_property("wrong", len(wrong))
    assert not wrong, "\n".join(wrong[:SHOWN])
    assert {200, 400, 403, 404, 405} <= set(statuses), "inputs reach every kind of answer"
    assert shim.workers == workers, "no worker ended"
    assert "Traceback" not in shim.said
    assert "a request failed" not in shim.said
    # Idle connections to the upstream are kept, as many as were ever needed at once; one lost in a thousand shows.
    before["socket"] += AT_ONCE
    until(lambda: not (_descriptors(shim) - before), f"no more is open than before: {_descriptors(shim) - before}")
    assert attacked.through("1").body == attacked.picture.manifest


def _input(plot: Plot, number: int) -> bytes:
    chance = random.Random(f"{SEED}.{number}")  # noqa: S311 - no secret
    signed, stranger = plot.picture, plot.stranger
    digests = (signed.digest, signed.layer, stranger.digest, stranger.layer)
    return request_bytes(chance, path=plot.path, digests=digests, tags=("1", "evil", "latest", "none", "_trust"))


async def _every(attempt: Callable[[int], Awaitable[None]], inputs: range) -> None:
    numbers = iter(inputs)

    async def work() -> None:
        for number in numbers:
            await attempt(number)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def _exchange(port: int, sent: bytes, source: str) -> bytes:
    """Return what came until the shim closed, or said nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    got = b""
    try:
        writer.write(sent)
        while data := await asyncio.wait_for(reader.read(1 << 20), SILENCE_SECONDS):
            got += data
    except (ConnectionError, TimeoutError, asyncio.TimeoutError):
        pass
    finally:
        writer.transport.abort()
    return got


def _answers(got: bytes) -> list[int]:
    """Return the status of each answer.

    Raises:
        ValueError: something is no whole answer.
    """
    found, at = [], 0
    while at < len(got):
        head = _HEAD.match(got, at)
        if head is None:
            raise ValueError(f"no answer at {at}")
        at, status = head.end(), int(head[1])
        found.append(status)
        length = _LENGTH.search(head[2])
        if status < 200 or status == 304 or got[at : at + 7] == b"HTTP/1.":
            continue
        if length is None:
            raise ValueError("an answer without a length")
        size = int(length[1])
        if at + size > len(got) and at != len(got):
            raise ValueError("an answer cut short")
        at = min(at + size, len(got))
    return found


def _leaked(plot: Plot, got: bytes) -> str:
    unsigned = (plot.stranger.manifest, *plot.stranger.blobs)
    return "bytes of an unsigned image" if any(part in got for part in unsigned if part) else ""


def _descriptors(shim: Shim) -> Counter[str]:
    """Return what is open, by its kind or its path."""
    found: Counter[str] = Counter()
    for process in (shim.process_id, *shim.workers):
        for link in Path(f"/proc/{process}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed just now
                found[str(link.readlink()).partition(":[")[0]] += 1
    return found


def test_what_judges_answers_is_seen_to_judge(attacked: Plot) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert _answers(whole * 2 + b"HTTP/1.1 304 Not Modified\r\n\r\n") == [200, 200, 304]
    for broken in (
        whole[:-1],
        whole + b"x",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"hello",
        whole.replace(b"\r\n\r", b"\n\r"),
    ):
        with pytest.raises(ValueError, match="answer"):
            _answers(broken)
    assert _leaked(attacked, b"x" + attacked.stranger.manifest)
