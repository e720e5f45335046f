"""Owns the servers that a figure needs: real programs on a port of the loopback device, ended with the figure."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.setting import BenchError, Setting, component
from scripts.ports import free_port

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A process, perhaps with others below it, that answers on ``port`` of the loopback device."""

    port: int
    process_id: int


@contextmanager
def docker_registry(setting: Setting, name: str) -> Iterator[int]:
    """Yield the port of a docker-registry; otherwise as ``registry_server``."""
    with registry_server(setting, name) as server:
        yield server.port


@contextmanager
def registry_server(setting: Setting, name: str) -> Iterator[Server]:
    """Yield a docker-registry (CNCF distribution) that answers, empty, without login or TLS.

    Raises:
        BenchError: it did not answer in time.
    """
    directory = setting.fresh(name)
    port = free_port()
    configuration = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of the benchmark"},
    }
    (directory / "config.yml").write_text(json.dumps(configuration), "utf-8")  # JSON is YAML
    environ = {key: value for key, value in setting.environ.items() if not key.startswith("REGISTRY_")}
    argv = (component("docker-registry"), "serve", str(directory / "config.yml"))
    with serving(*argv, port=port, log=directory / "log", environ=environ) as process_id:
        yield Server(port=port, process_id=process_id)


@contextmanager
def static_server(setting: Setting, directory: Path) -> Iterator[int]:
    """Yield the port of an nginx that serves the files of ``directory``, with their ETags.

    Raises:
        BenchError: it did not answer in time.
    """
    place = setting.fresh("static-server")
    port = free_port()
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{name}_temp_path {place}/{name};" for name in names)
    user = "user root; " if os.geteuid() == 0 else ""  # its worker would not be let into our directories
    (place / "nginx.conf").write_text(
        f"{user}daemon off; pid {place}/pid; error_log stderr; worker_processes 1; events {{}}"
        f" http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {directory}; }} }}",
        "utf-8",
    )
    argv = (component("nginx"), "-e", "stderr", "-c", str(place / "nginx.conf"))
    with serving(*argv, port=port, log=place / "log", environ=setting.environ):
        yield port


@contextmanager
def serving(*argv: str, port: int, log: Path, environ: Mapping[str, str]) -> Iterator[int]:
    """Have ``argv`` answer on ``port`` of the loopback device meanwhile; yield its process id.

    What it says goes to ``log``.

    Raises:
        BenchError: it did not answer within ``_START_SECONDS``.
    """
    with log.open("wb") as output:
        server = subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_until_answering(server, argv[0], port, log)
        yield server.pid
    finally:
        _stop(server)


def _wait_until_answering(server: subprocess.Popen[bytes], program: str, port: int, log: Path) -> None:
    gives_up = time.monotonic() + _START_SECONDS
    while not _is_answering(port):
        if server.poll() is not None or time.monotonic() > gives_up:
            said = log.read_text("utf-8", errors="replace")[-500:]
            raise BenchError(f"{Path(program).name} does not answer on 127.0.0.1:{port}: {said}")
        time.sleep(0.05)


def _is_answering(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
