"""Owns the way out of this machine: names to addresses, addresses to sockets, and which of them are local.

Imported only once a connection is really made.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from trust.value import dataclass

_V4_LENGTH = 4
_LOCAL_V4 = (b"\x00", b"\x7f", b"\xa9\xfe")  # 0/8 "this host", 127/8 loopback, 169.254/16 link-local
_CARRIES_V4 = (b"\x00" * 10 + b"\xff\xff", b"\x00" * 12, b"\x00\x64\xff\x9b" + b"\x00" * 8)  # mapped, ::/96, NAT64
_LINK_LOCAL_V6, _LINK_LOCAL_MASK = 0xFE80, 0xFFC0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A numeric IP address and a port."""

    ip: str
    port: int

    @property
    def is_local(self) -> bool:
        """Tell whether only this machine or its link answers here: loopback, link-local, unspecified, metadata.

        IPv4 inside IPv6 (mapped, compatible, NAT64) is judged as the IPv4 it reaches; what cannot be judged
        counts as local.
        """
        packed = _packed(self.ip.partition("%")[0])
        return packed is None or _is_local(packed)


class Network(Protocol):
    """What ``Http`` needs of the operating system; tests stand their own names and addresses behind it."""

    def resolve(self, host: str, port: int, timeout_seconds: float) -> list[Address]:
        """Return the addresses of ``host`` (a name or a literal), best first.

        Raises:
            OSError: there is none; UnicodeError: nor can there be; TimeoutError: no answer in time.
        """

    def connect(self, address: Address, timeout_seconds: float) -> socket.socket:
        """Return a connected socket.

        Raises:
            OSError: refused or no route; TimeoutError: no answer in time.
        """


class SystemNetwork:
    """The operating system's own names and sockets; ``look_up`` is its resolver, ``socket.getaddrinfo``."""

    def __init__(self, look_up: Callable[..., Iterable[tuple[Any, ...]]] = socket.getaddrinfo) -> None:
        self._look_up = look_up

    def resolve(self, host: str, port: int, timeout_seconds: float) -> list[Address]:
        """Return the system's answer; its resolver knows no time limit, so a name is asked for on a thread.

        ``localhost`` is this machine without asking: a minimal one has no ``/etc/hosts``.
        """
        literal = host.strip("[]")
        if _packed(literal) is not None:
            return [Address(ip=literal, port=port)]
        if literal.lower().rstrip(".").split(".")[-1] == "localhost":  # nobody's to answer but ours: RFC 6761 §6.3
            return [Address(ip=ip, port=port) for ip in ("127.0.0.1", "::1")]
        found: list[Address] = []
        failed: list[OSError | UnicodeError] = []

        def ask() -> None:
            try:
                for *_, where in self._look_up(literal, port, type=socket.SOCK_STREAM):
                    found.append(Address(ip=str(where[0]), port=port))
            except (OSError, UnicodeError) as err:
                failed.append(err)

        thread = threading.Thread(target=ask, name=f"resolve {literal}", daemon=True)
        thread.start()
        thread.join(timeout_seconds)
        if failed:
            raise failed[0]
        if thread.is_alive() or not found:
            raise TimeoutError("the name server did not answer")
        return found

    def connect(self, address: Address, timeout_seconds: float) -> socket.socket:
        """Return a connected TCP socket without Nagle's delay."""
        connected = socket.create_connection((address.ip, address.port), timeout=timeout_seconds)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected


def _packed(ip: str) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
    except OSError:
        return None


def _is_local(packed: bytes) -> bool:
    if packed in _METADATA_SERVICES:
        return True
    if len(packed) == _V4_LENGTH:
        return packed.startswith(_LOCAL_V4)
    if packed.startswith(_CARRIES_V4):
        return _is_local(packed[-_V4_LENGTH:])
    return int.from_bytes(packed[:2], "big") & _LINK_LOCAL_MASK == _LINK_LOCAL_V6


# The clouds' metadata services that do not stand on a link-local address: AWS on IPv6, Alibaba, Azure, Oracle.
_METADATA_SERVICES = frozenset(
    _packed(ip) for ip in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
