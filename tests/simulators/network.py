"""A small internet behind ``Http``: names with addresses, addresses that are ports of this machine.

With it a server on the loopback interface can stand "elsewhere", and a name can lead where an attacker likes.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from trust.oci.network import Address

ELSEWHERE = "203.0.113.7"  # TEST-NET-3, RFC 5737


@dataclass(kw_only=True)
class SimulatedNetwork:
    """``names`` maps a host to its addresses, ``doors`` an address to a port here; what is dialled is recorded."""

    names: dict[str, list[str]] = field(default_factory=dict)
    doors: dict[str, int] = field(default_factory=dict)
    dialled: list[str] = field(default_factory=list)

    def resolve(self, host: str, port: int, timeout_seconds: float) -> list[Address]:  # noqa: ARG002
        literal = host.strip("[]")
        return [Address(ip=ip, port=port) for ip in self.names.get(literal, [literal])]

    def connect(self, address: Address, timeout_seconds: float) -> socket.socket:
        self.dialled.append(address.ip)
        if address.ip not in self.doors:
            raise ConnectionRefusedError(111, "connection refused")
        return socket.create_connection(("127.0.0.1", self.doors[address.ip]), timeout=timeout_seconds)
