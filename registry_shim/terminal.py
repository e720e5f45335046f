"""Owns every word of ``trust-shim`` on the terminal, and how a run of it ends.

As ``trust.cli.render`` has it, which cannot be imported from here: it lies beside the private keys.
Results go to stdout, everything else to stderr; with ``--json`` there is exactly one document on stdout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from registry_shim.complaint import say
from trust.errors import TrustError, UnavailableError
from trust.plain import plain

SCHEMA = 1


def run(command: click.Command, arguments: Sequence[str], *, program: str = "trust-shim") -> int:
    """Run ``command``; return the exit code, after one line and a hint for whatever failed."""
    try:
        code = command.main(args=list(arguments), prog_name=program, standalone_mode=False)
    except click.exceptions.Exit as err:
        code = err.exit_code
    except SystemExit:  # click's own, where the reader of stdout is gone; its 1 would be "something is wrong"
        code = _failed(UnavailableError("nobody reads the output"), arguments)
    except (Exception, KeyboardInterrupt) as err:  # noqa: BLE001 - one line is all that anybody sees of it
        code = _failed(err, arguments)
    return code if isinstance(code, int) else 0


def wants_json(context: click.Context) -> bool:
    """Return whether ``--json`` (a flag ``as_json``) was said to this command or to a group above it."""
    above: click.Context | None = context
    while above is not None:
        if above.params.get("as_json"):
            return True
        above = above.parent
    return False


def say_result(context: click.Context, command: str, document: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Print a result: the document, or its lines for a reader."""
    if wants_json(context):
        click.echo(json.dumps({"schema": SCHEMA, "command": command, **document}))
        return
    for line in lines:
        click.echo(plain(line))


def say_error(message: str, hint: str | None = None) -> None:
    """Say what failed, in one line, then the safe next step."""
    say(f"error: {plain(message)}")
    if hint:
        say(f"hint: {plain(hint)}")


def say_note(message: str) -> None:
    """Say what is so now, beside the results."""
    say(plain(message))


def _failed(err: BaseException, arguments: Sequence[str]) -> int:
    message, hint, code = str(err), None, 3
    match err:
        case click.exceptions.NoArgsIsHelpError() if "--json" not in arguments:
            for line in err.format_message().splitlines():
                say(plain(line))
            return 2
        case click.ClickException():
            context = err.ctx if isinstance(err, click.UsageError) else None
            message, code = err.format_message(), 2
            hint = f"{context.command_path} --help" if context else None
        case TrustError():
            hint, code = err.hint, err.exit_code
        case OSError():
            message = f"{err.strerror or err}: {err.filename or 'input or output'}"
        case click.Abort() | KeyboardInterrupt():
            message = "interrupted"
        case _:
            message = f"this is a defect of trust-shim: {type(err).__name__}: {err}"
            hint = "nothing was decided; please report it"
    if "--json" in arguments and not isinstance(err, BrokenPipeError):
        error = {
            "message": message,
            "hint": hint,
            "code": code,
            "reason": err.reason if isinstance(err, TrustError) else None,
        }
        with suppress(OSError):  # the exit code still tells
            click.echo(json.dumps({"schema": SCHEMA, "error": error}))
    say_error(message, hint)
    return code
