"""Owns podman and docker as peers: an image pulled into a store of their own, and the command that runs it.

Both run it with the engine, the network and the output of the figure's other commands, from an overlay of their
store, and without the launchers of set-up in front. Neither verifies anything.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from scripts.bench.measure import Command, fixed, run
from scripts.bench.server import serving
from scripts.bench.setting import CHECKOUT, BenchError, Setting, component
from scripts.ports import free_port

_LIBRARIES = CHECKOUT / ".lab/root"
_START_SECONDS = 60.0
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")  # its own are above those of many a machine


@contextmanager
def podman(setting: Setting, name: str, image: str, command: Sequence[str], *, engine: str) -> Iterator[Command]:
    """Yield the command by which podman runs ``image``, which it has pulled; ``engine`` is the program below it.

    Raises:
        BenchError: it could not pull or run it.
    """
    directory = setting.fresh(name)
    policy = directory / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}', "utf-8")
    environ = {
        **setting.environ,
        "HOME": str(directory),
        "LD_LIBRARY_PATH": ":".join({str(path.parent) for path in _LIBRARIES.glob("usr/lib/*/libgpgme.so*")}),
        "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
    }
    configuration = CHECKOUT / ".lab/etc/containers.conf"
    if configuration.exists():
        environ["CONTAINERS_CONF"] = str(configuration)
    with TemporaryDirectory(prefix="p-") as run_directory:  # podman takes at most 50 characters
        words = (
            component("podman"),
            f"--root={directory}/root",
            f"--runroot={run_directory}/r",
            f"--tmpdir={run_directory}/t",
            "--storage-driver=overlay",
            "--cgroup-manager=cgroupfs",
            f"--runtime={engine}",
        )
        trusting = f"--signature-policy={policy}"
        told = ("--rm", "--network=none", *_LIMITS, trusting)
        try:
            run(*words, "pull", "--quiet", "--tls-verify=false", trusting, image, environ=environ)
            yield fixed(*words, "run", *told, image, *command, environ=environ)
        finally:  # podman mounts its store over itself, and leaves it so
            subprocess.run(["umount", f"{directory}/root/overlay"], check=False, capture_output=True)


@contextmanager
def dockerd(setting: Setting, name: str) -> Iterator[str]:
    """Yield the address of a docker daemon that answers, with an empty store.

    Raises:
        BenchError: it did not answer in time.
    """
    directory = setting.fresh(name)
    port = free_port()
    with TemporaryDirectory(prefix="d-") as sockets:  # a socket's path has at most 107 bytes
        argv = (
            str(CHECKOUT / ".lab/bin/dockerd")
            if (CHECKOUT / ".lab/bin/dockerd").exists()
            else component("dockerd"),
            "--iptables=false",
            "--bridge=none",
            "--storage-driver=overlay2",
            f"--data-root={directory}/data",
            f"--exec-root={sockets}/run",
            f"--pidfile={directory}/pid",
            f"--host=unix://{sockets}/docker.sock",
            f"--host=tcp://127.0.0.1:{port}",
            "--tls=false",
        )
        with serving(*argv, port=port, log=directory / "log", environ=setting.environ):
            yield f"unix://{sockets}/docker.sock"


def docker(setting: Setting, address: str, image: str, command: Sequence[str]) -> Command:
    """Return the command by which the docker daemon at ``address`` runs ``image``, which it has pulled.

    Raises:
        BenchError: it could not pull it.
    """
    environ = {**setting.environ, "DOCKER_HOST": address}
    program = component("docker")
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            run(program, "pull", "--quiet", image, environ=environ)
            break
        except BenchError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    return fixed(program, "run", "--rm", "--network=none", image, *command, environ=environ)
