"""Owns what ``exec`` asks of a container that runs: one more process, as the container's own but for its words."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from trust.errors import InputError, StateError
from trust.runtime.account import FILE_MAX_BYTES, Account, resolve_account
from trust.runtime.bundle import DEFAULT_PATH, Process
from trust.runtime.command import require_own_command, require_spelled_elsewhere
from trust.runtime.disk import read_document
from trust.runtime.image import is_text
from trust.runtime.walk import Root
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What is to be run; ``user`` as the image's own passwd spells it, None for the container's own."""

    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    user: str | None = None


def executed(execution: Execution, *, directory: Path, pid: int) -> Process:
    """Return the process of an execution in the container of ``directory``, whose first process is ``pid``.

    Raises:
        InputError: the command is none, or its user is not in the container.
        StateError: the container's configuration is gone.
    """
    if not all(is_text(word) for word in execution.command):
        raise InputError("command is not UTF-8 text")
    config = read_document(directory / "config.json")
    if config is None:
        raise InputError("container has no OCI configuration, so that nothing can join it", hint="--engine runc")
    try:
        own = config["process"]
        variables = dict(line.split("=", 1) for line in own["env"])
        account = Account(
            uid=own["user"]["uid"],
            gid=own["user"]["gid"],
            additional_gids=tuple(own["user"].get("additionalGids", ())),
            home=variables.get("HOME", "/"),
        )
        has_one_id = "additionalGids" not in own["user"]
        working_directory = str(own["cwd"])
    except (LookupError, TypeError, ValueError) as err:
        raise StateError(f"configuration of the container in {directory} is damaged: {err!r}") from err
    if execution.user is not None:
        account = _account(execution.user, pid)
        variables["HOME"] = account.home
        if has_one_id and account.uid != 0:
            raise InputError(
                f"user cannot be had: an ordinary user's container has one id, 0; got {execution.user[:80]!r}"
            )
    variables.update(execution.environment)
    _require_own(execution.command[0], pid, working_directory, variables.get("PATH", DEFAULT_PATH))
    return Process(
        account=account,
        arguments=execution.command,
        environment=variables,
        working_directory=working_directory,
    )


def _require_own(word: str, pid: int, working_directory: str, search: str) -> None:
    """Return if ``word`` is a file of the container's, as it is now, and none of the kernel's (CVE-2019-5736)."""
    require_spelled_elsewhere(word, working_directory=working_directory)
    with (
        suppress(OSError),
        _RootOf(pid) as root,
    ):  # another user's may not be looked into: the engine guards itself
        require_own_command(root, word, working_directory=working_directory, search=search)


class _RootOf(Root):
    """The root of a process: a link of the kernel's own, which ``Root`` would not follow."""

    def __init__(self, pid: int) -> None:
        self.fd = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _account(user: str, pid: int) -> Account:
    """Return whom the container's own files call ``user``, as they are now."""
    try:
        with _RootOf(pid) as root:
            return resolve_account(
                user,
                untrusted_passwd=root.read((b"etc", b"passwd"), max_bytes=FILE_MAX_BYTES) or b"",
                untrusted_group=root.read((b"etc", b"group"), max_bytes=FILE_MAX_BYTES) or b"",
            )
    except OSError as err:
        raise StateError(f"users of the container cannot be read: {err.strerror}") from err
