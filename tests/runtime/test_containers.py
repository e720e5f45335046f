"""Containers are found again by whoever comes later, stopped, read and removed; the engine has the last word."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.runtime.conftest import Runner
from tests.runtime.images import NOW, directory
from trust.errors import InputError, StateError
from trust.run import Ended
from trust.runtime.containers import Containers
from trust.runtime.host import open_containers
from trust.runtime.options import RunOptions, Volume

WAIT_SECONDS = 15.0
PATIENT = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def read_until(path: Path, wanted: str) -> str:
    """Return the log once it has ``wanted``; a container that never says it fails the test."""
    ends = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < ends:
        text = path.read_text()
        if wanted in text:
            return text
        time.sleep(0.01)
    raise AssertionError(f"expected {wanted!r} in {path.name}, got {path.read_text()!r}")


def test_detached_container_runs_on_and_is_found_by_name_and_identity(runner: Runner) -> None:
    container = runner.start("echo out; echo err >&2; sleep 60", name="web.1")
    later = open_containers(runner.host)  # another command, later
    for text in ("web.1", container.identity, container.identity[:12], container.identity[:3]):
        assert later.find(text) == container
    (listed,) = later.all()
    assert listed.pid is not None
    os.kill(listed.pid, 0)
    logs = later.logs(container)
    assert read_until(logs.stdout, "out") == "out\n"
    assert read_until(logs.stderr, "err") == "err\n"
    assert (container.image, container.created_at) == ("registry.example.com/acme/web:1.4", NOW)


def test_stop_asks_first_and_the_container_can_say_goodbye(runner: Runner) -> None:
    container = runner.start(PATIENT)
    log = runner.containers.logs(container).stdout
    read_until(log, "ready")
    assert runner.containers.stop(container)
    assert log.read_text() == "ready\nbye\n"
    assert [listed.pid for listed in runner.containers.all()] == [None]
    assert not runner.containers.stop(container)  # it is true already


def test_stop_kills_what_does_not_listen(runner: Runner) -> None:
    container = runner.start(DEAF)
    read_until(runner.containers.logs(container).stdout, "ready")
    began = time.monotonic()
    assert runner.containers.stop(container, timeout_seconds=0.3)
    assert 0.3 <= time.monotonic() - began < WAIT_SECONDS
    assert [listed.pid for listed in runner.containers.all()] == [None]


def test_stop_sends_the_signal_that_the_image_wants(runner: Runner) -> None:
    script = "trap 'echo quit; exit 0' QUIT; trap '' TERM; echo ready; while :; do sleep 0.05; done"
    manifest = runner.image(config={"Cmd": ["/bin/sh", "-c", script], "StopSignal": "SIGQUIT"})
    runner.run(manifest, RunOptions(is_detached=True))
    (listed,) = runner.containers.all()
    assert listed.container.stop_signal == signal.SIGQUIT
    log = runner.containers.logs(listed.container).stdout
    read_until(log, "ready")
    assert runner.containers.stop(listed.container)
    assert log.read_text() == "ready\nquit\n"


def wait_until_ended(runner: Runner) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while runner.containers.all()[0].pid is not None and time.monotonic() < ends:
        time.sleep(0.01)


def test_container_that_has_ended_is_not_running_whatever_its_record_says(runner: Runner) -> None:
    container = runner.start("echo done")
    read_until(runner.containers.logs(container).stdout, "done")
    wait_until_ended(runner)
    assert runner.containers.all()[0].pid is None


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("true", 0), ("sh -c 'kill -9 $$'; exit $?", 137)])
def test_detached_container_has_an_exit_status(runner: Runner, script: str, status: int) -> None:
    runner.start(script)
    ends = time.monotonic() + WAIT_SECONDS
    while (listed := runner.containers.all()[0]).container.exit_status is None and time.monotonic() < ends:
        time.sleep(0.01)
    assert (listed.container.exit_status, listed.pid) == (status, None)


def test_container_that_runs_has_no_exit_status(runner: Runner) -> None:
    runner.start("sleep 60")
    assert runner.containers.all()[0].container.exit_status is None


def test_process_that_has_taken_the_number_of_a_dead_container_is_not_killed(runner: Runner) -> None:
    container = runner.start("sleep 60")
    (listed,) = runner.containers.all()
    assert listed.pid is not None
    os.kill(listed.pid, signal.SIGKILL)  # by somebody else
    assert not runner.containers.stop(container) or runner.containers.all()[0].pid is None
    runner.containers.remove(container)


def test_remove_refuses_what_runs_and_leaves_nothing_of_what_does_not(runner: Runner) -> None:
    container = runner.start("mkdir /a; chmod 0 /a; " + PATIENT, directory("d", 0o500), name="web")
    read_until(runner.containers.logs(container).stdout, "ready")
    with pytest.raises(InputError, match="is running"):
        runner.containers.remove(container)
    assert runner.containers.all()[0].pid is not None
    runner.containers.remove(container, force=True)
    assert runner.containers.all() == ()
    assert not (runner.workshop.home / "containers" / container.identity).exists()
    assert list((runner.workshop.home / "containers").iterdir()) == [runner.workshop.home / "containers/names"]
    assert list((runner.workshop.home / "containers/names").iterdir()) == []
    assert not list(runner.workshop.home.glob(f"engines/*/{container.identity}"))
    groups = {name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names}  # others' come and go meanwhile
    assert container.identity not in groups


def test_name_is_taken_until_its_container_is_removed(runner: Runner) -> None:
    container = runner.start("sleep 60", name="web")
    with pytest.raises(InputError, match="name is taken") as caught:
        runner.start("true", name="web")
    assert caught.value.hint == "trust rm web"
    assert len(runner.containers.all()) == 1
    runner.containers.remove(container, force=True)
    runner.start("sleep 60", name="web")
    assert [listed.container.name for listed in runner.containers.all()] == ["web"]


def test_name_whose_owner_died_while_it_was_made_is_free(runner: Runner) -> None:
    names = runner.workshop.home / "containers/names"
    names.mkdir(parents=True)
    (names / "web").symlink_to("0" * 32)
    runner.start("true", name="web")


def test_names_that_nobody_has_and_beginnings_that_two_have_are_refused(runner: Runner) -> None:
    runner.start("sleep 60")
    for text in ("nobody", "", "g"):
        with pytest.raises(InputError, match="no container"):
            runner.containers.find(text)
    record = json.loads((runner.directory() / "record.json").read_text())
    twin = runner.containers.directory("0" * 32), runner.containers.directory("0" * 31 + "1")
    for path in twin:
        shutil.copytree(runner.directory(), path, ignore=lambda *_: {"rootfs", "upper", "work", "files", "alive"})
        (path / "record.json").write_text(json.dumps({**record, "name": path.name}))
        (path.parent / "names" / path.name).symlink_to(f"../{path.name}")
    with pytest.raises(InputError, match="more than one"):
        runner.containers.find("00")


def test_container_of_the_foreground_keeps_its_status_and_has_no_logs(runner: Runner) -> None:
    ended = runner.run(runner.image(), RunOptions(command=("sh", "-c", "exit 9"), name="once"))
    assert isinstance(ended, Ended)
    found = runner.containers.find("once")
    assert found.exit_status == 9
    with pytest.raises(InputError, match="foreground"):
        runner.containers.logs(found)
    runner.containers.remove(found)


def test_detached_container_cannot_be_removed_after_or_read(runner: Runner) -> None:
    for options in (
        RunOptions(is_detached=True, is_removed_after=True),
        RunOptions(is_detached=True, interactive=True),
    ):
        with pytest.raises(InputError, match="detached"):
            runner.run(runner.image(config={"Cmd": ["true"]}), options)
    assert runner.containers.all() == ()


def test_forced_removal_of_a_container_in_the_foreground_ends_both(runner: Runner, tmp_path: Path) -> None:
    signs = tmp_path / "signs"
    signs.mkdir()

    def remove() -> None:
        ends = time.monotonic() + WAIT_SECONDS
        while not (signs / "ready").exists() and time.monotonic() < ends:
            time.sleep(0.01)
        (listed,) = runner.containers.all()
        runner.containers.remove(listed.container, force=True)

    remover = threading.Thread(target=remove)
    remover.start()
    volume = Volume(source=signs, target="/signs", is_read_only=False)
    options = RunOptions(command=("sh", "-c", "touch /signs/ready; sleep 60"), volumes=(volume,))
    ended = runner.run(runner.image(), options)
    remover.join()
    assert isinstance(ended, Ended)
    # It is asked to stop, and killed at once: a shell that is not the first process may have obeyed by then.
    assert ended.exit_status in {128 + signal.SIGTERM, 128 + signal.SIGKILL}
    assert runner.containers.all() == ()


def test_removal_that_was_killed_is_finished_by_the_next(runner: Runner) -> None:
    half = runner.workshop.home / "containers" / ("." + "0" * 32)
    (half / "rootfs/d").mkdir(parents=True)
    container = runner.start("true")
    assert [listed.container.identity for listed in runner.containers.all()] == [container.identity]
    runner.containers.remove(container, force=True)
    assert not half.exists()


def test_record_that_is_damaged_is_said_to_be(runner: Runner) -> None:
    container = runner.start("true", name="web")
    path = runner.directory() / "record.json"
    whole = path.read_text()
    for damage in ("{", json.dumps({"name": "web"})):
        path.write_text(damage)
        with pytest.raises(StateError, match="record"):
            runner.containers.all()
    path.write_text(whole)
    assert runner.containers.find("web") == container


def test_home_without_containers_has_none(tmp_path: Path) -> None:
    containers = Containers(tmp_path, engine_named=lambda _: pytest.fail("there is nothing to ask an engine"))
    assert containers.all() == ()
    with pytest.raises(InputError, match="no container"):
        containers.find("web")
