"""One supervisor looks after all detached containers, and can be killed whenever somebody likes."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.runtime.conftest import Runner
from tests.runtime.images import file
from tests.runtime.test_containers import WAIT_SECONDS, read_until
from tests.runtime.test_run import ROOT
from trust.errors import InputError, TrustError, UnavailableError
from trust.run import Started
from trust.runtime.bounded_log import bound, pieces
from trust.runtime.containers import Listed
from trust.runtime.disk import make_private_directory
from trust.runtime.health import HealthCheck, image_check, shell_check
from trust.runtime.options import RunOptions
from trust.runtime.ports import Port, parse_port
from trust.runtime.record import Container
from trust.runtime.restart import RestartPolicy, parse_restart, pause_seconds
from trust.runtime.supervision import attend

TWICE = RestartPolicy(when="on-failure", tries=2)
ALWAYS = RestartPolicy(when="always")
COUNT = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n >/n; echo run $n; "


def start(runner: Runner, script: str, **options: object) -> Container:
    asked = RunOptions(command=("/bin/sh", "-c", script), is_detached=True, **options)  # type: ignore[arg-type]
    started = runner.run(runner.image(file("marker")), asked)
    assert isinstance(started, Started)
    return started.container


def until(runner: Runner, holds: Callable[[Listed], bool], container: Container | None = None) -> Listed:
    """Return the container once it is as it is expected to be; one that never is fails the test."""
    ends = time.monotonic() + WAIT_SECONDS
    while True:
        found = runner.containers.all()
        listed = next(one for one in found if container is None or one.container.identity == container.identity)
        if holds(listed):
            return listed
        assert time.monotonic() < ends, f"it never was: {listed}"
        time.sleep(0.02)


def command_lines() -> list[bytes]:
    """Return those of all processes; one may end while it is looked at."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return found


def supervisors(home: Path) -> list[int]:
    """Return the supervisors of a home, but for their children, which look alike until they have ended."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"trust.runtime.supervisor" in words and os.fsencode(home) in words:
                found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in found.items() if parent not in found]


def kill_supervisor(runner: Runner) -> None:
    for pid in supervisors(runner.workshop.home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while supervisors(runner.workshop.home):
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def answer(port: int, said: bytes = b"hello\n") -> bytes:
    """Return what comes back of ``said``; a server in a container that has just started is waited for."""
    ends = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as door:
                door.sendall(said)
                found = b""
                while len(found) < len(said) and (piece := door.recv(1 << 16)):
                    found += piece
                if found:
                    return found
        except OSError:
            pass
        assert time.monotonic() < ends, "nobody answers"
        time.sleep(0.05)


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


def test_published_port_leads_into_the_container_and_is_free_again_afterwards(runner: Runner) -> None:
    port = free_port()
    container = start(runner, "nc -ll -p 8080 -e cat", ports=(parse_port(f"127.0.0.1:{port}:8080"),))
    assert answer(port) == b"hello\n"
    large = os.urandom(1 << 20)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as door:
        sending = subprocess.Popen([sys.executable, "-c", SEND, str(door.fileno())], stdin=subprocess.PIPE,
                                   pass_fds=[door.fileno()])  # fmt: skip
        assert sending.stdin is not None
        sending.stdin.write(large)
        sending.stdin.close()
        found = b""
        while len(found) < len(large) and (piece := door.recv(1 << 16)):
            found += piece
        sending.wait()
    assert found == large
    runner.containers.remove(container, force=True)
    ends = time.monotonic() + WAIT_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                break
        assert time.monotonic() < ends
        time.sleep(0.05)


SEND = """
import socket, sys
door = socket.socket(fileno=int(sys.argv[1]))
door.sendall(sys.stdin.buffer.read())
door.detach()
"""


def test_port_that_somebody_has_is_refused_and_nothing_is_started(runner: Runner) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        port = Port(address="127.0.0.1", host=door.getsockname()[1], container=80)
        with pytest.raises(UnavailableError, match="cannot be published: Address already in use"):
            start(runner, "sleep 60", ports=(port,))
    assert runner.containers.all() == ()


def test_published_container_reaches_nothing_of_the_hosts_network(runner: Runner) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        there = door.getsockname()[1]
        script = f"nc -w 1 127.0.0.1 {there} </dev/null && echo reached || echo not; sleep 60"
        container = start(runner, script, ports=(Port(address="127.0.0.1", host=free_port(), container=80),))
        assert read_until(runner.containers.logs(container).stdout, "not") == "not\n"


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


def test_killed_supervisor_is_replaced_and_takes_up_what_was_left(runner: Runner) -> None:
    port = free_port()
    served = start(runner, "nc -ll -p 8080 -e cat", ports=(parse_port(f"127.0.0.1:{port}:8080"),), restart=ALWAYS)
    waiting = start(runner, "sleep 0.2; exit 9", restart=ALWAYS)
    ended = start(runner, "exit 5")
    until(runner, lambda one: one.container.exit_status == 5, ended)
    assert answer(port) == b"hello\n"
    kill_supervisor(runner)
    listed = until(runner, lambda one: one.pid is not None, served)  # it does not hang on us
    attend(runner.workshop.home, runner.host.environ)
    assert answer(port) == b"hello\n"
    assert until(runner, lambda _: True, served).pid == listed.pid
    before = until(runner, lambda one: one.course is not None, waiting).course
    assert before is not None
    restarts = before.restarts
    until(runner, lambda one: one.course is not None and one.course.restarts > restarts, waiting)
    assert until(runner, lambda _: True, ended).container.exit_status == 5
    os.kill(listed.pid or 0, signal.SIGKILL)  # the one whose parent we are not
    until(runner, lambda one: one.pid is not None and one.pid != listed.pid, served)
    assert answer(port) == b"hello\n"


@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_supervisor_that_is_dying_yet_is_replaced_all_the_same(runner: Runner) -> None:
    home = runner.workshop.home
    place = make_private_directory(home / "supervisor")
    lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as one that was killed, whose files the kernel has not closed yet
    dying = threading.Timer(0.2, os.close, (lock,))
    dying.start()
    attend(home, runner.host.environ)
    dying.join()
    ends = time.monotonic() + WAIT_SECONDS
    while not supervisors(home):  # its command line is there a moment after it
        assert time.monotonic() < ends


START = """
import secrets, sys
from pathlib import Path
from tests.runtime.images import NOW, allowed, deadline, host, image_bytes, busybox_layer
from trust.oci.layout import Layout
from trust.run import run
from trust.runtime.host import open_engine, open_containers
from trust.runtime.options import RunOptions
from trust.runtime.restart import parse_restart
from trust.runtime.source import LayoutSource

