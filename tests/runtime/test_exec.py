"""One more command in a running container has the container's walls, and says how it ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.runtime.conftest import Runner
from tests.runtime.test_run import started
from trust.errors import InputError, UnavailableError
from trust.runtime.engine import Streams
from trust.runtime.execution import Execution
from trust.runtime.limits import Limits
from trust.runtime.options import RunOptions
from trust.runtime.record import Container

IS_ROOT = os.geteuid() == 0
QUIET = Streams(stdin=subprocess.DEVNULL, stdout=None, stderr=None)

pytestmark = pytest.mark.parametrize(
    "runner", ["runc", pytest.param("crun", marks=pytest.mark.root)], indirect=True
)


def said(runner: Runner, container: Container, *command: str, **more: object) -> str:
    """Return what a command that must succeed says."""
    runner._capfd.readouterr()
    status = runner.containers.execute(container, Execution(command=command, **more), QUIET)  # type: ignore[arg-type]
    out, err = runner._capfd.readouterr()
    assert status == 0, err
    return out


def test_command_that_is_the_hosts_is_not_executed_however_it_is_spelled(runner: Runner) -> None:
    container = runner.start("cd /; busybox ln -s /proc/self/exe /app; echo up > /mark; sleep 60")
    assert said(runner, container, "sh", "-c", "until [ -s /mark ]; do :; done; echo up") == "up\n"
    for command in ("/proc/self/exe", "//proc/self/exe", "/./proc/self/exe", "proc/self/exe", "/app", "./app"):
        with pytest.raises(InputError, match="command lies in /proc"):
            runner.containers.execute(container, Execution(command=(command,)), QUIET)
    search = (("PATH", "/bin:/proc/self"),)
    with pytest.raises(InputError, match="command lies in /proc"):
        runner.containers.execute(container, Execution(command=("exe",), environment=search), QUIET)


def test_command_sees_the_containers_files_and_processes_and_its_status_is_its_own(runner: Runner) -> None:
    container = runner.start("echo mine > /mark; sleep 60")
    assert said(runner, container, "sh", "-c", "until [ -s /mark ]; do :; done; cat /mark") == "mine\n"
    assert "sleep 60" in said(runner, container, "sh", "-c", "cat /proc/[0-9]*/cmdline | busybox tr '\\0' ' '")
    for status in (0, 3, 125, 255):
        assert (
            runner.containers.execute(container, Execution(command=("sh", "-c", f"exit {status}")), QUIET)
            == status
        )
    assert [path.name for path in runner.directory().glob("exec.*")] == []


def test_command_has_no_more_rights_than_the_container(runner: Runner) -> None:
    container = runner.start("cat /proc/self/status > /own; sleep 60")
    own = said(runner, container, "sh", "-c", "until grep -q Seccomp: /own; do :; done; cat /own")
    seen = said(runner, container, "cat", "/proc/self/status")

    def rights(status: str) -> list[str]:
        names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:")
        return [line for line in status.splitlines() if line.startswith(names)]

    assert rights(seen) == rights(own)


def test_environment_and_user_are_the_containers_or_those_asked_for(runner: Runner) -> None:
    container = runner.start("sleep 60")
    assert "HOME=/root" in said(runner, container, "env")
    assert "A=1" in said(runner, container, "env", environment=(("A", "1"),))
    if IS_ROOT:
        assert (
            said(runner, container, "sh", "-c", "id -u; id -G; echo $HOME", user="web") == "101\n102 103\n/srv\n"
        )
        caps = said(runner, container, "grep", "CapEff", "/proc/self/status", user="web")
        assert int(caps.split()[1], 16) == 0
    else:
        with pytest.raises(InputError, match="one id"):
            said(runner, container, "id", user="web")
    with pytest.raises(InputError, match="not in the image's passwd"):
        said(runner, container, "id", user="nobody-at-all")


@pytest.mark.root
def test_command_counts_towards_the_containers_limits(runner: Runner) -> None:
    options = RunOptions(command=("sleep", "60"), is_detached=True, limits=Limits(pids=12))
    runner.run(runner.image(), options)
    (listed,) = runner.containers.all()
    script = "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo all"
    assert runner.containers.execute(listed.container, Execution(command=("sh", "-c", script)), QUIET) != 0
    assert "all" not in runner._capfd.readouterr().out


def test_command_that_is_not_there_or_the_engine_itself_is_refused(runner: Runner) -> None:
    container = runner.start("sleep 60")
    with pytest.raises(UnavailableError, match="could not run the command"):
        said(runner, container, "/no/such/program")
    with pytest.raises(InputError, match="/proc"):  # CVE-2019-5736
        said(runner, container, "/proc/self/exe")
    assert runner.containers.all()[0].pid is not None


def test_container_that_does_not_run_takes_no_command(runner: Runner) -> None:
    container = runner.start("sleep 60")
    runner.containers.stop(container, timeout_seconds=0)
    with pytest.raises(InputError, match="is not running"):
        said(runner, container, "true")


def test_container_in_the_foreground_takes_commands_too(runner: Runner) -> None:
    process = started(runner, "echo ready; sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    (listed,) = runner.containers.all()
    assert said(runner, listed.container, "sh", "-c", "echo hi") == "hi\n"
    runner.containers.stop(listed.container, timeout_seconds=0)
    process.communicate(timeout=20)


def test_user_is_looked_up_in_the_containers_own_files_behind_no_link(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("web:x:0:0::/:/bin/sh\n")
    container = runner.start(f"rm /etc/passwd; ln -s {tmp_path}/passwd /etc/passwd; touch /done; sleep 60")
    said(runner, container, "sh", "-c", "until [ -e /done ]; do :; done")
    with pytest.raises(InputError, match="not in the image's passwd"):
        said(runner, container, "id", user="web")
