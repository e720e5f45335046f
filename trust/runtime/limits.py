"""Owns how much of the machine a container may use: memory, processes, processor time. Pure."""

from __future__ import annotations

import re
from typing import Any

from trust.errors import InputError
from trust.value import dataclass

CPU_PERIOD_MICROSECONDS = 100_000
MEMORY_MIN_BYTES = 1 << 20  # below it nothing starts, and the kernel's own words for that help nobody
PIDS_MAX = 1 << 22  # the kernel's own
CPUS_MIN = 0.01  # the kernel takes no less than a millisecond in a period

_SIZE = re.compile(r"([1-9][0-9]{0,14})([bkmgt]?)", re.ASCII)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a container may use at most; None is as much as there is."""

    memory_bytes: int | None = None
    pids: int | None = None
    cpus: float | None = None

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of the kernel that hold these limits."""
        asked = {"memory": self.memory_bytes, "pids": self.pids, "cpu": self.cpus}
        return tuple(name for name, value in asked.items() if value is not None)

    @property
    def cpu_quota_microseconds(self) -> int:
        """What may be used of each period."""
        return round((self.cpus or 0) * CPU_PERIOD_MICROSECONDS)

    def overridden_by(self, others: Limits) -> Limits:
        """Return these limits, but each of ``others`` where there is one."""
        return Limits(
            memory_bytes=self.memory_bytes if others.memory_bytes is None else others.memory_bytes,
            pids=self.pids if others.pids is None else others.pids,
            cpus=self.cpus if others.cpus is None else others.cpus,
        )

    def resources(self) -> dict[str, Any]:
        """Return the limits as the OCI runtime configuration has them."""
        found: dict[str, Any] = {}
        if self.memory_bytes is not None:
            found["memory"] = {"limit": self.memory_bytes}
        if self.pids is not None:
            found["pids"] = {"limit": self.pids}
        if self.cpus is not None:
            found["cpu"] = {"quota": self.cpu_quota_microseconds, "period": CPU_PERIOD_MICROSECONDS}
        return found


def parse_size(text: str, *, what: str, minimum: int = 1) -> int:
    """Return the bytes that ``256m`` spells; units are b, k, m, g and t, in powers of 1024.

    Raises:
        InputError: any other spelling, or less than ``minimum`` bytes.
    """
    match = _SIZE.fullmatch(text.lower())
    if match is None:
        raise InputError(f"{what} is malformed: expected a size as 512k, 256m or 2g, got {text[:40]!r}")
    size = int(match[1]) * _UNITS[match[2]]
    if size < minimum:
        raise InputError(f"{what} is too small: expected at least {minimum} bytes, got {text[:40]!r}")
    return size


def parse_memory(text: str) -> int:
    """Return the bytes of memory that ``text`` spells.

    Raises:
        InputError: it spells none, or less than a MiB.
    """
    return parse_size(text, what="memory", minimum=MEMORY_MIN_BYTES)


def parse_pids(text: str) -> int:
    """Return how many processes and threads there may be.

    Raises:
        InputError: it is no number above zero.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(PIDS_MAX)) else 0
    if not 1 <= number <= PIDS_MAX:
        raise InputError(f"number of processes is malformed: expected 1 to {PIDS_MAX}, got {text[:40]!r}")
    return number


def parse_cpus(text: str) -> float:
    """Return how many processors' time may be used: ``0.5``, ``2``.

    Raises:
        InputError: it is no decimal number, or less than a hundredth.
    """
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text, re.ASCII) or float(text) < CPUS_MIN:
        raise InputError(f"processors are malformed: expected a number from {CPUS_MIN}, as 0.5, got {text[:40]!r}")
    return float(text)


def parse_limits(*, memory: str | None, pids: str | None, cpus: str | None) -> Limits:
    """Return the limits that these words spell; None is none.

    Raises:
        InputError: one of them is malformed.
    """
    return Limits(
        memory_bytes=parse_memory(memory) if memory else None,
        pids=parse_pids(pids) if pids else None,
        cpus=parse_cpus(cpus) if cpus else None,
    )
