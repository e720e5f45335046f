"""Owns what a worker has counted and decided since it last told the keeper. No IO."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from registry_shim.gate import Ruling
from registry_shim.status import LATENCY_BUCKETS, Decided, Outcome, Traffic, as_json
from trust.verdict import UNDECIDED, Allowed, Denied

KEPT_DECISIONS_MAX = 100_000  # between two words to the keeper


class Tally:
    """The counts of worker ``number``; ``clock`` gives UTC seconds."""

    def __init__(self, number: int, *, clock: Callable[[], float]) -> None:
        self._number = number
        self._clock = clock
        self._clear()

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to tell."""
        return not self._decisions and not self._answers and not self._cache

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
        """Keep a decision for the log."""
        if len(self._decisions) < KEPT_DECISIONS_MAX:
            self._decisions.append((self._clock(), client, method, kind, ruling))

    def take(self) -> dict[str, Any]:
        """Return everything since the last time as a message to the keeper, and begin anew.

        Most decisions are the same ruling again: each ruling is spelled once, and named by its place.
        """
        places: dict[int, int] = {}
        rulings: list[dict[str, str]] = []
        rows: list[tuple[float, str, str, str, int]] = []
        for at, client, method, kind, ruling in self._decisions:
            place = places.get(id(ruling))
            if place is None:
                place = places[id(ruling)] = len(rulings)
                rulings.append(_spelled(ruling))
            rows.append((at, client, method, kind, place))
        message = {"rulings": rulings, "decided": rows, "traffic": as_json(self._traffic())}
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
        self._decisions: list[tuple[float, str, str, str, Ruling]] = []
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
