"""Values as workers and the keeper give them, for the tests of what the shim says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from registry_shim.status import LATENCY_BUCKETS, CollectionStatus, Decided, RoleStatus, Traffic

NOW = 1_790_000_000.0
HOUR = 3_600.0
DAY = 86_400.0


def decided(**changes: Any) -> Decided:
    """A decision: a denied tag, unless ``changes`` says otherwise."""
    plain = Decided(
        at=NOW,
        client="192.0.2.7",
        method="GET",
        image="registry.example.com/acme/web:1.4",
        kind="manifest",
        outcome="denied",
        reason="unsigned",
        collection="registry.example.com/acme/",
    )
    return replace(plain, **changes)


def traffic(**changes: Any) -> Traffic:
    """What a worker counted: one answer within 5 ms."""
    buckets = [0] * (len(LATENCY_BUCKETS) + 1)
    buckets[3] = 1
    plain = Traffic(
        worker=1,
        answers={"200": 1},
        cache={"hit": 1},
        sent_bytes=100,
        seconds=0.004,
        buckets=buckets,
    )
    return replace(plain, **changes)


def role(name: str, *, left: float = 7 * DAY, period: float = 10 * DAY, **changes: Any) -> RoleStatus:
    """A verified role that is valid for ``left`` more seconds."""
    plain = RoleStatus(
        name=name,
        version=3,
        expires=NOW + left,
        signers=["5c9f" + "0" * 60],
        threshold=1,
        period_seconds=period,
    )
    return replace(plain, **changes)


def collection(**changes: Any) -> CollectionStatus:
    """A collection that is fresh and enforced."""
    plain = CollectionStatus(
        name="registry.example.com/acme/",
        pin="sha256:" + "ab" * 32,
        freshness="fresh",
        mode="enforce",
        max_age_seconds=60.0,
        checked_at=NOW - 12,
        valid_until=NOW + HOUR * 20,
        targets=412,
        roles=[
            role("root", left=300 * DAY, period=365 * DAY),
            role("timestamp", left=20 * HOUR, period=DAY),
            role("snapshot"),
            role("targets", threshold=2, signers=["5c9f" + "0" * 60, "77aa" + "1" * 60]),
        ],
    )
    return replace(plain, **changes)
