"""Owns what came of following a tag: the latest outcome in ``followed.json``, and every change in ``updates.log``.

The log is the container's decision log: one JSON line for each decision that differs from the one before. It goes
over to the next version, and so outlives the versions it speaks of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from trust.errors import InputError, StateError
from trust.instant import format_utc, parse_utc
from trust.runtime.bounded_log import bound, pieces
from trust.runtime.disk import read_document, write_document
from trust.value import dataclass, replace

UPDATES_LOG = "updates.log"
_FOLLOWED = "followed.json"
_LOG_MAX_BYTES = 1 << 20

Outcome = Literal["current", "updated", "refused", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The latest look at the tag, at ``at``: ``digest`` is what it was to become, or is.

    ``refused`` has a ``reason`` (of the verdict's closed list, or ``unhealthy``, ``cannot-start``), ``undecided``
    one of those that say nothing of the image; ``tries`` counts the refusals of this digest in a row.
    ``revoked`` says that the version which runs was revoked: it runs on, since a verdict stops nothing.
    """

    outcome: Outcome
    at: datetime
    digest: str | None = None
    reason: str | None = None
    detail: str | None = None
    tries: int = 0
    revoked: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        """What it says, as JSON."""
        return {
            "outcome": self.outcome,
            "at": format_utc(self.at),
            "digest": self.digest,
            "reason": self.reason,
            "detail": self.detail,
            "tries": self.tries,
            "revoked": self.revoked,
        }


def read_followed(directory: Path) -> Followed | None:
    """Return the latest outcome; None where nobody has looked yet.

    Raises:
        StateError: the record is damaged.
    """
    document = read_document(directory / _FOLLOWED)
    if document is None:
        return None
    try:
        return Followed(**{**document, "at": parse_utc(document["at"])})
    except (LookupError, TypeError, InputError) as err:
        raise StateError(f"record of the updates of the container in {directory} is damaged: {err!r}") from err


def record_followed(directory: Path, followed: Followed, *, running: str) -> None:
    """Have the outcome recorded, and in the log where it is news; nothing happens where the container is gone."""
    before = read_followed(directory)
    try:
        write_document(directory / _FOLLOWED, followed.document)
        if before is None or replace(before, at=followed.at, tries=followed.tries) != followed:
            line = json.dumps({**followed.document, "running": running}).encode() + b"\n"
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            log = os.open(directory / UPDATES_LOG, flags, 0o600)
            try:
                os.write(log, line)
            finally:
                os.close(log)
            bound(directory / UPDATES_LOG, _LOG_MAX_BYTES)
    except FileNotFoundError:
        return


def hand_on_log(old: Path, new: Path) -> None:
    """Have the decisions on the version before in the log of the next.

    Raises:
        OSError: it cannot be written.
    """
    try:
        with (old / UPDATES_LOG).open("rb") as log:
            content = b"".join(pieces(log))
    except FileNotFoundError:
        return
    (new / UPDATES_LOG).write_bytes(content)
    (new / UPDATES_LOG).chmod(0o600)


def decisions(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of the decision log, the oldest first."""
    try:
        with (directory / UPDATES_LOG).open("rb") as log:
            content = b"".join(pieces(log))
    except FileNotFoundError:
        return
    for line in content.splitlines():
        with suppress(ValueError):  # torn by a crash
            yield json.loads(line)
