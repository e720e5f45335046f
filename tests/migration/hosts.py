"""Hosts between which containers move: each with network, mounts and ``TRUST_HOME`` of its own, and one quay.

The quay is a third network, with a bridge and the registry; a pair of virtual devices leads to it from each host.
A host's home is a file system in memory that is mounted nowhere else. All of it is gone when its holders are.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.migration.harbour import CHECKOUT, Machine

QUAY = "10.77.0.1"


class Host(Machine):
    """A machine in namespaces that a process holds."""

    def __init__(self, directory: Path, registry: str, holder: int) -> None:
        # ``nsenter`` goes to the root of the mounts that it enters.
        back = ["sh", "-c", 'cd "$0" && exec "$@"', str(CHECKOUT)]
        super().__init__(directory, registry, within=["nsenter", "-t", str(holder), "-n", "-m", *back], plain=True)
        self.holder = holder

    @property
    def proc(self) -> Path:
        return Path(f"/proc/{self.holder}")

    @property
    def seen_home(self) -> Path:
        return self.proc / "root" / self.home.relative_to("/")

    def close(self) -> None:
        for one in self.run("ps")["containers"]:
            self.run("rm", "--force", one["name"])


@contextmanager
def held(script: str, *words: str) -> Iterator[int]:
    """Give the process that holds a network and mounts of its own, made ready by a shell script."""
    command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec"]
    holder = subprocess.Popen(
        [*command, f"{script}\necho ready; exec cat", "sh", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


@contextmanager
def quay() -> Iterator[int]:
    """Give the process that holds the network between the hosts."""
    script = "busybox ip link set lo up; busybox ip link add quay type bridge; busybox ip link set quay up"
    with held(f"{script}; busybox ip addr add {QUAY}/24 dev quay") as holder:
        yield holder


@contextmanager
def host(directory: Path, registry: str, *, quay_holder: int, number: int, size: str = "200m") -> Iterator[Host]:
    """Give a host whose home holds ``size``, led to the quay."""
    home = directory / "home"
    home.mkdir(parents=True)
    script = """
        mount -t tmpfs -o mode=700,size="$2" tmpfs "$1"
        busybox ip link set lo up
        busybox ip link add type veth
        busybox ip link set veth1 name "host$3"
        busybox ip link set "host$3" netns "$4"
        busybox ip addr add "10.77.0.$3/24" dev veth0
        busybox ip link set veth0 up
        """
    with held(script, str(home), size, str(number), str(quay_holder)) as holder:
        lead = f"busybox ip link set host{number} up; busybox brctl addif quay host{number}"
        subprocess.run(["nsenter", "-t", str(quay_holder), "-n", "sh", "-ec", lead], check=True)
        made = Host(directory, registry, holder)
        yield made
        made.close()
