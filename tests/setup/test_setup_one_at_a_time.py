"""Set-ups of one checkout wait for each other, and for what a killed one left running."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.lab.ready import HandOver
from scripts.lab.venv import interpreter_mark
from tests.setup.conftest import Checkout, minimal_environ


def _slow_path(checkout: Checkout) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-E", "-s", "-m", "scripts.lab", "--for", "demo", "--sources", "abc"],
        cwd=checkout.home,
        env=minimal_environ(),
        stderr=subprocess.PIPE,
        text=True,
    )


def test_who_waited_finds_the_work_done(checkout: Checkout) -> None:
    checkout.make_ready("test")
    lock = os.open(checkout.home / ".lab/lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with _slow_path(checkout) as second:
        assert second.stderr is not None
        assert "another set-up of this checkout is at work" in second.stderr.readline()
        mark = f"abc {interpreter_mark(checkout.home / '.venv/bin/python')}"
        HandOver(lab=checkout.home.resolve() / ".lab").mark("demo", mark, ["setup: left out: x: y"])
        os.close(lock)
        rest = second.stderr.read()
        assert second.wait() == 0
    assert "left out: x: y" in rest
    assert "demo is ready" in rest
    assert (checkout.home / ".lab/ready.test").exists()
    assert not checkout.started_python()


def test_a_child_of_a_killed_set_up_still_holds_the_lock(tmp_path: Path) -> None:
    fifo, lock_file = tmp_path / "fifo", tmp_path / "lock"
    os.mkfifo(fifo)
    program = f"""\
import fcntl, os
from scripts.lab.process import Runner
fd = os.open({str(lock_file)!r}, os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
Runner(environ=os.environ, lock_fd=fd).run("child", ["sh", "-c", "echo started >'{fifo}'; read line <'{fifo}'"])
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2]) as killed:
        assert fifo.read_text() == "started\n"
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    with lock_file.open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fifo.write_text("end\n")
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_the_lock_of_another_user_is_exit_2(checkout: Checkout) -> None:
    lab = checkout.home / ".lab"
    if os.geteuid() == 0:
        lab.mkdir()
        os.chown(lab, 1, -1)
    else:
        lab.symlink_to("/proc/1" if Path("/proc/1").stat().st_uid == 0 else "/")
    with _slow_path(checkout) as refused:
        assert refused.stderr is not None
        said = refused.stderr.read()
        assert refused.wait() == 2
    assert "belongs to user" in said
    assert "hint: one user for one clone" in said


def test_a_path_that_would_split_is_refused(checkout: Checkout) -> None:
    moved = checkout.home.with_name("a:b")
    checkout.home.rename(moved)
    with _slow_path(Checkout(home=moved, python=checkout.python)) as refused:
        assert refused.stderr is not None
        said = refused.stderr.read()
        assert refused.wait() == 2
    assert "got ':'" in said
    assert not (moved / ".lab").exists()
