"""Owns the counters of the shim, and how Prometheus is told of them (text format 0.0.4).

Everything counts from the start of the keeper; workers come and go. A label has a value of a closed list or of the
policy, never one that a client chose: otherwise whoever can ask for images can fill Prometheus.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from registry_shim.status import LATENCY_BUCKETS, CollectionStatus, Decided, Freshness, Traffic
from trust.verdict import Reason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_REASONS = frozenset(reason.value for reason in Reason) | {""}
_OTHER = "other"
_NEVER_READ = 0.0


class Metrics(Collector):
    """What was counted; ``clock`` gives UTC seconds."""

    def __init__(self, clock: Callable[[], float], *, version: str) -> None:
        self._clock = clock
        self._version = version
        self._started = clock()
        self._decisions: Counter[tuple[str, str]] = Counter({("allowed", ""): 0})  # there from the first scrape on
        self._answers: Counter[str] = Counter()
        self._cache: Counter[str] = Counter()
        self._sent_bytes = 0
        self._seconds = 0.0
        self._buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self._collections: Sequence[CollectionStatus] = ()
        self._ready = False
        self._workers = self._workers_wanted = self._workers_restarted = 0
        self._log_lines: int | None = None
        self._log_lost = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def decided(self, decided: Decided) -> None:
        """Count a decision."""
        reason = decided.reason if decided.reason in _REASONS else _OTHER
        self._decisions[decided.outcome, reason] += 1

    def traffic(self, traffic: Traffic) -> None:
        """Add what a worker counted since it last said so."""
        self._answers.update(traffic.answers)
        self._cache.update(traffic.cache)
        self._sent_bytes += traffic.sent_bytes
        self._seconds += traffic.seconds
        self._buckets = [sum(pair) for pair in zip(self._buckets, traffic.buckets, strict=True)]

    def collections(self, collections: Sequence[CollectionStatus]) -> None:
        """Take the state of every collection; one that is no longer named is forgotten."""
        self._collections = tuple(collections)

    def ready(self, *, is_ready: bool) -> None:
        """Take whether the shim serves."""
        self._ready = is_ready

    def workers(self, *, alive: int, wanted: int, restarted: int) -> None:
        """Take how many workers there are, should be, and were started again since the keeper began."""
        self._workers, self._workers_wanted, self._workers_restarted = alive, wanted, restarted

    def log(self, *, lines: int, lost: int) -> None:
        """Take the number of the decision log's last line, and of the decisions that it could not take."""
        self._log_lines, self._log_lost = lines, lost

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric family, as the registry asks for them."""
        yield from self._counted()
        yield from self._of_collections()
        yield _gauge("trust_shim_ready", "1 while the shim serves.", int(self._ready))
        yield _gauge("trust_shim_workers", "Worker processes that live.", self._workers)
        yield _gauge("trust_shim_workers_wanted", "Worker processes that should live.", self._workers_wanted)
        yield _counter(
            "trust_shim_workers_restarted", "Workers that ended and were started again.", self._workers_restarted
        )
        if self._log_lines is not None:  # a 0 before the log is open would look like a log that was cut
            yield _gauge("trust_shim_log_seq", "Number of the last line of the decision log.", self._log_lines)
        yield _counter("trust_shim_log_lost", "Decisions that the log could not take.", self._log_lost)
        yield _gauge("trust_shim_start_time_seconds", "When the keeper started, in UTC seconds.", self._started)
        info = {"version": self._version, "python": platform.python_version()}
        yield InfoMetricFamily("trust_shim_build", "What runs.", value=info)

    def _counted(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily(
            "trust_shim_decisions", "Decisions by outcome and reason.", labels=("outcome", "reason")
        )
        for labels, count in sorted(self._decisions.items()):
            decisions.add_metric(labels, count)
        yield decisions
        for name, said, label, counter in (
            ("trust_shim_requests", "Answers to clients by status code.", "status", self._answers),
            ("trust_shim_cache", "What the cache of blobs did.", "event", self._cache),
        ):
            family = CounterMetricFamily(name, said, labels=(label,))
            for value, count in sorted(counter.items()):
                family.add_metric((value,), count)
            yield family
        cumulative = [sum(self._buckets[: place + 1]) for place in range(len(self._buckets))]
        bounds = [*(f"{bound:g}" for bound in LATENCY_BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "trust_shim_request_seconds",
            "Time to the last byte of an answer.",
            buckets=list(zip(bounds, cumulative, strict=True)),
            sum_value=self._seconds,
        )
        yield _counter("trust_shim_sent_bytes", "Bytes of bodies sent to clients.", self._sent_bytes)

    def _of_collections(self) -> Iterator[Metric]:
        now, label = self._clock(), ("collection",)
        expiry = GaugeMetricFamily(
            "trust_shim_collection_seconds_to_expiry",
            "Until everything of the collection is refused; negative once it is.",
            labels=label,
        )
        checked = GaugeMetricFamily(
            "trust_shim_collection_checked_seconds_ago",
            "Since its store last gave a trusted answer.",
            labels=label,
        )
        state = GaugeMetricFamily(
            "trust_shim_collection_state", "1 for the state it is in.", labels=("collection", "state")
        )
        audit = GaugeMetricFamily(
            "trust_shim_collection_audit", "1 if what is denied is served all the same.", labels=label
        )
        targets = GaugeMetricFamily("trust_shim_collection_targets", "Signed names it has.", labels=label)
        for each in self._collections:
            name = (each.name,)
            if each.valid_until != _NEVER_READ:
                expiry.add_metric(name, each.valid_until - now)
            if each.checked_at != _NEVER_READ:
                checked.add_metric(name, now - each.checked_at)
            for freshness in get_args(Freshness):
                state.add_metric((each.name, freshness), int(each.freshness == freshness))
            audit.add_metric(name, int(each.mode == "audit"))
            targets.add_metric(name, each.targets)
        yield from (expiry, checked, state, audit, targets)


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=value)


def _counter(name: str, said: str, value: float) -> Metric:
    return CounterMetricFamily(name, said, value=value)
