"""Owns the trial of a new version beside the old: what it must show before it takes over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trust.runtime.bounded_log import pieces
from trust.runtime.course import Course, read_course
from trust.runtime.health import HealthCheck
from trust.value import dataclass

_LOOK_SECONDS = 0.1
_LAST_WORDS_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """``clock`` is monotonic, ``pause`` sleeps; both in seconds."""

    clock: Callable[[], float]
    pause: Callable[[float], None]

    def failure(
        self, directory: Path, check: HealthCheck | None, stay_seconds: float, is_on: Callable[[], None]
    ) -> str | None:
        """Return why the container in ``directory`` is not fit; None once it is healthy.

        Without a ``check`` it must stay up for ``stay_seconds``. ``is_on`` is called now and then, and may raise.
        """
        began = self.clock()
        ends = began + (stay_seconds if check is None else _patience(check))
        while True:
            is_on()
            course = read_course(directory) or Course()
            if course.is_over or course.is_waiting or course.restarts:
                status = "unknown" if course.exit_status is None else course.exit_status
                return f"it ended with exit status {status}{_last_words(directory)}"
            if course.health == "unhealthy":
                return f"its health check failed{_last_words(directory)}"
            if check is not None and course.health == "healthy":
                return None
            if self.clock() >= ends:
                return None if check is None else f"it was not healthy after {_patience(check):.0f} s"
            self.pause(_LOOK_SECONDS)


def _patience(check: HealthCheck) -> float:
    """Return how long the answers may take that make a container unhealthy."""
    return check.start_seconds + (check.interval_seconds + check.timeout_seconds) * (check.retries + 1)


def _last_words(directory: Path) -> str:
    """Return the last line that the container wrote, for a message; it is nobody we trust."""
    for name in ("stderr.log", "stdout.log"):
        try:
            with (directory / name).open("rb") as log:
                lines = b"".join(pieces(log)).split(b"\n")
        except FileNotFoundError:
            continue
        untrusted_line = next((line for line in reversed(lines) if line.strip()), None)
        if untrusted_line is not None:
            return f": {untrusted_line[:_LAST_WORDS_BYTES].decode('utf-8', 'replace')!r}"
    return ""
