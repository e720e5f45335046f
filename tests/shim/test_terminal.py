"""How a run of ``trust-shim`` ends: one line for whatever failed, and the exit code of the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from registry_shim.terminal import run
from tests.simulators.command_line import plain_environment
from trust.errors import ConflictError, InputError, RefusedError, StateError, TrustError

FAILURES = (
    (InputError("no such file"), 2, "no such file", None),
    (RefusedError("rolled back", reason="rolled-back"), 1, "rolled back", "rolled-back"),
    (ConflictError("another was first"), 4, "another was first", None),
    (StateError("disk is full"), 3, "disk is full", "state-damaged"),
    (TrustError("something"), 3, "something", None),
    (OSError(28, "No space left on device", "/var/log"), 3, "No space left on device: /var/log", None),
    (KeyboardInterrupt(), 3, "interrupted", None),
    (ValueError("nobody expected it"), 3, "this is a defect of trust-shim: ValueError: nobody expected it", None),
)


@pytest.mark.parametrize(("failure", "code", "message", "reason"), FAILURES)
def test_whatever_fails_is_one_line_and_an_exit_code(
    failure: BaseException, code: int, message: str, reason: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command("serve")
    @click.option("--json", "as_json", is_flag=True)
    def serve(*, as_json: bool) -> None:
        assert as_json
        raise failure

    assert run(serve, ["--json"]) == code
    said = capsys.readouterr()
    assert said.err.strip().splitlines()[0] == f"error: {message}"
    assert "Traceback" not in said.err
    error = json.loads(said.out)["error"]
    assert (error["message"], error["code"], error["reason"]) == (message, code, reason)


def shim(
    folder: Path, *argv: str, streams: str = "", stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run the real command line, its streams turned by a shell as ``streams`` says (``>/dev/full``)."""
    shell = f'exec {sys.executable} -c "from registry_shim.app import main; main()" "$@" {streams}'
    return subprocess.run(
        ["/bin/sh", "-c", shell, "shim", *argv], check=False, stdout=stdout, stderr=subprocess.PIPE, text=True,
        timeout=60, env={**plain_environment(), "TRUST_HOME": str(folder)},
    )  # fmt: skip


@pytest.mark.parametrize("argv", [("log", "check", "LOG"), ("log", "check", "--json", "LOG"), ("--help",)])
@pytest.mark.parametrize("is_full", [True, False])
def test_output_that_nobody_reads_is_no_broken_chain(
    tmp_path: Path, argv: tuple[str, ...], *, is_full: bool
) -> None:
    log = tmp_path / "decisions.jsonl"
    log.touch()
    words = [str(log) if word == "LOG" else word for word in argv]
    if is_full:
        done = shim(tmp_path, *words, streams=">/dev/full")
    else:
        reading, writing = os.pipe()
        os.close(reading)
        done = shim(tmp_path, *words, stdout=writing)
        os.close(writing)
    assert (done.returncode, done.stderr.count("error:")) == (3, 1)
    assert "Traceback" not in done.stderr


def test_error_that_nobody_reads_keeps_its_code(tmp_path: Path) -> None:
    missing = ("log", "check", "--json", str(tmp_path / "none"))
    assert shim(tmp_path, *missing, streams=">/dev/full").returncode == 2
    assert shim(tmp_path, *missing, streams=">/dev/full 2>/dev/full").returncode == 2
    assert shim(tmp_path, *missing, streams=">&- 2>&-").returncode == 2


def test_closed_stdout_is_no_failure(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    log.touch()
    done = shim(tmp_path, "log", "check", str(log), streams=">&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_usage_is_shown_in_lines(tmp_path: Path) -> None:
    done = shim(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: trust-shim")
    assert "?" not in done.stderr
