"""Owns what an examination says: one finding, its level, and the safe next step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from trust.value import dataclass

Level = Literal["ok", "warning", "error", "unknown"]

EXIT_ERROR, EXIT_UNKNOWN = 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line; ``unknown`` says that it could not be found out, which is not ``ok``."""

    level: Level
    what: str
    hint: str | None = None

    @property
    def document(self) -> dict[str, str | None]:
        """The finding as a JSON object."""
        return {"level": self.level, "what": self.what, "hint": self.hint}


def fine(what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(level="ok", what=what)


def warning(what: str, hint: str | None = None) -> Finding:
    """Return what somebody should know, and that is no defect of this machine."""
    return Finding(level="warning", what=what, hint=hint)


def error(what: str, hint: str | None = None) -> Finding:
    """Return what lets unverified content in, or keeps verified content out."""
    return Finding(level="error", what=what, hint=hint)


def unknown(what: str, hint: str | None = None) -> Finding:
    """Return what could not be found out."""
    return Finding(level="unknown", what=what, hint=hint)


def exit_code_of(findings: Iterable[Finding]) -> int:
    """Return 1 if an error was found, else 3 if something could not be found out, else 0."""
    levels = {finding.level for finding in findings}
    if "error" in levels:
        return EXIT_ERROR
    return EXIT_UNKNOWN if "unknown" in levels else 0
