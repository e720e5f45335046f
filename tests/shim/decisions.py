"""Decisions to be logged, and a log of some."""

from __future__ import annotations

from pathlib import Path

from registry_shim.decision_log import DecisionLog
from registry_shim.status import Decided, decided_from


def decided(number: int = 0, **changes: object) -> Decided:
    fields: dict[str, object] = {
        "at": 1_790_000_000.0 + number,
        "client": "192.0.2.7",
        "method": "GET",
        "image": f"registry.example.com/acme/web:{number}",
        "kind": "manifest",
        "outcome": "denied",
        "reason": "unsigned",
        "detail": "",
        "digest": "",
        "collection": "registry.example.com/acme/",
    }
    return decided_from(fields | changes)


def written(path: Path, count: int = 5, *, start: int = 0) -> Path:
    log = DecisionLog(path)
    for number in range(start, start + count):
        log.append(decided(number))
        log.flush()
    log.close()
    return path
