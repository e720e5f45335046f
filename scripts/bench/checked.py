"""Owns clients that pull all at once and check every answer against what they know: an oracle beside the server.

Each has a thread and a connection, asks one thing after another, chosen by a seeded generator, and reads each
answer whole:

    signed     200, and the content hashes to what was signed
    refused    403, and the whole body is one refusal with its reason: none of the content's bytes

An answer that is anything else, or breaks off, is wrong; its client connects anew and goes on.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from trust.digest import Digest, sha256

_TICK_SECONDS = 0.25
_PATIENCE_SECONDS = 60.0
_OK, _FORBIDDEN = 200, 403
_SHOWN = 5  # wrong answers that are told in full
_FAULT_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A path, and what the answer's content must hash to; None where it must be refused."""

    kind: str
    path: str
    signed: Digest | None


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How many answers of each kind came, and what was wrong with some."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    said: list[str] = field(default_factory=list)

    def note(self, ask: Ask, fault: str | None) -> None:
        """Count an answer to ``ask``."""
        self.answers[ask.kind] += 1
        if fault is not None:
            self.wrong += 1
            if len(self.said) < _SHOWN:
                self.said.append(f"{ask.kind}: {ask.path}: {fault[:_FAULT_LENGTH]}")


def pulled(
    port: int, asks: Sequence[Ask], *, clients: int, seconds: float, each_moment: Callable[[float], None]
) -> Outcome:
    """Return what came of ``clients`` at once within ``seconds``; ``each_moment`` is told how many passed."""
    outcomes = [Outcome() for _ in range(clients)]
    began = time.monotonic()
    threads = [
        threading.Thread(target=_pull, args=(port, asks, random.Random(seed), began + seconds, outcome))  # noqa: S311
        for seed, outcome in enumerate(outcomes)
    ]
    for thread in threads:
        thread.start()
    while (passed := time.monotonic() - began) < seconds:
        each_moment(passed)
        time.sleep(_TICK_SECONDS)
    for thread in threads:
        thread.join()
    return Outcome(
        answers=sum((one.answers for one in outcomes), Counter()),
        wrong=sum(one.wrong for one in outcomes),
        said=[said for one in outcomes for said in one.said][:_SHOWN],
    )


def _pull(port: int, asks: Sequence[Ask], choice: random.Random, until: float, outcome: Outcome) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    while time.monotonic() < until:
        ask = choice.choice(asks)
        try:
            connection.request("GET", ask.path)
            answer = connection.getresponse()
            outcome.note(ask, _fault(ask, answer.status, answer.read()))
        except (OSError, http.client.HTTPException) as err:
            outcome.note(ask, f"no whole answer: {err!r}")
            connection.close()
    connection.close()


def _fault(ask: Ask, status: int, body: bytes) -> str | None:
    """Return what is wrong with an answer, or None."""
    if ask.signed is not None:
        if status != _OK or sha256(body) != ask.signed:
            return f"expected {ask.signed}, got {status} and {sha256(body)}: {body[:100]!r}"
        return None
    if status != _FORBIDDEN:
        return f"expected a refusal, got {status}: {body[:100]!r}"
    try:
        document = json.loads(body)
        (error,) = document["errors"]
        is_refusal = set(document) == {"errors"} and error["code"] == "DENIED" and bool(error["detail"]["reason"])
    except (ValueError, KeyError, TypeError):
        is_refusal = False
    return None if is_refusal else f"expected a refusal and nothing else, got {body[:100]!r}"
