"""On a terminal one line says how far a download is, and goes; elsewhere there is none."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.migration.harbour import CHECKOUT, Machine, found, tagged
from tests.runtime.images import busybox_layer, file, image_bytes, layer
from tests.simulators.registry import docker_registry
from trust.cli.bar import Bar, bar_line
from trust.oci.layout import Layout

NONE: Mapping[str, str] = {}
PIECES = tuple(file(f"data/{number}", os.urandom(1 << 20)) for number in range(12))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with docker_registry(tmp_path / "registry") as registry:
        machine = Machine(tmp_path / "machine", registry.host)
        found(machine)
        layout = Layout.create(machine.directory / "large")
        tagged(layout, "1", image_bytes(layout, busybox_layer(), layer(*PIECES)))
        machine.run("push", "--as", machine.image("web:1"), f"oci:{layout.directory}:1")
        yield machine
        machine.close()


def on_a_terminal(
    machine: Machine, *argv: str, columns: int = 80, environ: Mapping[str, str] = NONE
) -> tuple[int, bytes, bytes]:
    """Run ``trust`` with a terminal as standard error; return status, output and what the terminal got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "trust", *argv], cwd=CHECKOUT, env={**machine.environment, **environ},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        assert process.stdout is not None
        output = process.stdout.read()
    os.close(ours)
    return process.returncode, output, shown


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # the other end was closed
        return b""


def lines_of(shown: bytes) -> list[str]:
    """Return what stood in the line, one after the other."""
    return [line for line in re.split(r"\r|\x1b\[K|\n", shown.decode()) if line]


def run_of(machine: Machine) -> tuple[str, ...]:
    return ("run", "--engine", "runc", "--rm", machine.image("web:1"), "/bin/sh", "-c", "echo ran")


@pytest.mark.root
@pytest.mark.parametrize("columns", [80, 24])
def test_run_shows_download_and_unpacking_in_one_line_that_goes(machine: Machine, columns: int) -> None:
    status, output, shown = on_a_terminal(machine, *run_of(machine), columns=columns)
    assert (status, output) == (0, b"ran\n")
    lines = lines_of(shown)
    assert {line.split(" ")[0] for line in lines} == {"pulling", "unpacking"}
    assert max(map(len, lines)) < columns
    assert any(line.startswith("pulling") and "100 %" in line for line in lines)
    assert any(line.startswith("unpacking") and "100 %" in line for line in lines)
    assert b"\n" not in shown
    assert shown.endswith(b"\r\x1b[K")


@pytest.mark.root
def test_cached_image_shows_nothing(machine: Machine) -> None:
    on_a_terminal(machine, *run_of(machine))
    assert on_a_terminal(machine, *run_of(machine)) == (0, b"ran\n", b"")


@pytest.mark.root
@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_quiet_and_json_show_nothing(machine: Machine, option: str) -> None:
    status, _, shown = on_a_terminal(machine, "run", option, *run_of(machine)[1:])
    assert (status, shown) == (0, b"")


@pytest.mark.root
def test_dumb_terminal_is_sent_no_controls(machine: Machine) -> None:
    assert on_a_terminal(machine, *run_of(machine), environ={"TERM": "dumb"}) == (0, b"ran\n", b"")


@pytest.mark.root
def test_failure_begins_on_an_empty_line(machine: Machine) -> None:
    for blob in (machine.directory.parent / "registry").rglob("data"):
        if blob.stat().st_size > 5 << 20:
            blob.write_bytes(bytes(blob.stat().st_size))
    status, output, shown = on_a_terminal(machine, *run_of(machine))
    assert (status, output) == (125, b"")
    assert b"\r\x1b[Kerror: " in shown


@pytest.mark.root
def test_pull_shows_the_engines_own_progress_on_the_terminal_alone(machine: Machine) -> None:
    storage = machine.directory / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{machine.directory}/podman"\n'
        f'runroot = "{machine.directory}/run"\n'
    )
    (machine.directory / ".config/containers").mkdir(parents=True)
    (machine.directory / ".config/containers/policy.json").write_text(
        '{"default": [{"type": "insecureAcceptAnything"}]}'
    )
    environ = {"CONTAINERS_STORAGE_CONF": str(storage)}
    pull = ("pull", "--engine", "podman", machine.image("web:1"))
    status, output, shown = on_a_terminal(machine, *pull, environ=environ)
    assert status == 0, shown
    assert output.startswith(b"pulled ")
    assert b"Copying blob" in shown
    status, output, shown = on_a_terminal(machine, *pull, "--json", environ=environ)
    assert (status, shown) == (0, b"")
    assert json.loads(output)["command"] == "pull"


def test_line_fits_whatever_the_terminal_has_become() -> None:
    ours, theirs = pty.openpty()
    now = iter(range(100))
    bar = Bar(theirs, lambda: float(next(now)))
    for columns in (200, 80, 30, 12, 3, 1, 0):
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        bar.begin("unpacking", 180 << 20)
        bar.advance(90 << 20)
        shown = b""
        while shown.count(b"\x1b[K") < 2:  # a terminal hands on what it has, and not what was written at once
            shown += _read(ours)
        for line in lines_of(shown):
            assert len(line) < (columns or 80)
    os.close(theirs)
    os.close(ours)
    bar.advance(1)  # to a terminal that is gone


def test_line_says_how_far_it_is_in_the_room_there_is() -> None:
    def line(columns: int) -> str:
        return bar_line("pulling", 45 << 20, 180 << 20, columns=columns)

    assert line(60) == "pulling [######..................]  25 %  45.0 of 180.0 MiB"
    assert line(30) == "pulling  25 %"
    assert line(5) == "pull"
