"""Owns what it means for a container to be healthy: the question asked, and what the answers add up to. Pure."""

from __future__ import annotations

from typing import Any, Literal

from trust.errors import InputError
from trust.value import dataclass

Health = Literal["starting", "healthy", "unhealthy"]

INTERVAL_SECONDS = 30.0
TIMEOUT_SECONDS = 30.0
RETRIES = 3
_NANOSECONDS = 1_000_000_000
_RETRIES_MAX = 1000
_SPAN_MIN_SECONDS = 1.0  # each question starts a process beside the container
_SPAN_MAX_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A command that succeeds in a healthy container, asked in each interval; ``retries`` failures are too many.

    Failures within ``start_seconds`` of the start do not count.
    """

    command: tuple[str, ...]
    interval_seconds: float = INTERVAL_SECONDS
    timeout_seconds: float = TIMEOUT_SECONDS
    retries: int = RETRIES
    start_seconds: float = 0.0

    def judged(self, *, succeeded: bool, failures: int, before: Health, age_seconds: float) -> tuple[Health, int]:
        """Return the container's health after one more answer, and its failures in a row."""
        if succeeded:
            return "healthy", 0
        if before == "starting" and age_seconds < self.start_seconds:
            return "starting", 0
        failures += 1
        return ("unhealthy" if failures >= self.retries else before), failures


def shell_check(command: str) -> tuple[str, ...]:
    """Return the words that ask a shell of the container."""
    return ("/bin/sh", "-c", command)


def parse_retries(text: str) -> int:
    """Return how many failures in a row are one too many.

    Raises:
        InputError: it is no number above zero.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_RETRIES_MAX)) else 0
    if not 1 <= number <= _RETRIES_MAX:
        raise InputError(f"retries are malformed: expected 1 to {_RETRIES_MAX}, got {text[:40]!r}")
    return number


def image_check(document: dict[str, Any]) -> HealthCheck | None:
    """Return the check that an image's configuration has in ``Healthcheck``; None where it has none.

    An image asks once a second at the most, and waits for a day at the most.

    Raises:
        InputError: it is malformed.
    """
    test = document.get("Test") or []
    if not isinstance(test, list) or not all(isinstance(word, str) and "\x00" not in word for word in test):
        raise InputError("image configuration is malformed: Healthcheck.Test is no list of texts")
    match test:
        case [] | ["NONE"]:
            return None
        case ["CMD", _, *_]:
            command = tuple(test[1:])
        case ["CMD-SHELL", shell]:
            command = shell_check(shell)
        case _:
            raise InputError("image configuration is malformed: Healthcheck.Test is neither CMD nor CMD-SHELL")
    return HealthCheck(
        command=command,
        interval_seconds=_seconds(document, "Interval", INTERVAL_SECONDS),
        timeout_seconds=_seconds(document, "Timeout", TIMEOUT_SECONDS),
        retries=min(_number(document, "Retries"), _RETRIES_MAX) or RETRIES,
        start_seconds=_number(document, "StartPeriod") / _NANOSECONDS,
    )


def _seconds(document: dict[str, Any], key: str, default: float) -> float:
    seconds = _number(document, key) / _NANOSECONDS or default
    return min(max(seconds, _SPAN_MIN_SECONDS), _SPAN_MAX_SECONDS)


def _number(document: dict[str, Any], key: str) -> int:
    value = document.get(key) or 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"image configuration is malformed: Healthcheck.{key} is no number")
    return value
