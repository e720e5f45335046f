"""One supervisor looks after all detached containers: starts them again, asks after health, keeps logs."""

from __future__ import annotations

import fcntl
import os
import select
import selectors
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.runtime.conftest import Runner
from tests.runtime.supervised import ALWAYS, COUNT, TWICE, command_lines, start, supervisors, until
from tests.runtime.test_containers import WAIT_SECONDS, read_until
from trust.errors import InputError, TrustError, UnavailableError
from trust.runtime.bounded_log import bound, pieces
from trust.runtime.course import Course
from trust.runtime.disk import make_private_directory
from trust.runtime.health import HealthCheck, image_check, shell_check
from trust.runtime.options import RunOptions
from trust.runtime.plan import Care
from trust.runtime.ports import parse_port
from trust.runtime.restart import parse_restart, pause_seconds
from trust.runtime.upkeep import Supervisor
from trust.runtime.watched import Watched

if TYPE_CHECKING:
    from trust.runtime.plan import Plan


def test_one_supervisor_looks_after_all_and_ends_when_there_is_nothing_left(runner: Runner) -> None:
    for _ in range(3):
        start(runner, "sleep 60")
    assert len(supervisors(runner.workshop.home)) == 1
    for listed in runner.containers.all():
        runner.containers.remove(listed.container, force=True)
    ends = time.monotonic() + WAIT_SECONDS
    while supervisors(runner.workshop.home):
        assert time.monotonic() < ends
        time.sleep(0.1)


@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_request_that_meets_a_supervisor_which_ends_reaches_the_next(runner: Runner) -> None:
    place = make_private_directory(runner.workshop.home / "supervisor")
    lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    ending = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(place, os.O_RDONLY)
    ending.bind(f"/proc/self/fd/{directory}/control")
    ending.listen(1)

    def end() -> None:
        select.select([ending], [], [])  # somebody has connected, and is not accepted
        ending.close()
        os.close(lock)

    thread = threading.Thread(target=end)
    thread.start()
    container = start(runner, "sleep 60")
    thread.join()
    os.close(directory)
    assert until(runner, lambda one: one.pid is not None).container.identity == container.identity


def test_container_that_fails_is_started_again_as_often_as_was_said_with_its_own_files(runner: Runner) -> None:
    container = start(runner, COUNT + "exit 4", restart=TWICE)
    listed = until(runner, lambda one: one.pid is None and one.course is not None and one.course.is_over)
    assert listed.container.exit_status == 4
    assert listed.course is not None
    assert listed.course.restarts == 2
    assert runner.containers.logs(container).stdout.read_text() == "run 1\nrun 2\nrun 3\n"


def test_container_that_succeeds_is_not_started_again_on_failure_but_always_is(runner: Runner) -> None:
    start(runner, "exit 0", restart=TWICE)
    listed = until(runner, lambda one: one.course is not None and one.course.exit_status == 0)
    assert listed.course is not None
    assert (listed.course.restarts, listed.course.is_over) == (0, True)
    runner.containers.remove(listed.container)
    start(runner, "exit 0", restart=ALWAYS)
    until(runner, lambda one: one.course is not None and one.course.restarts >= 2)


def test_container_that_is_stopped_stays_so_whatever_its_policy(runner: Runner) -> None:
    container = start(runner, COUNT + "sleep 60", restart=ALWAYS)
    read_until(runner.containers.logs(container).stdout, "run 1")
    runner.containers.stop(container, timeout_seconds=0)
    until(runner, lambda one: one.course is not None and one.course.is_over)
    assert runner.containers.logs(container).stdout.read_text() == "run 1\n"


@pytest.mark.parametrize("runner", ["runc", pytest.param("crun", marks=pytest.mark.root)], indirect=True)
def test_container_that_cannot_be_started_says_why_and_leaves_no_supervision(runner: Runner) -> None:
    asked = RunOptions(command=("/no/such/program",), is_detached=True, restart=ALWAYS)
    with pytest.raises(UnavailableError, match=runner.engine.name):
        runner.run(runner.image(), asked)
    assert runner.containers.all() == ()


@pytest.mark.parametrize("runner", ["runc", pytest.param("crun", marks=pytest.mark.root)], indirect=True)
def test_health_is_what_the_container_answers(runner: Runner) -> None:
    check = HealthCheck(command=shell_check("test -e /well"), interval_seconds=0.1, retries=2)
    container = start(runner, "until [ -e /go ]; do sleep 0.05; done; touch /well; sleep 60", health=check)
    until(runner, lambda one: one.course is not None and one.course.health == "unhealthy")
    from tests.runtime.test_exec import said  # noqa: PLC0415 - parametrized for its own tests

    said(runner, container, "touch", "/go")
    until(runner, lambda one: one.course is not None and one.course.health == "healthy")


@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_health_check_that_takes_too_long_is_a_no_and_leaves_no_process(runner: Runner) -> None:
    slow = HealthCheck(command=shell_check("sleep 33"), interval_seconds=0.1, timeout_seconds=0.3, retries=1)
    container = start(runner, "sleep 60", health=slow)
    until(runner, lambda one: one.course is not None and one.course.health == "unhealthy")
    runner.containers.remove(container, force=True)
    assert b"sleep\x0033\0" not in b"|".join(command_lines())


