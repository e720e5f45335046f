"""A published port leads into its container and nowhere else, and is free again afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from scripts.ports import free_port
from tests.runtime.conftest import Runner
from tests.runtime.supervised import answer, start
from tests.runtime.test_containers import WAIT_SECONDS, read_until
from trust.errors import UnavailableError
from trust.runtime.ports import Port, parse_port


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
