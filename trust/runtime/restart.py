"""Owns when a container that has ended is started again. Pure."""

from __future__ import annotations

from typing import Literal

from trust.errors import InputError
from trust.value import dataclass

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 10.0  # who has run so long begins again with the first pause
_TRIES_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """Start again never, after a failure (``tries`` times at most, None is for ever), or always."""

    when: Literal["no", "on-failure", "always"] = "no"
    tries: int | None = None

    def wants(self, exit_status: int | None, restarts: int) -> bool:
        """Tell whether to start again after this end; an end that nobody saw (None) counts as a failure."""
        match self.when:
            case "no":
                return False
            case "on-failure":
                return exit_status != 0 and (self.tries is None or restarts < self.tries)
            case "always":
                return True

    def __str__(self) -> str:
        return self.when if self.tries is None else f"{self.when}:{self.tries}"


def parse_restart(text: str) -> RestartPolicy:
    """Return the policy that ``no``, ``on-failure``, ``on-failure:N`` or ``always`` spells.

    Raises:
        InputError: any other spelling.
    """
    match text.split(":"):
        case ["no"]:
            return RestartPolicy()
        case ["always"]:
            return RestartPolicy(when="always")
        case ["on-failure"]:
            return RestartPolicy(when="on-failure")
        case ["on-failure", tries] if tries.isascii() and tries.isdigit() and len(tries) <= _TRIES_DIGITS:
            return RestartPolicy(when="on-failure", tries=int(tries))
        case _:
            raise InputError(
                f"restart policy is unknown: expected no, on-failure[:N] or always, got {text[:40]!r}"
            )


def pause_seconds(failures: int) -> float:
    """Return how long to wait before the start after ``failures`` ends that came too soon."""
    return float(min(FIRST_PAUSE_SECONDS * 2 ** min(failures, 16), LONGEST_PAUSE_SECONDS))
