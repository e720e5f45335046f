"""The shim speaks to a service manager on a real socket, and takes over sockets that it was started with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_shim.systemd import listen_fds
from trust.notify import Notifier, watchdog_seconds

_ROOT = Path(__file__).parents[2]


class Manager:
    """A service manager's end of the notify socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(10)

    def heard(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@shim-test-{os.getpid()}")
    yield manager
    manager.close()


def test_the_manager_hears_each_state(manager: Manager) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": manager.address})
    before = time.monotonic_ns() // 1000
    assert notifier.ready("2 collections")
    assert manager.heard() == ["READY=1", "STATUS=2 collections"]
    assert notifier.reloading()
    reloading, moment = manager.heard()
    assert reloading == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]
    assert notifier.stopping()
    assert manager.heard() == ["STOPPING=1"]


def test_a_registrys_words_cannot_say_anything_else(manager: Manager) -> None:
    assert Notifier(address=manager.address).status("no answer\nREADY=1\r\nMAINPID=1 \udcff" + "x" * 9_000)
    (line,) = manager.heard()
    assert line.startswith("STATUS=no answer READY=1 MAINPID=1 ?xxx")
    assert len(line) < 600


def test_a_child_that_was_told_the_socket_is_heard(manager: Manager) -> None:
    program = "from trust.notify import Notifier; raise SystemExit(not Notifier.of().ready('from a child'))"
    environ = {**os.environ, "NOTIFY_SOCKET": manager.address}
    subprocess.run([sys.executable, "-c", program], env=environ, cwd=_ROOT, check=True)
    assert manager.heard() == ["READY=1", "STATUS=from a child"]


def test_without_a_manager_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    for address in ("", "vsock:2:1", str(tmp_path / "nobody"), "@nobody-listens-here", "/" + "x" * 300):
        assert not Notifier(address=address).ready()


def test_a_manager_that_does_not_read_holds_up_nobody(manager: Manager) -> None:
    notifier = Notifier(address=manager.address)
    began = time.monotonic()
    assert not all(notifier.alive() for _ in range(5_000))
    assert time.monotonic() - began < 10


def test_the_watchdog_is_for_the_process_it_names() -> None:
    assert watchdog_seconds({}) == 0
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000"}) == 30
    assert watchdog_seconds({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}) == 0.5
    assert watchdog_seconds({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}) == 0
    assert watchdog_seconds({"WATCHDOG_USEC": "soon"}) == 0


_TAKES_OVER = """
import os, subprocess, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from registry_shim.systemd import listen_fds
passed = listen_fds()
assert not [name for name in os.environ if name.startswith("LISTEN_")]
assert listen_fds() == []
inherited = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False).stdout
for name, taken in passed:
    assert f"[{os.fstat(taken.fileno()).st_ino}]" not in inherited
    peer, _ = taken.accept()
    peer.sendall(f"{name} {taken.family.name} {taken.type.name}".encode())
    peer.close()
"""
_STARTS = """
import os, sys
for place, fd in enumerate(map(int, sys.argv[2:]), 3):
    os.dup2(fd, place + 100, inheritable=False)
    os.set_inheritable(fd, False)
for place in range(3, 3 + len(sys.argv[2:])):
    os.dup2(place + 100, place)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""


def test_sockets_are_taken_over_by_name_and_no_child_sees_them(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "operations"))
        local.listen()
        environ = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "registry:operations"}
        numbers = (web.fileno(), local.fileno())
        child = subprocess.Popen(
            [sys.executable, "-c", _STARTS, _TAKES_OVER, *map(str, numbers)],
            env=environ,
            cwd=_ROOT,
            pass_fds=numbers,
        )
        with child, socket.create_connection(web.getsockname()) as one, socket.socket(socket.AF_UNIX) as other:
            other.connect(str(tmp_path / "operations"))
            for client in (one, other):
                client.settimeout(20)
            assert one.recv(100) == b"registry AF_INET SOCK_STREAM"
            assert other.recv(100) == b"operations AF_UNIX SOCK_STREAM"
        assert child.returncode == 0


def test_sockets_of_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert listen_fds(environ) == []
    assert environ == {"HOME": "/"}
    assert listen_fds({}) == []


def test_what_is_no_socket_is_named() -> None:
    program = (
        "import os; os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.dup2(0, 3)\n"
        "from registry_shim.systemd import listen_fds\nfrom trust.errors import InputError\n"
        "try: listen_fds()\nexcept InputError as err: print(err)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=True,
    )
    assert done.stdout.startswith("socket activation: descriptor 3 (unknown) is no socket: ")
