"""Owns the face of the shim: ``trust-shim serve`` and ``trust-shim check``.

    trust-shim serve --config FILE
    trust-shim serve --listen HOST:PORT --upstream URL [--policy FILE]      one upstream, no file
    trust-shim check --config FILE                                          proves the set-up before it serves

Exit codes: 0 done · 1 denied · 2 the configuration is wrong · 3 it cannot serve.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import click

from registry_shim.config import CONFIG_MAX_BYTES, Config, config_of, parse_config
from trust.errors import InputError, RefusedError, TrustError
from trust.finding import exit_code_of
from trust.oci.url import parse_url
from trust.places import policy_place, trust_home
from trust.policy_files import policy_files

P = ParamSpec("P")


def main() -> None:
    """Run the command line of the shim."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="trust-shim: %(message)s")
    program(prog_name="trust-shim")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="content-trust")
def program() -> None:
    """A registry that lets only verified content through."""


def _said_plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what goes wrong in ``command`` into one line, a hint and an exit code."""

    @wraps(command)
    def said(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (TrustError, OSError) as err:
            click.echo(f"error: {err}", err=True)
            if isinstance(err, TrustError) and err.hint:
                click.echo(f"hint: {err.hint}", err=True)
            sys.exit(2 if isinstance(err, InputError) else 1 if isinstance(err, RefusedError) else 3)

    return said


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
@_said_plainly
def serve(**given: Any) -> None:  # noqa: ANN401 - click's
    """Serve until told to end."""
    from registry_shim.keeper import Keeper, bind  # noqa: PLC0415 - `--help` needs no server

    config, source = _config(**given)

    async def run() -> None:
        keeper = Keeper(config, lambda: _policy(config), _operations(config), source=source)
        listening = [bind(config.listen)]
        where = listening[0].getsockname()
        await keeper.run(
            listening, started=lambda: click.echo(f"trust-shim serves on {where[0]}:{where[1]}", err=True)
        )

    asyncio.run(run())


@program.command()
@_options
@_said_plainly
def check(**given: Any) -> None:  # noqa: ANN401 - click's
    """Prove the configuration, the policy, every upstream and every collection, and serve nothing."""
    from registry_shim.check import check_setup  # noqa: PLC0415 - as above

    config, _ = _config(**given)
    findings = check_setup(config, _policy(config))
    for finding in findings:
        click.echo(f"{finding.level} {finding.what}")
        if finding.hint:
            click.echo(f"  hint: {finding.hint}")
    sys.exit(exit_code_of(findings))


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


def _operations(config: Config) -> Any:
    from registry_shim.quiet import Quiet

    return Quiet()
