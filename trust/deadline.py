"""Owns the total time a journey may take; every read of the network asks it how much is left."""

from __future__ import annotations

from collections.abc import Callable

from trust.errors import LimitError
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment on a monotonic clock after which nothing more is waited for.

    python-tuf and HTTP libraries bound each read, not their sum: a server that drips one byte in half a
    second would hold a gate for ever.
    """

    ends_at: float
    clock: Callable[[], float]

    def remaining_seconds(self) -> float:
        """Return the seconds left, more than zero.

        Raises:
            LimitError: the time is over.
        """
        left = self.ends_at - self.clock()
        if left <= 0:
            raise LimitError("deadline passed: the server answered too slowly", hint="try again later")
        return left


def deadline_in(seconds: float, clock: Callable[[], float]) -> Deadline:
    """Return the deadline ``seconds`` from now by ``clock`` (monotonic, seconds)."""
    return Deadline(ends_at=clock() + seconds, clock=clock)
