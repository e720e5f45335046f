"""Owns published ports: what the user asks for, the host's end, and sockets inside a container's network.

A socket belongs to the network in which it was made, whoever connects it and wherever. So the container's network
needs no device, no address and no rule: a child that has stepped into it makes sockets, hands them back, and ends.
Works for root and, by way of the container's user namespace, for an ordinary user. Source: ioctl_ns(2), unix(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import socket
from contextlib import suppress
from pathlib import Path

from trust.errors import InputError, UnavailableError
from trust.value import dataclass

PORT_MAX = 65535
BACKLOG = 128
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_NS_GET_USERNS = 0xB701


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """``host`` of the host's ``address`` leads to ``container`` of the container, over TCP."""

    address: str
    host: int
    container: int

    def __str__(self) -> str:
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return f"{shown}:{self.host}:{self.container}"


def parse_port(text: str) -> Port:
    """Return the port that ``[IP:]HOST:CONTAINER[/tcp]`` publishes; without an IP, on every address of IPv4.

    Raises:
        InputError: it is malformed, or of another protocol.
    """
    rest, _, protocol = text.partition("/")
    address, _, pair = rest.rpartition("]:") if rest.startswith("[") else ("", "", rest)
    if address:
        parts = [address[1:], *pair.split(":")]
    else:
        parts = pair.split(":")
        parts = ["0.0.0.0", *parts] if len(parts) == 2 else parts  # noqa: PLR2004, S104 - HOST:CONTAINER
    if len(parts) != 3 or protocol not in ("", "tcp"):  # noqa: PLR2004
        raise InputError(f"port is malformed: expected [IP:]HOST:CONTAINER[/tcp], got {text[:80]!r}")
    try:
        place = str(ipaddress.ip_address(parts[0]))
    except ValueError as err:
        raise InputError(f"port is malformed: expected an IP address, got {parts[0][:80]!r}") from err
    return Port(address=place, host=_number(parts[1]), container=_number(parts[2]))


def listening(port: Port) -> socket.socket:
    """Return the host's end of a published port, listening.

    Raises:
        UnavailableError: somebody has it, or it is not ours to have.
    """
    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.setblocking(False)  # noqa: FBT003 - the library has no word for it
        door.bind((port.address, port.host))
        door.listen(BACKLOG)
    except OSError as err:
        door.close()
        raise UnavailableError(f"port {port} cannot be published: {err.strerror}") from err
    return door


def sockets_inside(pid: int, count: int) -> list[socket.socket]:
    """Return ``count`` new sockets of the network in which the process ``pid`` is.

    Forks: the caller has one thread.

    Raises:
        OSError: it has ended, or the kernel refuses.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            ours.close()
            _step_into(pid)
            made = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
            socket.send_fds(theirs, [b"!"], [one.fileno() for one in made])
        os._exit(0)
    theirs.close()
    try:
        _, descriptors, _, _ = socket.recv_fds(ours, 1, count)
    finally:
        ours.close()
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
    if not descriptors:
        raise OSError(f"network of process {pid} cannot be entered")
    made = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for one in made:
        one.setblocking(False)  # noqa: FBT003
    return made


def _step_into(pid: int) -> None:
    """Be in the network of ``pid``, first in the user namespace that owns it: a sandbox may be in another."""
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    owner = fcntl.ioctl(network, _NS_GET_USERNS)
    if not os.path.samestat(os.fstat(owner), Path("/proc/self/ns/user").stat()):
        _enter(owner, _CLONE_NEWUSER)
    _enter(network, _CLONE_NEWNET)


def _enter(namespace: int, kind: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _number(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(PORT_MAX)) else 0
    if not 1 <= number <= PORT_MAX:
        raise InputError(f"port is malformed: expected 1 to {PORT_MAX}, got {text[:40]!r}")
    return number
