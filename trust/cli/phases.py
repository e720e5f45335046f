"""Owns how long the phases of a command took, for its document."""

from __future__ import annotations

import time

from trust.value import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """How long each phase took, in milliseconds: told when it has ended."""

    milliseconds: dict[str, float] = field(default_factory=dict)
    started: list[float] = field(default_factory=lambda: [time.monotonic()])

    def ended(self, name: str) -> None:
        """Note that the phase ``name`` has ended, and the next begun."""
        now = time.monotonic()
        self.milliseconds[name] = round((now - self.started[-1]) * 1000, 1)
        self.started.append(now)
