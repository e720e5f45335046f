"""Owns what a worker has counted and decided since it last told the keeper. No IO.

A keeper that does not listen for long costs decisions, since memory ends: they are counted, and the log tells of
them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from registry_shim.gate import Ruling
from registry_shim.status import LATENCY_BUCKETS, Decided, Outcome, Traffic, as_json
from trust.verdict import UNDECIDED, Allowed, Denied

KEPT_DECISIONS_MAX = 100_000  # while the keeper does not listen; more are counted, and lost
TOLD_MAX = 10_000  # in one message, which has to stay far below what the keeper reads as one line

_Kept = tuple[float, str, str, str, Ruling]


class Tally:
    """The counts of worker ``number``; ``clock`` gives UTC seconds."""

    def __init__(self, number: int, *, clock: Callable[[], float]) -> None:
        self._number = number
        self._clock = clock
        self._decisions: list[_Kept] = []
        self._lost = 0
        self._clear()

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to tell."""
        return not self._decisions and not self._lost and not self._answers and not self._cache

    @property
    def count(self) -> int:
        """How many decisions nobody was told of."""
        return len(self._decisions) + self._lost

    def answered(self, status: int, seconds: float, size_bytes: int) -> None:
        """Count an answer, and the bytes of content that left with it."""
        self._answers[status] = self._answers.get(status, 0) + 1
        self._seconds += seconds
        self._sent_bytes += size_bytes
        self._buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1

    def cache_event(self, event: str) -> None:
        """Count what the cache did."""
        self._cache[event] = self._cache.get(event, 0) + 1

    def decided(self, client: str, method: str, kind: str, ruling: Ruling) -> None:
        """Keep a decision for the log, or count it as lost."""
        if len(self._decisions) < KEPT_DECISIONS_MAX:
            self._decisions.append((self._clock(), client, method, kind, ruling))
        else:
            self._lost += 1

    def take(self) -> dict[str, Any]:
        """Return everything since the last time as a message to the keeper, and begin anew.

        Of more than ``TOLD_MAX`` decisions the rest is left for the next message, with how many were lost.

        Most decisions are the same ruling again: each ruling is spelled once, and named by its place.
        """
        places: dict[int, int] = {}
        rulings: list[dict[str, str]] = []
        rows: list[tuple[float, str, str, str, int]] = []
        told, left = self._decisions[:TOLD_MAX], self._decisions[TOLD_MAX:]
        for at, client, method, kind, ruling in told:
            place = places.get(id(ruling))
            if place is None:
                place = places[id(ruling)] = len(rulings)
                rulings.append(_spelled(ruling))
            rows.append((at, client, method, kind, place))
        lost = 0 if left else self._lost
        message = {"rulings": rulings, "decided": rows, "lost": lost, "traffic": as_json(self._traffic())}
        self._decisions, self._lost = left, self._lost - lost
        self._clear()
        return message

    def _traffic(self) -> Traffic:
        return Traffic(
            worker=self._number,
            answers={str(status): count for status, count in self._answers.items()},
            cache=self._cache,
            sent_bytes=self._sent_bytes,
            seconds=self._seconds,
            buckets=self._buckets,
        )

    def _clear(self) -> None:
        self._answers: dict[int, int] = {}
        self._cache: dict[str, int] = {}
        self._sent_bytes = 0
        self._seconds = 0.0
        self._buckets = [0] * (len(LATENCY_BUCKETS) + 1)


def decisions_of(message: Mapping[str, Any]) -> Iterator[Decided]:
    """Yield the decisions of a message that ``Tally.take`` made."""
    rulings = message.get("rulings", ())
    for at, client, method, kind, place in message.get("decided", ()):
        yield Decided(at=at, client=client, method=method, kind=kind, **rulings[place])


def _spelled(ruling: Ruling) -> dict[str, str]:
    verdict = ruling.verdict
    return {
        "image": str(verdict.reference),
        "outcome": _outcome(ruling),
        "reason": verdict.reason.value if isinstance(verdict, Denied) else "",
        "detail": verdict.detail if isinstance(verdict, Denied) else "",
        "digest": str(verdict.digest) if isinstance(verdict, Allowed) else "",
        "collection": ruling.collection,
    }


def _outcome(ruling: Ruling) -> Outcome:
    match ruling.verdict:
        case Allowed():
            return "allowed"
        case _ if ruling.is_audited:
            return "audited"
        case Denied(reason=reason):
            return "undecided" if reason in UNDECIDED else "denied"
