"""At which requests, calls or moments something is made to fail: at each, or at one for each fault."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from tests.simulators.faulty import FAULTS, HARMLESS

EVERYWHERE = os.environ.get("TRUST_FAULTS") == "all"
Place = TypeVar("Place")
Record = Callable[[str, object], None]


def some(places: Sequence[Place], number: int) -> Sequence[Place]:
    """Return all of ``places``; in the ordinary tests one, which is another for the next ``number``."""
    return places if EVERYWHERE else [places[number * 3 % len(places)]]


def few(places: Sequence[Place], count: int = 4) -> Sequence[Place]:
    """Return all of ``places``; in the ordinary tests ``count`` of them, from all over."""
    if EVERYWHERE or len(places) <= count:
        return places
    return [places[(2 * number + 1) * len(places) // (2 * count)] for number in range(count)]


def number_of(fault: str) -> int:
    """Return the number of a fault of the wire."""
    return list(FAULTS).index(fault)


def requests(count: int, fault: str) -> Sequence[tuple[int, str]]:
    """Return at which of ``count`` requests a fault is tried, and whether ``once`` or from there ``on``."""
    lasts = ("once",) if fault in HARMLESS else ("once", "on")  # slow for good is slow, and nothing else
    return some([(at, each) for at in range(count) for each in lasts], number_of(fault))


def record(record_property: Record, points: int, broken: Sequence[object]) -> None:
    """Record at how many points something failed, and require that none did harm."""
    record_property("points", points)
    record_property("broken", len(broken))
    assert points > 0
    assert not broken, broken


each_fault = pytest.mark.parametrize("fault", FAULTS)
even_faults = pytest.mark.parametrize("fault", list(FAULTS)[:: 1 if EVERYWHERE else 2])
odd_faults = pytest.mark.parametrize("fault", list(FAULTS)[0 if EVERYWHERE else 1 :: 1 if EVERYWHERE else 2])
