"""Owns the face of the shim: ``trust-shim serve`` and ``trust-shim check``.

    trust-shim serve --config FILE
    trust-shim serve --listen HOST:PORT --upstream URL [--policy FILE]      one upstream, no file
    trust-shim check --config FILE                                          proves the set-up before it serves
    trust-shim log check FILE…                                              checks the chain of the decision log

Exit codes: 0 done · 1 denied · 2 the configuration is wrong · 3 it cannot serve.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_shim.cli_log import log
from registry_shim.complaint import log_to_stderr, say
from registry_shim.config import Address, Config
from registry_shim.config_document import CONFIG_MAX_BYTES, config_of, parse_config
from registry_shim.terminal import run, say_note, say_result
from trust.errors import InputError
from trust.finding import exit_code_of
from trust.oci.url import parse_url
from trust.places import policy_place, trust_home
from trust.policy_files import policy_files

if TYPE_CHECKING:
    from registry_shim.listening import Listening

DISTRIBUTION = "content-trust"


def main() -> None:
    """Run the command line of the shim; the process ends with its exit code."""
    # Closed by whoever started us: what is written there goes nowhere, and the exit code still tells.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole process
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    log_to_stderr()
    code = run(program, sys.argv[1:])
    with suppress(OSError):  # whoever was to read it is gone: that has been said
        sys.stdout.flush()
    say()
    os._exit(code)  # all is closed: a thread that still waits for a store must not hold up the end


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=DISTRIBUTION)
def program() -> None:
    """A registry that lets only verified content through."""


program.add_command(log)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option(
                "--config", "config_file", type=click.Path(path_type=Path), help="The configuration (TOML)."
            ),
            click.option("--listen", metavar="HOST:PORT", help="Where to listen, without a configuration."),
            click.option("--upstream", metavar="URL", help="The one registry to stand before, likewise."),
            click.option("--operations", metavar="HOST:PORT", help="Where health, metrics and the page are."),
            click.option("--policy", "policy_file", metavar="FILE", help="The policy; else the usual one."),
            click.option("--home", metavar="DIR", help="Trusted state and cache, without a configuration."),
        )
    ):
        command = option(command)
    return command


@program.command()
@_options
def serve(**given: Any) -> None:  # noqa: ANN401 - click's
    """Serve until told to end."""
    from registry_shim.keeper import Keeper  # noqa: PLC0415 - `--help` needs no server
    from registry_shim.listening import listen  # noqa: PLC0415 - likewise
    from registry_shim.policy_watch import PolicyWatch  # noqa: PLC0415 - likewise
    from trust.notify import Notifier  # noqa: PLC0415 - likewise

    config, source = _config(**given)

    async def serving() -> None:
        keeper = Keeper(
            config,
            PolicyWatch(lambda: _policy(config)),
            source=source,
            version=metadata.version(DISTRIBUTION),
            notifier=Notifier.of(os.environ),
        )
        listening = listen(config.listen, config.operations)
        await keeper.run(listening, started=lambda: _tell(listening))

    asyncio.run(serving())


def _tell(listening: Listening) -> None:
    say_note(f"trust-shim serves on {', '.join(map(_name, listening.registry))}")
    if listening.operations is not None:
        say_note(f"health, metrics and page on {_name(listening.operations)}")


def _name(listening: socket.socket) -> str:
    name = listening.getsockname()
    return str(Address(host=name[0], port=name[1])) if isinstance(name, tuple) else str(name)


@program.command()
@_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def check(context: click.Context, /, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401, ARG001 - click's
    """Prove the configuration, the policy, every upstream and every collection, and serve nothing."""
    from registry_shim.check import check_setup  # noqa: PLC0415 - as above

    config, _ = _config(**given)
    findings = check_setup(config, _policy(config))
    code = exit_code_of(findings)
    lines = [
        line
        for finding in findings
        for line in (f"{finding.level} {finding.what}", *([f"  hint: {finding.hint}"] if finding.hint else []))
    ]
    document = {"code": code, "findings": [finding.document for finding in findings]}
    say_result(context, "check", document, lines)
    context.exit(code)


def _config(
    *,
    config_file: Path | None,
    listen: str | None,
    upstream: str | None,
    operations: str | None,
    policy_file: str | None,
    home: str | None,
) -> tuple[Config, str]:
    """Return the configuration, and what to call its source in messages."""
    if config_file is not None:
        if listen or upstream or operations or home or policy_file:
            raise InputError("--config stands alone: the other options are for a shim without one")
        try:
            with config_file.open(encoding="utf-8") as file:
                text = file.read(CONFIG_MAX_BYTES + 1)
        except (OSError, UnicodeDecodeError) as err:
            raise InputError(f"configuration {config_file} cannot be read: {err}") from err
        return parse_config(text, source=str(config_file)), str(config_file)
    if not listen or not upstream:
        raise InputError(
            "nothing to serve: expected --config FILE, or --listen HOST:PORT and --upstream URL",
            hint="trust-shim serve --listen 127.0.0.1:5443 --upstream https://registry.example.com",
        )
    name = parse_url(upstream).authority
    document: dict[str, Any] = {
        "listen": listen,
        "home": str(Path(home).absolute() if home else trust_home(os.environ) / "shim"),
        "default": name,
        "upstream": [{"name": name, "url": upstream.rstrip("/")}],
    }
    if operations:
        document["operations"] = operations
    if policy_file:
        document["policy"] = str(Path(policy_file).absolute())
    return config_of(document, source="of the command line"), "of the command line"


def _policy(config: Config) -> list[Path]:
    path, is_explicit = policy_place(os.environ, config.policy)
    files = policy_files(path, is_explicit=is_explicit)
    if not files:
        raise InputError(
            "there is no policy: everything would be denied", hint="trust policy add COLLECTION --root … makes one"
        )
    return files