source, here = Layout.open(Path(sys.argv[1])), host(Path(sys.argv[2]))
image = allowed(image_bytes(source, busybox_layer()))
for number in range(100):
    run(image, identity=secrets.token_hex(16), host=here, now=NOW, engine=open_engine(sys.argv[3], here),
        options=RunOptions(command=("sleep", "300"), is_detached=True, restart=parse_restart("always")),
        source=LayoutSource(layout=source), deadline=deadline())
    for one in open_containers(here).all():
        if one.container.name != "kept":
            open_containers(here).remove(one.container, force=True)
"""


def engine_states(home: Path) -> set[str]:
    return {path.name for path in home.glob("engines/*/*")}


def of_ours(home: Path) -> list[int]:
    """Return every process of ours of this home: commands, supervisors, their workers; no container's."""
    found = supervisors(home)
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == os.fsencode(sys.executable) and os.fsencode(home) in words:
                found.append(int(path.name))
    return found


@pytest.mark.parametrize("round_", range(6))
def test_everything_of_ours_may_be_killed_at_any_moment_and_nothing_is_lost_or_left(
    runner: Runner, round_: int
) -> None:
    home = runner.workshop.home
    kept = start(runner, "echo ready; sleep 300", name="kept", restart=ALWAYS)
    first = until(runner, lambda one: one.pid is not None).pid
    paths = [str(runner.workshop.source.directory), str(home), runner.engine.name]
    command = subprocess.Popen(
        [sys.executable, "-c", START, *paths],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.3 + (round_ * 0.618 + len(runner.engine.name) * 0.233) % 0.7)  # a moment that nobody chose
    for pid in of_ours(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    command.wait()
    time.sleep(0.3)  # engines are not ours: what one was about to do it does
    runner.containers.sweep()
    found = {one.container.identity: one for one in runner.containers.all()}
    assert found[kept.identity].pid == first  # what ran runs, and is known
    attend(home, runner.host.environ)
    another = start(runner, "echo ready; sleep 300")
    assert another.identity in {one.container.identity for one in runner.containers.all() if one.pid}
    for listed in runner.containers.all():
        runner.containers.remove(listed.container, force=True)
    runner.containers.sweep()
    assert runner.containers.all() == ()
    assert [path.name for path in (home / "containers").iterdir()] == ["names"]
    assert list((home / "containers/names").iterdir()) == []
    assert engine_states(home) == set()
    assert b"/bin/sh\0-c\0echo ready; sleep 300\0" not in command_lines()


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


def test_what_a_container_in_the_foreground_cannot_have_is_refused(runner: Runner) -> None:
    for options in (
        RunOptions(command=("true",), restart=ALWAYS),
        RunOptions(command=("true",), health=HealthCheck(command=("true",))),
        RunOptions(command=("true",), network="host", ports=(parse_port("80:80"),)),
    ):
        with pytest.raises(TrustError):
            runner.run(runner.image(), options)
    assert runner.containers.all() == ()
