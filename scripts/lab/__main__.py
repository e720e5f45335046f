"""The slow path of ``scripts/setup``: takes the lock of the checkout, runs the steps, says what came of it."""

import argparse
import fcntl
import os
import sys
import time
from pathlib import Path

from scripts.lab.components import Group, group_named
from scripts.lab.errors import SetupFailed
from scripts.lab.process import Runner
from scripts.lab.steps import SetUp

_OWNER_HINT = "one user for one clone: make a clone of your own, or have that user remove .lab and .venv"
_BAD_IN_PATHS = ":\"'\n\\$`"  # PATH and LD_LIBRARY_PATH split at a colon; the others end a quotation somewhere


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _lock(lab: Path) -> int:
    """The descriptor of the checkout's lock, held by this process and by each child that inherits it."""
    try:
        lab.mkdir(exist_ok=True)
        owner = lab.stat().st_uid
        if owner != os.geteuid():
            raise SetupFailed(f"{lab} belongs to user {owner}, not {os.geteuid()}", hint=_OWNER_HINT, exit_code=2)
        descriptor = os.open(lab / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as err:
        raise SetupFailed(f"{lab} cannot be written: {err.strerror}", hint=_OWNER_HINT, exit_code=2) from err
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("setup: another set-up of this checkout is at work; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _set_up(group: Group, sources: str) -> None:
    checkout = Path.cwd()
    if bad := sorted(set(str(checkout)).intersection(_BAD_IN_PATHS)):
        raise SetupFailed(
            f"checkout path {str(checkout)!r}: expected none of {_BAD_IN_PATHS!r}, got {''.join(bad)!r}",
            hint="move the checkout to another folder",
            exit_code=2,
        )
    descriptor = _lock(checkout / ".lab")
    SetUp(
        checkout=checkout,
        group=group,
        sources=sources,
        runner=Runner(environ=os.environ, lock_fd=descriptor),
        is_root=os.geteuid() == 0,
        is_ci=os.environ.get("CI", "").lower() not in {"", "0", "false"},
        say=_say,
    ).run()


def main() -> int:
    """The exit status of one set-up: 0 ready, 1 failed, 2 this machine lacks something (see ``errors``)."""
    parser = argparse.ArgumentParser(prog="setup")
    parser.add_argument("--for", dest="group", required=True)
    parser.add_argument("--sources", required=True)
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        _set_up(group_named(arguments.group), arguments.sources)
    except ValueError as err:
        _say(f"setup: {err}")
        return 2
    except SetupFailed as err:
        _say(f"setup: {err}" + (f"\nhint: {err.hint}" if err.hint else ""))
        return err.exit_code
    _say(f"setup: {arguments.group} is ready, after {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
