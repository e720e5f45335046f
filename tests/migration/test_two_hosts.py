"""Between two hosts that share nothing but a registry, a container goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.harbour import COUNT, found, joined, last, until
from tests.migration.hosts import QUAY, Host, host, quay
from tests.simulators.registry import docker_registry

pytestmark = pytest.mark.root
SERVE = "nc -ll -p 8080 -e cat"
ASK = "echo are you there | busybox nc -w 2 127.0.0.1 8080"
# One connection that stays: each line comes back from the server, and its client writes it down.
TALK = (
    f"{SERVE} & sleep 0.3; i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done | nc 127.0.0.1 8080 > /heard; "
    "echo broken > /heard"
)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """Give two hosts, the first of which has the keys."""
    directory = tmp_path_factory.mktemp("hosts")
    with quay() as between:
        within = ["nsenter", "-t", str(between), "-n"]
        with (
            docker_registry(directory / "registry", within=within, address=QUAY) as registry,
            host(directory / "here", registry.host, quay_holder=between, number=2) as here,
            host(directory / "there", registry.host, quay_holder=between, number=3) as there,
        ):
            found(here, "1")
            joined(there, here)
            yield here, there


def test_hosts_share_nothing_but_the_registry(hosts: tuple[Host, Host]) -> None:
    here, there = hosts
    for space in ("net", "mnt"):
        spaces = {str(Path(f"{proc}/ns/{space}").readlink()) for proc in (here.proc, there.proc, "/proc/self")}
        assert len(spaces) == 3
    assert list(here.home.iterdir()) == list(there.home.iterdir()) == []  # seen from outside
    assert (here.seen_home / "keys").is_dir()
    assert not (there.seen_home / "keys").exists()


def test_counter_goes_on_counting_on_the_other_host(hosts: tuple[Host, Host]) -> None:
    here, there = hosts
    here.start("counter", COUNT)
    until(lambda: last(here.output("counter")) > 5, "the counter")
    here.run("checkpoint", "counter", here.image("counter:live"))
    stopped_at = last(here.output("counter"))
    there.run("restore", there.image("counter:live"), "--name", "counter")
    until(lambda: len(there.output("counter")) > 5, "the counter, moved")
    counted = [int(line) for line in there.output("counter")]
    assert counted == list(range(stopped_at + 1, stopped_at + 1 + len(counted)))
    assert last(here.output("counter")) == stopped_at
    there.run(
        "checkpoint", "counter", there.image("counter:back"), "--no-sign", "--leave-running"
    )  # it has no key
    assert there.leftovers()["checkpoints"] == here.leftovers()["checkpoints"] == []


def test_server_goes_on_serving_and_its_connection_is_not_broken(hosts: tuple[Host, Host]) -> None:
    here, there = hosts
    here.start("server", TALK)
    until(lambda: last(_heard(here, "server")) > 5, "the connection")
    here.run("checkpoint", "server", here.image("server:live"))
    stopped_at = last(_upper(here, "server"))
    there.run("restore", there.image("server:live"), "--name", "server")
    until(lambda: last(_heard(there, "server")) > stopped_at + 5, "the connection to go on")
    counted = [int(line) for line in _heard(there, "server")]
    assert counted == list(range(1, len(counted) + 1))
    assert there.inside("server", ASK) == "are you there\n"


def _heard(machine: Host, name: str) -> list[str]:
    try:
        return Path(f"/proc/{machine.container(name)['pid']}/root/heard").read_text().splitlines()
    except FileNotFoundError:
        return []


def _upper(machine: Host, name: str) -> list[str]:
    return (machine.directory_of(name) / "upper/heard").read_text().splitlines()
