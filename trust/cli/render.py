"""Owns every word on the terminal.

Results go to stdout, everything else to stderr. With ``--json`` there is exactly one document on stdout, for
errors too, with ``"schema": 1``. Colour only on a terminal, never with ``NO_COLOR``. No secret passes here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from trust.errors import StateError, UnavailableError
from trust.finding import Finding
from trust.instant import format_span
from trust.plain import plain, plain_json
from trust.value import dataclass
from trust.verdict import UNDECIDED, Allowed, Denied, Verdict

SCHEMA = 1
NOBODY_READS = "nobody reads the output"
_COLOURS = {
    "allowed": 32, "denied": 31, "undecided": 33, "ok": 32, "warning": 33, "error": 31, "unknown": 33,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How this run talks."""

    as_json: bool
    quiet: bool

    def result(self, command: str, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print a result: the document, or its lines for a reader."""
        if self.as_json:
            _print(_json({"schema": SCHEMA, "command": command, **document}))
            return
        for line in lines:
            _print(_coloured(plain(line)))

    def note(self, text: str) -> None:
        """Say something beside the result."""
        if not self.quiet:
            _print_error(f"note: {plain(text)}")

    def show(self, lines: Iterable[str]) -> None:
        """Show what is to be agreed to; it is no result, and ``--quiet`` does not hide it."""
        for line in lines:
            _print_error(plain(line))

    def warn(self, text: str) -> None:
        """Say something that somebody should act upon; ``--quiet`` does not hide it."""
        _print_error(f"warning: {plain(text)}")

    def error(self, message: str, hint: str | None, *, code: int, reason: str | None = None) -> None:
        """Say what failed, in one line, then the hint."""
        if self.as_json:
            error = {"message": message, "hint": hint, "code": code, "reason": reason}
            with suppress(UnavailableError):  # the exit code still tells
                _print(_json({"schema": SCHEMA, "error": error}))
        self.problem(message, hint)

    def problem(self, message: str, hint: str | None) -> None:
        """Say what is wrong to a reader, in one line, then the hint."""
        _print_error(f"error: {plain(message)}")
        if hint:
            self.hint(hint)

    def hint(self, text: str) -> None:
        """Say the safe next step."""
        _print_error(f"hint: {plain(text)}")


def verdict_line(verdict: Verdict, now: datetime) -> str:
    """Return what a reader is told of a verdict on stdout: what is allowed, and for how long."""
    match verdict:
        case Allowed():
            versions = " ".join(f"{name}={number}" for name, number in verdict.versions.items())
            left = format_span(verdict.valid_until - now)
            return f"allowed {verdict.reference} {verdict.digest} ({versions}), valid for {left}"
        case Denied():
            word = "undecided" if verdict.reason in UNDECIDED else "denied"
            return f"{word} {verdict.reference} {verdict.reason.value}: {verdict.detail}"


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Return what a reader is told of an examination: one line for each finding, its hint below it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level} {finding.what}")
        if finding.hint:
            lines.append(f"  hint: {finding.hint}")
    return lines


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> list[str]:
    """Return ``rows`` under ``header`` in aligned columns."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]


def _coloured(line: str) -> str:
    word, space, rest = line.partition(" ")
    colour = _COLOURS.get(word)
    if colour is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return line
    return f"\x1b[{colour}m{word}\x1b[0m{space}{rest}"


def _json(document: Mapping[str, Any]) -> str:
    """Return ``document`` as it is read, or all in ASCII where stdout has no such letters, or nobody has them.

    Either way nothing in it drives a terminal: see ``trust.plain``.
    """
    text = plain_json(json.dumps(document, ensure_ascii=False))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a locale without them; a name of a file that is no UTF-8
        return json.dumps(document)
    return text


def _print(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(f"{text.encode(encoding, 'backslashreplace').decode(encoding)}\n")
        sys.stdout.flush()
    except BrokenPipeError as err:  # click would make it a 1, which is "denied"
        raise UnavailableError(NOBODY_READS) from err
    except OSError as err:
        raise StateError(f"the output cannot be written: {err.strerror or err}") from err


def _print_error(text: str) -> None:
    with suppress(OSError):  # a word that nobody can hear changes nothing of what was decided
        sys.stderr.write(f"{text}\n")