@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_health_check_of_the_image_is_asked_without_being_told(runner: Runner) -> None:
    image = {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 100_000_000}}
    runner.run(runner.image(config=image), RunOptions(command=("sleep", "60"), is_detached=True))
    until(runner, lambda one: one.course is not None and one.course.health == "healthy")


@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_log_is_bounded_and_keeps_its_newest_whole_lines(runner: Runner) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i of many; done; echo end; sleep 60"
    container = start(runner, script, log_max_bytes=64 << 10)
    log = runner.containers.logs(container).stdout
    read_until(log, "end")
    ends = time.monotonic() + WAIT_SECONDS
    while log.stat().st_blocks * 512 > 64 << 10:
        assert time.monotonic() < ends
        time.sleep(0.1)
    with log.open("rb") as opened:
        lines = b"".join(pieces(opened)).decode().splitlines()
    assert lines[-2:] == ["line 20000 of many", "end"]
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert numbers == list(range(numbers[0], 20001))
    assert numbers[0] > 1


def test_writer_goes_on_where_he_was_when_his_log_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"".join(b"%07d\n" % number for number in range(100_000)))
        bound(path, 64 << 10)
        writer.write(b"after\n")
    with path.open("rb") as log:
        lines = b"".join(pieces(log)).splitlines()
    assert lines[-2:] == [b"0099999", b"after"]
    assert path.stat().st_blocks * 512 <= 64 << 10


def test_policies_ports_and_checks_are_spelled_one_way() -> None:
    for text in ("no", "always", "on-failure", "on-failure:5"):
        assert str(parse_restart(text)) == text
    for text in ("127.0.0.1:80:8080", "[::1]:80:8080", "0.0.0.0:1:65535"):
        assert str(parse_port(text)) == text
    assert str(parse_port("80:8080/tcp")) == "0.0.0.0:80:8080"
    for parse, texts in {
        parse_restart: ("", "never", "on-failure:", "on-failure:-1", "always:3", "on-failure:1:2"),
        parse_port: ("", "80", "0:80", "80:0", "80:65536", "80:80/udp", "x:80:80", "1.2.3.4:5:6:7", "::1:80:80"),
    }.items():
        for text in texts:
            with pytest.raises(InputError):
                parse(text)
    assert [pause_seconds(number) for number in (0, 1, 2, 100)] == [0.1, 0.2, 0.4, 60.0]
    assert image_check({"Test": ["NONE"]}) is None
    assert image_check({}) is None
    for document in (
        {"Test": "true"},
        {"Test": ["CMD"]},
        {"Test": ["OTHER", "x"]},
        {"Test": ["CMD", "x"], "Retries": -1},
    ):
        with pytest.raises(InputError):
            image_check(document)


@pytest.mark.parametrize(
    ("spelled", "interval", "timeout"),
    [(1, 1.0, 1.0), (5_000_000_000, 5.0, 5.0), (2**63 - 1, 86_400.0, 86_400.0), (0, 30.0, 30.0)],
)
def test_image_asks_once_a_second_and_waits_for_a_day_at_the_most(
    spelled: int, interval: float, timeout: float
) -> None:
    check = image_check({"Test": ["CMD", "x"], "Interval": spelled, "Timeout": spelled})
    assert check is not None
    assert (check.interval_seconds, check.timeout_seconds) == (interval, timeout)


def test_connection_that_comes_as_its_port_is_handed_on_waits_for_who_has_it_now(tmp_path: Path) -> None:
    """Both were found ready at once: the request that hands on, served first, and the port of who had it."""
    bundle = SimpleNamespace(directory=tmp_path / "old", identity="old")
    plan = SimpleNamespace(bundle=bundle, engine="runc", care=Care(), is_detached=True)
    before = Watched(cast("Plan", plan), Course())
    with socket.socket(socket.AF_UNIX) as control, socket.create_server(("127.0.0.1", 0)) as port:
        control.bind(str(tmp_path / "control"))
        port.settimeout(5)
        supervisor = Supervisor(tmp_path, control, clock=time.monotonic, share=lambda: 0.5, environ={})
        found = selectors.SelectorKey(port, port.fileno(), selectors.EVENT_READ, before)
        with socket.create_connection(port.getsockname()) as client:
            supervisor._handle(found, selectors.EVENT_READ)
            accepted, _ = port.accept()  # it waits there still
            assert accepted.getpeername() == client.getsockname()
            accepted.close()


def test_what_a_container_in_the_foreground_cannot_have_is_refused(runner: Runner) -> None:
    for options in (
        RunOptions(command=("true",), restart=ALWAYS),
        RunOptions(command=("true",), health=HealthCheck(command=("true",))),
        RunOptions(command=("true",), network="host", ports=(parse_port("80:80"),)),
    ):
        with pytest.raises(TrustError):
            runner.run(runner.image(), options)
    assert runner.containers.all() == ()
