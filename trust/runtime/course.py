"""Owns ``state.json``: how a container fares, written by the supervisor alone, read by everybody.

It is what somebody saw, and may be old: whether a container runs is asked of its engine. ``stopped`` beside it
says that its owner wants it not to run, whatever its restart policy.
"""

from __future__ import annotations

from pathlib import Path

from trust.errors import StateError
from trust.runtime.disk import read_document, write_document
from trust.runtime.health import Health
from trust.value import dataclass

_STATE, _STOPPED = "state.json", "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """``exit_status`` of the last end, None where it runs or nobody saw it.

    ``is_waiting``: it has ended, and is to be started again. ``is_over``: it has ended, and is not. ``why`` is
    what hindered a start.
    """

    exit_status: int | None = None
    restarts: int = 0
    health: Health | None = None
    is_waiting: bool = False
    is_over: bool = False
    why: str | None = None


def read_course(directory: Path) -> Course | None:
    """Return how the container in ``directory`` fares; None where nobody has looked after it.

    Raises:
        StateError: the record is damaged.
    """
    document = read_document(directory / _STATE)
    if document is None:
        return None
    try:
        return Course(**document)
    except TypeError as err:
        raise StateError(f"state of the container in {directory} is damaged: {err}") from err


def write_course(directory: Path, course: Course) -> None:
    """Have ``course`` recorded; nothing happens where the container has been removed."""
    document = {
        "exit_status": course.exit_status,
        "restarts": course.restarts,
        "health": course.health,
        "is_waiting": course.is_waiting,
        "is_over": course.is_over,
        "why": course.why,
    }
    try:
        write_document(directory / _STATE, document)
    except FileNotFoundError:
        return


def want_stopped(directory: Path) -> None:
    """Record that the container's owner wants it not to run."""
    (directory / _STOPPED).touch(mode=0o600)


def is_wanted(directory: Path) -> bool:
    """Tell whether the container is there and its owner has not stopped it."""
    return (directory / "record.json").exists() and not (directory / _STOPPED).exists()
