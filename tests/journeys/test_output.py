"""Streams that nobody reads, that are full or closed change no exit code into another verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulators.command_line import plain_environment

DENIED = ("verify", "registry.test/acme/web:1")  # by an empty policy: exit code 1
WRONG = ("verify", "registry.test/acme/WEB:1")  # exit code 2
FULL = "/dev/full"


def run(
    folder: Path, *argv: str, stdout: int | str = subprocess.PIPE, stderr: int | str = subprocess.PIPE, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run one command whose streams are files, pipes, or the devices that were named."""
    environment = {**plain_environment(), "TRUST_HOME": str(folder / "home"), **more}
    streams = [open(each, "wb") if isinstance(each, str) else each for each in (stdout, stderr)]  # noqa: PTH123, SIM115
    try:
        return subprocess.run(
            [sys.executable, "-c", "from trust.start import main; main()", *argv], check=False, timeout=60,
            env=environment, stdin=subprocess.DEVNULL, stdout=streams[0], stderr=streams[1],
        )  # fmt: skip
    finally:
        for stream in streams:
            if not isinstance(stream, int):
                stream.close()


def read_by_nobody() -> int:
    """Return the writing end of a pipe that has no reader."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("argv", [DENIED, (*DENIED, "--json"), ("--help",), ("--version",), ("policy", "check")])
@pytest.mark.parametrize("is_full", [True, False])
def test_output_that_nobody_reads_is_not_a_denial(tmp_path: Path, argv: tuple[str, ...], *, is_full: bool) -> None:
    stdout: int | str = FULL if is_full else read_by_nobody()
    try:
        done = run(tmp_path, *argv, stdout=stdout)
    finally:
        if isinstance(stdout, int):
            os.close(stdout)
    assert (done.returncode, done.stderr.count(b"error:")) == (3, 1)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("argv", "code"), [(DENIED, 1), (WRONG, 2), ((*WRONG, "--json"), 2), ((), 2)])
def test_errors_that_nobody_hears_keep_their_code(tmp_path: Path, argv: tuple[str, ...], code: int) -> None:
    assert run(tmp_path, *argv, stderr=FULL).returncode == code


def test_wrong_input_with_both_streams_full_is_no_denial(tmp_path: Path) -> None:
    assert run(tmp_path, *WRONG, "--json", stdout=FULL, stderr=FULL).returncode == 2


def test_closed_stdin_is_no_terminal(tmp_path: Path) -> None:
    shell = f'exec {sys.executable} -c "from trust.start import main; main()" key generate web <&-'
    environment = {**plain_environment(), "TRUST_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        ["/bin/sh", "-c", shell], check=False, timeout=60, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 2
    assert "no passphrase for key web: there is no terminal" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii", "latin-1", "utf-8:surrogateescape"])
def test_document_is_json_in_every_locale(tmp_path: Path, encoding: str) -> None:
    strange = f"{tmp_path}/\udcff…"
    for argv, code in ((DENIED, 1), ((*DENIED, "--policy", strange), 2)):
        done = run(tmp_path, *argv, "--json", PYTHONIOENCODING=encoding)
        assert done.returncode == code, done
        document = json.loads(done.stdout.decode(encoding.partition(":")[0]))
        assert document["schema"] == 1
    assert document["error"]["message"] == f"policy file is missing: {strange}"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_document_drives_no_terminal_and_says_what_was_said(tmp_path: Path, encoding: str) -> None:
    hostile = f"{tmp_path}/\x9b2J\x7f\u202egnp…"
    done = run(tmp_path, *DENIED, "--policy", hostile, "--json", PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    said = done.stdout.decode(encoding).rstrip("\n")
    assert said.isprintable(), said
    assert json.loads(said)["error"]["message"] == f"policy file is missing: {hostile}"
    assert ("…" in said) == (encoding == "utf-8")
