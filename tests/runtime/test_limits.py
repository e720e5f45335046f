"""A limit holds under every engine that can set it, or the container is refused; it is never left out."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import Runner
from tests.runtime.images import directory
from tests.runtime.test_containers import WAIT_SECONDS
from trust.errors import InputError
from trust.run import Ended, Started
from trust.runtime.cgroup import Controllers, hierarchies_of
from trust.runtime.limits import Limits, parse_cpus, parse_memory, parse_pids
from trust.runtime.options import RunOptions, Tmpfs, parse_network, parse_tmpfs

MIB = 1 << 20
HOARD = "head -c 48m /dev/zero >/dev/shm/x && wc -c </dev/shm/x"
FORKS = "i=0; while [ $i -lt 40 ]; do sleep 2 & i=$((i+1)); done; echo all"


def groups_named(identity: str) -> list[Path]:
    return [
        path
        for mount in Controllers()._mounts
        for path in (*mount.glob(f"trust/{identity}"), *mount.glob(f"**/trust-{identity}"))
    ]


@pytest.mark.root
def test_container_that_takes_more_memory_than_its_limit_is_killed(runner: Runner) -> None:
    limited = RunOptions(command=("sh", "-c", HOARD), limits=Limits(memory_bytes=32 * MIB))
    ended = runner.run(runner.image(), limited)
    assert isinstance(ended, Ended)
    assert "50331648" not in runner._capfd.readouterr().out
    assert runner.output(HOARD).strip() == "50331648"


@pytest.mark.root
def test_container_cannot_start_more_processes_than_its_limit(runner: Runner) -> None:
    limited = RunOptions(command=("sh", "-c", FORKS), limits=Limits(pids=16), is_removed_after=True)
    runner.run(runner.image(), limited)
    assert "all" not in runner._capfd.readouterr().out
    assert runner.output(FORKS) == "all\n"


@pytest.mark.root
def test_container_gets_no_more_processor_time_than_its_limit(runner: Runner) -> None:
    options = RunOptions(command=("sh", "-c", "while :; do :; done"), is_detached=True, limits=Limits(cpus=0.1))
    started = runner.run(runner.image(), options)
    assert isinstance(started, Started)
    controllers = Controllers()
    before, began = runner.containers.usage(started.container, controllers), time.monotonic()
    time.sleep(1.5)  # what is measured is time
    after = runner.containers.usage(started.container, controllers)
    share = (after.cpu_seconds - before.cpu_seconds) / (time.monotonic() - began)
    assert 0.02 < share < 0.25


@pytest.mark.root
def test_no_control_group_is_left_of_a_container_that_is_removed(runner: Runner) -> None:
    limits = Limits(memory_bytes=64 * MIB, pids=50, cpus=1)
    started = runner.run(runner.image(), RunOptions(command=("sleep", "60"), is_detached=True, limits=limits))
    assert isinstance(started, Started)
    identity = started.container.identity
    assert groups_named(identity)
    runner.containers.remove(started.container, force=True)
    assert groups_named(identity) == []


@pytest.mark.root
def test_stats_are_the_kernels_own_and_tell_the_limits(runner: Runner) -> None:
    limits = Limits(memory_bytes=64 * MIB, pids=50)
    script = "sh -c 'while :; do :; done' & sleep 60"
    started = runner.run(runner.image(), RunOptions(command=("sh", "-c", script), is_detached=True, limits=limits))
    assert isinstance(started, Started)
    ends = time.monotonic() + WAIT_SECONDS
    while (used := runner.containers.usage(started.container, Controllers())).cpu_seconds < 0.2:
        assert time.monotonic() < ends
    assert (used.memory_limit_bytes, used.pids_limit) == (64 * MIB, 50)
    assert 0 < used.memory_bytes < 64 * MIB
    assert 2 <= used.pids <= 5
    assert used.is_exact == (runner.engine.name != "bubblewrap")


def test_container_without_limits_has_stats_too(runner: Runner) -> None:
    container = runner.start("sleep 60")
    used = runner.containers.usage(container, Controllers())
    assert used.memory_bytes > 0
    assert used.pids >= 1
    runner.containers.stop(container, timeout_seconds=0)
    with pytest.raises(InputError, match="is not running"):
        runner.containers.usage(container, Controllers())


@pytest.mark.skipif(os.geteuid() == 0, reason="of an ordinary user")
def test_limit_that_an_ordinary_user_cannot_set_is_refused_and_nothing_is_started(runner: Runner) -> None:
    with pytest.raises(InputError, match="memory cannot be limited: no control group was delegated"):
        runner.run(runner.image(), RunOptions(command=("true",), limits=Limits(memory_bytes=64 * MIB)))
    assert runner.containers.all() == ()


@pytest.mark.root
@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_delegated_group_is_where_an_ordinary_users_container_is_put(runner: Runner) -> None:
    """Root has every group; what is delegated is made out of our own, as a login manager would."""
    controllers = Controllers()
    own = controllers.groups_of("self")["pids"] / f"delegated-{os.getpid()}"
    own.mkdir()
    before = controllers.groups_of("self")["pids"]
    try:
        (own / "cgroup.procs").write_text(str(os.getpid()))
        groups = controllers.make("0" * 32, Limits(pids=7), is_root=False)
        assert groups.directories == (own / f"trust-{'0' * 32}",)
        assert (groups.directories[0] / "pids.max").read_text() == "7\n"
        controllers.remove("0" * 32)
        assert list(own.glob("trust*")) == []
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))
        with suppress(OSError):
            own.rmdir()


def test_every_layout_of_control_groups_is_read(tmp_path: Path) -> None:
    v1 = "33 28 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    both = v1 + "34 28 0:31 / /sys/fs/cgroup/cpu\\040x rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    found = hierarchies_of(both)
    assert {name: str(one.mount) for name, one in found.items()} == {
        "memory": "/sys/fs/cgroup/memory",
        "cpu": "/sys/fs/cgroup/cpu x",
        "cpuacct": "/sys/fs/cgroup/cpu x",
    }
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids hugetlb\n")
    unified = f"35 28 0:32 /user.slice {tmp_path} rw - cgroup2 cgroup2 rw,nsdelegate\n"
    only = hierarchies_of(unified)
    assert set(only) == {"cpu", "memory", "pids", "cpuacct"}
    assert all(one.is_unified for one in only.values())
    assert only["memory"].group("/user.slice/a/b") == tmp_path / "a/b"
    hybrid = hierarchies_of(unified + v1)  # what v1 has, v2 cannot have
    assert (hybrid["memory"].is_unified, hybrid["pids"].is_unified) == (False, True)


def test_limits_are_spelled_one_way_and_near_misses_are_refused() -> None:
    assert (parse_memory("256m"), parse_memory("1G"), parse_memory("1048576")) == (256 * MIB, 1024 * MIB, MIB)
    assert (parse_pids("100"), parse_cpus("0.5"), parse_cpus("2")) == (100, 0.5, 2.0)
    assert parse_tmpfs("/run:16m") == Tmpfs(target="/run", size_bytes=16 * MIB)
    assert parse_network("private") == "private"
    for parse, texts in {
        parse_memory: ("0", "-1m", "1.5g", "10x", "512k", "", "9" * 20, "\u0661m"),
        parse_pids: ("0", "-1", "", "1e3", "99999999"),
        parse_cpus: ("0", "0.001", "-1", "nan", "inf", "1,5", ""),
        parse_tmpfs: ("/", "run", "/run:x", "/proc/x", "/a/../b"),
    }.items():
        for text in texts:
            with pytest.raises(InputError):
                parse(text)


def test_directory_in_memory_is_empty_writable_and_bounded(runner: Runner) -> None:
    asked: dict[str, Any] = {"tmpfs": (Tmpfs(target="/scratch/deep", size_bytes=MIB),), "is_read_only": True}
    script = (
        "ls -A /scratch/deep; touch /scratch/deep/x && echo written; "
        "head -c 2m /dev/zero >/scratch/deep/y 2>/dev/null || echo full"
    )
    assert runner.output(script, directory("scratch"), **asked) == "written\nfull\n"


def test_private_network_has_a_loopback_of_its_own_and_nothing_else(runner: Runner) -> None:
    script = "ls /proc/sys/net/ipv4/conf; "
    script += "nc -l -p 8080 -e echo hello & busybox sleep 0.3; nc 127.0.0.1 8080"
    seen = runner.output(script, network="private").split()
    assert seen == ["all", "default", "lo", "hello"]
