"""The commands ``trust-shim log …``: read the decision log."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from registry_shim.log_chain import Head, parse_head
from registry_shim.log_check import LogReport, check_log
from registry_shim.terminal import say_error, say_result, wants_json
from trust.instant import format_utc

_AS_JSON = click.Option(["--json", "as_json"], is_flag=True, help="One JSON document on stdout.")

log = click.Group("log", help="Read the log of decisions.", params=[_AS_JSON])


@log.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--noted", "noted", multiple=True, metavar="SEQ:HASH", help="A head noted earlier; it must be there."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def check(context: click.Context, /, files: tuple[Path, ...], noted: tuple[str, ...], **_: object) -> None:
    """Check that FILEs, oldest first, are one unbroken chain: exit code 0, or 1 and the first line that breaks it.

    The chain has no key. That nobody wrote it anew is shown by a head (the last line printed here) that was noted
    elsewhere before: give it as --noted.
    """
    report = check_log(*files, noted=[parse_head(text) for text in noted])
    say_result(context, "log check", _document(files, report), _told(report))
    if report.broken is not None:
        if not wants_json(context):
            say_error(
                f"the chain is broken: {report.broken}", "keep the files as they are, and ask who wrote to them"
            )
        context.exit(1)


def _document(files: tuple[Path, ...], report: LogReport) -> dict[str, Any]:
    broken = report.broken
    return {
        "files": [str(file) for file in files],
        "verdict": "broken" if broken else "whole",
        "lines": report.lines,
        "first_seq": report.first_seq,
        "first": _time(report.first_at),
        "last": _time(report.last_at),
        "torn": report.torn,
        "tail_bytes": report.tail_bytes,
        "lost": report.lost,
        "head": _head(report.head),
        "broken": broken
        and {"file": str(broken.file), "line": broken.line, "expected": broken.expected, "got": broken.got},
    }


def _told(report: LogReport) -> list[str]:
    span = f", {_time(report.first_at)} to {_time(report.last_at)}" if report.first_at is not None else ""
    word = "whole" if report.broken is None else "whole up to the break"
    lines = [f"{word}: {report.lines} lines{span}"]
    if report.first_seq > 1:
        lines.append(f"begins at line {report.first_seq} of the chain: the files before were not given")
    if report.torn:
        lines.append(f"torn by a crash or a full disk: {report.torn} times, each told of by the line behind it")
    if report.tail_bytes:
        lines.append(f"ends in a torn piece of {report.tail_bytes} bytes")
    if report.lost:
        lines.append(f"lost, since they could not be written: {report.lost} decisions")
    if report.lines:
        lines.append(f"head {report.head}")
    return lines


def _time(at: float | None) -> str | None:
    return None if at is None else format_utc(datetime.fromtimestamp(at, timezone.utc))


def _head(head: Head) -> str | None:
    return str(head) if head.seq else None
