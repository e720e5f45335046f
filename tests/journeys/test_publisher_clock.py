"""A publisher whose clock cannot be right signs nothing: it would have expired for everybody else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.command_line import NAME, CommandLine, Done, Zygote


@pytest.fixture
def user(tmp_path: Path) -> Iterator[CommandLine]:
    zygote = Zygote()
    user = CommandLine(tmp_path, zygote)
    user.found()
    yield user
    zygote.close()


def run_at(user: CommandLine, day: str, *argv: str) -> Done:
    """Run one command on a machine whose clock says ``day`` (``-2 days``)."""
    faketime = shutil.which("faketime")
    assert faketime is not None, "faketime is not on PATH: run the tests through scripts/test"
    done = subprocess.run(
        [faketime, day, sys.executable, "-c", "from trust.start import main; main()", *argv],
        check=False, capture_output=True, text=True, timeout=60, env={**os.environ, **user.environment},
    )  # fmt: skip
    return Done(code=done.returncode, said=done.stdout + done.stderr)


@pytest.mark.parametrize("command", [("publish", NAME), ("renew", NAME), ("revoke", f"{NAME}web:1.4")])
def test_clock_years_back_publishes_nothing(user: CommandLine, command: tuple[str, ...]) -> None:
    before = {path: path.read_bytes() for path in user.metadata.iterdir()}
    done = run_at(user, "-3 years", *command, "--json")
    assert done.code == 3
    assert json.loads(done.said.splitlines()[0])["error"]["reason"] == "clock"
    assert {path: path.read_bytes() for path in user.metadata.iterdir()} == before
    user.expect(0, *user.verify("1.4"))


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("+30 days", ""),
        ("+80 days", "warning: role targets expires in"),
        ("+100 days", "warning: role targets expired"),
        ("+400 days", "warning: role root expired"),
    ],
)
def test_publish_that_nobody_accepts_says_so(user: CommandLine, day: str, words: str) -> None:
    done = run_at(user, day, "publish", NAME, "--quiet")
    assert done.code == 0
    assert words in done.said
    assert ("warning" in done.said) is bool(words)
    assert ("hint: with its keys at hand: trust renew" in done.said) is bool(words)
    assert run_at(user, day, *user.verify("1.4")).code == int("expired" in words)


def test_clock_a_day_back_publishes_what_others_accept(user: CommandLine) -> None:
    assert run_at(user, "-1 day", "publish", NAME).code == 0
    user.expect(0, *user.verify("1.4"))


def test_clock_that_was_ahead_locks_nobody_out(user: CommandLine) -> None:
    assert run_at(user, "+13 years", "publish", NAME).code == 0
    user.expect(0, "publish", NAME)
    user.expect(0, *user.verify("1.4"))
    assert run_at(user, "+6 days", *user.verify("1.4")).code == 0
    user.expect(0, "revoke", f"{NAME}web:1.4")
