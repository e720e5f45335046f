"""The face: commands, exit codes and every word on the terminal.

0 done, allowed · 1 denied · 2 usage or bad input · 3 could not decide or do · 4 conflict · 5 waits for signatures
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from keys.errors import KeysError
from trust import __version__
from trust.cli.options import RUN_FAILED, Common, Group, RunCommand
from trust.cli.render import NOBODY_READS, Output
from trust.errors import TrustError, UnavailableError

COMMANDS = {
    "approve": "trust.cli.pending:approve",
    "attest": "trust.cli.attesting:attest",
    "bins": "trust.cli.delegating:bins_",
    "bundle": "trust.cli.bundles:bundle",
    "check": "trust.cli.reporting:check",
    "checkpoint": "trust.cli.checkpointing:checkpoint",
    "clone": "trust.cli.resuming:clone",
    "copy": "trust.cli.moving:copy_",
    "delegate": "trust.cli.delegating:delegate",
    "doctor": "trust.cli.doctor:doctor",
    "exec": "trust.cli.containers:execute",
    "gate": "trust.cli.gate:gate",
    "init": "trust.cli.founding:init",
    "inspect": "trust.cli.reporting:inspect",
    "key": "trust.cli.keys:key",
    "list": "trust.cli.reporting:list_",
    "log": "trust.cli.reporting:log",
    "login": "trust.cli.transfer:login",
    "logs": "trust.cli.containers:logs",
    "pending": "trust.cli.pending:pending",
    "policy": "trust.cli.policy:policy",
    "promote": "trust.cli.moving:promote",
    "prune": "trust.cli.revoking:prune",
    "ps": "trust.cli.containers:ps",
    "publish": "trust.cli.publishing:publish",
    "pull": "trust.cli.transfer:pull",
    "push": "trust.cli.transfer:push",
    "reject": "trust.cli.pending:reject",
    "renew": "trust.cli.publishing:renew",
    "resolve": "trust.cli.verifying:resolve",
    "restore": "trust.cli.resuming:restore",
    "revoke": "trust.cli.revoking:revoke",
    "rm": "trust.cli.containers:rm",
    "rotate": "trust.cli.rotating:rotate",
    "run": "trust.cli.running:run",
    "sign": "trust.cli.publishing:sign",
    "stats": "trust.cli.containers:stats",
    "stop": "trust.cli.containers:stop",
    "update": "trust.cli.updating:update",
    "verify": "trust.cli.verifying:verify",
}


def _version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"trust {__version__}")
        context.exit()


cli = Group(
    "trust",
    lazy=COMMANDS,
    help="Content trust for container images: what the publisher wants a tag to be now, and nothing else.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Show the version.",
        )
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def main() -> NoReturn:
    """Run the command line; the process ends with the exit code of the contract."""
    arguments = sys.argv[1:]
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - a name, and pathlib would be loaded for it
    program = name if name in {"trust", "ctrust"} else "trust"
    output = Output(as_json="--json" in arguments, quiet="--quiet" in arguments)
    try:
        code = cli.main(args=arguments, prog_name=program, standalone_mode=False, obj=Common())
    except click.exceptions.Exit as err:
        code = err.exit_code
    except SystemExit:  # click's own, where the reader of stdout is gone; its 1 would be "denied"
        code = _failed(UnavailableError(NOBODY_READS), output)
    except (Exception, KeyboardInterrupt) as err:
        if os.environ.get("TRUST_LOG") == "debug":
            raise
        code = _failed(err, output)
    sys.exit(code if isinstance(code, int) else 0)


def _failed(err: BaseException, output: Output) -> int:
    """Report a failure in one line and a hint; return its exit code."""
    hint, reason = getattr(err, "hint", None), getattr(err, "reason", None)
    message, code = str(err), 3
    match err:
        case click.exceptions.NoArgsIsHelpError() if not output.as_json:
            output.show(err.format_message().splitlines())
            return 2
        case click.ClickException():
            context = err.ctx if isinstance(err, click.UsageError) else None
            is_help = isinstance(err, click.exceptions.NoArgsIsHelpError)
            message = "no command was given" if is_help else err.format_message()
            hint = f"{context.command_path} --help" if context else None
            code = RUN_FAILED if context and isinstance(context.command, RunCommand) else 2
        case click.Abort() | KeyboardInterrupt():
            message = "interrupted; the command may be repeated"
        case KeysError() | TrustError():
            code = err.exit_code
        case OSError():
            message = f"{err.strerror or err}: {err.filename or 'input or output'}"
        case _:
            message = f"this is a defect of trust: {type(err).__name__}: {err}"
            hint = "nothing was decided; please report it with TRUST_LOG=debug"
    output.error(message, hint, code=code, reason=reason if isinstance(reason, str) else None)
    return code
