"""Owns the options that every command takes, before or after its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class Common:
    """What was said for every command; the last word wins."""

    __slots__ = ("home", "json", "plain_http", "policy", "quiet", "verbose")

    def __init__(self) -> None:
        self.home: Path | None = None
        self.policy: Path | None = None
        self.json = False
        self.quiet = False
        self.verbose = 0
        self.plain_http = False


def common_of(context: click.Context) -> Common:
    """Return the common options of this run."""
    found = context.find_root().ensure_object(Common)
    return found if isinstance(found, Common) else Common()


class _NamedPath(click.Path):
    """A path that was said: an empty variable of a script is not the current directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        if not value:
            self.fail("it is empty: expected a path", param, ctx)
        return super().convert(value, param, ctx)


def common_parameters() -> list[click.Parameter]:
    """Return new parameters for the common options; their values go to ``Common`` and not to the command."""

    def keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
        def callback(context: click.Context, _parameter: click.Parameter, value: Any) -> None:  # noqa: ANN401
            if value:
                setattr(common_of(context), name, value)

        return callback

    def option(*names: str, to: str, **settings: Any) -> click.Option:  # noqa: ANN401 - click's own settings
        return click.Option(names, expose_value=False, callback=keep(to), **settings)

    directory = _NamedPath(path_type=Path, file_okay=False)
    return [
        option("--home", to="home", type=directory, help="Where state and keys live.  [env: TRUST_HOME]"),
        option(
            "--policy", to="policy", type=_NamedPath(path_type=Path), help="The policy file.  [env: TRUST_POLICY]"
        ),
        option("--json", "as_json", to="json", is_flag=True, help="One JSON document on stdout."),
        option("--quiet", to="quiet", is_flag=True, help="Nothing on stderr but errors."),
        option("-v", "--verbose", to="verbose", count=True, help="More on stderr."),
        option("--plain-http", to="plain_http", is_flag=True, help="Plain HTTP to registries that are not local."),
    ]


class Command(click.Command):
    """A command that takes the common options after its name."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - click's own settings
        super().__init__(*arguments, **settings)
        self.params.extend(common_parameters())


RUN_FAILED = 125  # as docker and podman say that it was not the container that failed


class RunCommand(click.Command):
    """A command whose ``-v`` is a volume, as the contract has it; it takes the common options but that letter."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - click's own settings
        super().__init__(*arguments, **settings)
        self.params.extend(parameter for parameter in common_parameters() if "-v" not in parameter.opts)


class Group(click.Group):
    """A group that takes the common options before a command, and loads a command when it is named."""

    command_class = Command

    def __init__(self, *arguments: Any, lazy: dict[str, str] | None = None, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **settings)
        self.params.extend(common_parameters())
        self._lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, importing its module; None if there is none."""
        if cmd_name in self._lazy:
            from importlib import import_module  # noqa: PLC0415 - a command pays for its own imports only

            module, _, attribute = self._lazy[cmd_name].partition(":")
            found: click.Command = getattr(import_module(module), attribute)
            return found
        return super().get_command(ctx, cmd_name)


Group.group_class = Group
