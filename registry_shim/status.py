"""Owns what the shim says of itself: the state of each collection, and each decision. Values only.

Workers make ``Decided`` and ``Traffic``; the keeper makes ``CollectionStatus``; the log, the metrics and the page
show them. All three travel between processes as JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Outcome = Literal["allowed", "denied", "undecided", "audited"]
Freshness = Literal["fresh", "stale", "refused", "unread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One decision: ``at`` is UTC seconds, ``image`` what was asked for, ``digest`` what was served or nothing.

    ``outcome`` is ``audited`` where a denied image was served because the policy only watches; ``reason`` is a
    name of ``trust.verdict.Reason``, empty where allowed. ``client`` is the peer's address.
    """

    at: float
    client: str
    method: str
    image: str
    kind: Literal["manifest", "blob", "tags", "referrers"]
    outcome: Outcome
    reason: str = ""
    detail: str = ""
    digest: str = ""
    collection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a worker counted since it last said so; seconds are sums, buckets are counts of answers by duration."""

    worker: int
    answers: dict[str, int]  # by status code
    cache: dict[str, int]  # "hit", "miss", "stored", "evicted"
    sent_bytes: int
    seconds: float
    buckets: list[int]  # one for each of LATENCY_BUCKETS, then one above them all; not cumulative


LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleStatus:
    """A verified role; ``expires`` is UTC seconds, ``signers`` are key ids.

    ``period_seconds`` is what it was signed for, as it or the root says; 0 where that is not known.
    """

    name: str
    version: int
    expires: float
    signers: list[str]
    threshold: int
    period_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """What the shim knows of one collection.

    ``freshness``: ``fresh`` (asked within its ``max_age``), ``stale`` (the store does not answer; served until
    ``valid_until``), ``refused`` (the store shows what is not trusted: everything is denied for ``reason``),
    ``unread`` (nothing was verified yet). Moments are UTC seconds, 0 where there is none.
    """

    name: str
    pin: str
    freshness: Freshness
    mode: Literal["enforce", "audit"]
    max_age_seconds: float
    checked_at: float = 0.0
    valid_until: float = 0.0
    reason: str = ""
    detail: str = ""
    targets: int = 0
    roles: list[RoleStatus]


def as_json(value: Decided | Traffic | CollectionStatus) -> dict[str, Any]:
    """Return ``value`` as a JSON object."""
    return asdict(value)


def decided_from(document: dict[str, Any]) -> Decided:
    """Return the decision that ``as_json`` spelled."""
    return Decided(**{field.name: document[field.name] for field in fields(Decided)})


def traffic_from(document: dict[str, Any]) -> Traffic:
    """Return the traffic that ``as_json`` spelled."""
    return Traffic(**{field.name: document[field.name] for field in fields(Traffic)})
