"""Owns connections to origins: dialled directly or through a proxy, in TLS where asked, kept for the next request.

Imported only once a request is really made.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trust.deadline import Deadline
from trust.errors import LimitError, UnreachableError
from trust.oci.errors import UntrustedCertificateError
from trust.oci.framing import read_head
from trust.oci.network import Address, Network, SystemNetwork
from trust.oci.url import Url
from trust.oci.wire import Wire

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from trust.oci.proxy import Proxy

IDLE_MAX_SECONDS = 30.0  # load balancers forget idle connections from 60 s on, without telling
POOL_MAX = 8  # idle connections for one origin
_NEXT_ADDRESS_SECONDS = 3.0  # a dead IPv6 route must not cost the whole deadline
_OK = 200


class Connection:
    """One connection to ``url.origin``; ``is_local`` as in ``Response``, ``proxy`` what stands in between."""

    def __init__(self, wire: Wire, *, url: Url, is_local: bool, proxy: Proxy | None) -> None:
        self.wire = wire
        self.url = url
        self.is_local = is_local
        self.proxy = proxy
        self.is_used = False
        self.idle_since = 0.0


class Connections:
    """Dials connections and keeps idle ones, per origin; usable from several threads."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        certs_directory: Path | None,
        network: Network | None,
    ) -> None:
        self._environ = environ
        self._clock = clock
        self._certs_directory = certs_directory
        self._network = network or SystemNetwork()
        self._idle: dict[str, list[Connection]] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def take(self, url: Url, *, deadline: Deadline, idle_seconds: float, allow_local: bool) -> Connection:
        """Return a connection to the origin of ``url``, an idle one if there is a live one.

        Raises:
            UnreachableError: no name, no answer, no trusted certificate; or a local address not allowed.
            LimitError: the deadline passed.
        """
        while (kept := self._take_idle(url)) is not None:
            if kept.is_local and not allow_local:
                self.keep(kept)
                raise local_refused(url)
            if kept.wire.is_quiet and self._clock() - kept.idle_since < IDLE_MAX_SECONDS:
                kept.is_used = True
                return kept
            kept.wire.close()
        return self._dial(url, deadline=deadline, idle_seconds=idle_seconds, allow_local=allow_local)

    def keep(self, connection: Connection) -> None:
        """Keep ``connection``, whose last answer was read to its end, for the next request."""
        connection.idle_since = self._clock()
        with self._lock:
            idle = self._idle.setdefault(connection.url.origin, [])
            idle.append(connection)
            surplus = [idle.pop(0)] if len(idle) > POOL_MAX else []
            surplus += self._taken_stale(connection.idle_since - IDLE_MAX_SECONDS)
        for other in surplus:
            other.wire.close()

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.wire.close()

    def _taken_stale(self, before: float) -> list[Connection]:
        """Return what was idle since ``before`` and take it out; storage hosts of redirects come and go."""
        stale = [kept for idle in self._idle.values() for kept in idle if kept.idle_since < before]
        if stale:
            fresh = {origin: [k for k in idle if k not in stale] for origin, idle in self._idle.items()}
            self._idle = {origin: idle for origin, idle in fresh.items() if idle}
        return stale

    def _take_idle(self, url: Url) -> Connection | None:
        with self._lock:
            idle = self._idle.get(url.origin)
            return idle.pop() if idle else None

    def _dial(self, url: Url, *, deadline: Deadline, idle_seconds: float, allow_local: bool) -> Connection:
        proxy = self._proxy(url)
        if proxy is not None and not allow_local and _names_local(url):
            raise local_refused(url)
        near = proxy.url if proxy is not None else url
        connected, address = self._connect(near, deadline, any_address=allow_local or proxy is not None, asked=url)
        is_local = _names_local(url) if proxy is not None else address.is_local
        try:
            if proxy is not None and url.scheme == "https":
                self._tunnel(connected, proxy, url, deadline, idle_seconds)
            if url.scheme == "https":
                connected = self._in_tls(connected, url, deadline)
        except BaseException:
            connected.close()
            raise
        wire = Wire(connected, peer=url.origin, clock=self._clock)
        return Connection(wire, url=url, is_local=is_local, proxy=proxy)

    def _proxy(self, url: Url) -> Proxy | None:
        if not any(name.lower() == f"{url.scheme}_proxy" for name in self._environ):
            return None
        from trust.oci.proxy import proxy_for  # noqa: PLC0415 - most machines have none

        return proxy_for(url, self._environ)

    def _connect(
        self, near: Url, deadline: Deadline, *, any_address: bool, asked: Url
    ) -> tuple[socket.socket, Address]:
        try:
            addresses = self._network.resolve(near.host, near.port, _left_seconds(near, deadline))
        except (OSError, UnicodeError) as err:
            raise UnreachableError(f"{near.origin}: host name not found: {err}", hint=_CHECK_HOST) from err
        if not any_address and any(address.is_local for address in addresses):
            raise local_refused(asked)
        if near.names_loopback and not all(address.is_local for address in addresses):
            raise UnreachableError(f"{near.origin}: the name of this machine leads to another")
        broken: OSError | None = None
        for position, address in enumerate(addresses, start=1):
            left = _left_seconds(near, deadline)
            patience = left if position == len(addresses) else min(left, _NEXT_ADDRESS_SECONDS)
            try:
                return self._network.connect(address, patience), address
            except OSError as err:
                broken = err
        raise UnreachableError(f"{near.origin}: no connection: {broken}", hint=_CHECK_HOST) from broken

    def _tunnel(
        self, connected: socket.socket, proxy: Proxy, url: Url, deadline: Deadline, idle_seconds: float
    ) -> None:
        wire = Wire(connected, peer=f"proxy {proxy.url.origin}", clock=self._clock)
        wire.limit(deadline=deadline, idle_seconds=idle_seconds)
        where = f"{url.host}:{url.port}"
        secret = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
        try:
            wire.send(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{secret}\r\n".encode("ascii"))
            head = read_head(wire, "HEAD")  # no body follows a tunnel's head
        except OSError as err:
            raise UnreachableError(f"proxy {proxy.url.origin}: the connection broke: {err}") from err
        if head.status != _OK:
            raise UnreachableError(f"proxy {proxy.url.origin}: expected a tunnel to {where}, got {head.status}")

    def _in_tls(self, connected: socket.socket, url: Url, deadline: Deadline) -> socket.socket:
        import ssl  # noqa: PLC0415 - 14 ms that plain HTTP to this machine need not pay

        context, name = self._context(url), url.host.strip("[]")
        connected.settimeout(_left_seconds(url, deadline))
        try:
            name.encode("idna")  # as ssl does, which loses the socket over a label that is empty or too long
            # A peer that ends without close_notify cut the body short: let that be seen.
            return context.wrap_socket(connected, server_hostname=name, suppress_ragged_eofs=False)
        except UnicodeError as err:
            raise UnreachableError(f"{url.origin}: no name of a host: {err}", hint=_CHECK_HOST) from err
        except TimeoutError as err:
            raise LimitError(
                f"{url.origin}: deadline passed in the TLS handshake", hint="try again later"
            ) from err
        except ssl.SSLCertVerificationError as err:
            raise UntrustedCertificateError(
                f"{url.origin}: certificate is not trusted: {err.verify_message}",
                hint=f"put its authority into /etc/docker/certs.d/{url.authority}/ca.crt or SSL_CERT_FILE",
            ) from err
        except (OSError, ssl.SSLError) as err:
            raise UnreachableError(f"{url.origin}: no TLS: {err}", hint=_CHECK_HOST) from err

    def _context(self, url: Url) -> ssl.SSLContext:
        with self._lock:
            context = self._contexts.get(url.origin)
        if context is None:
            from trust.oci.tls import CERTS_DIRECTORY, client_context  # noqa: PLC0415 - imports ssl

            context = client_context(
                url, environ=self._environ, certs_directory=self._certs_directory or CERTS_DIRECTORY
            )
            with self._lock:
                self._contexts[url.origin] = context
        return context


_CHECK_HOST = "check the host and port, and the network"


def _left_seconds(url: Url, deadline: Deadline) -> float:
    try:
        return deadline.remaining_seconds()
    except LimitError as err:
        raise LimitError(f"{url.origin}: {err}", hint=err.hint) from err


def local_refused(url: Url) -> UnreachableError:
    """Return the error for a server elsewhere that points to this machine or its link."""
    return UnreachableError(f"redirect refused: a server elsewhere points to the local address {url.origin}")


def _names_local(url: Url) -> bool:
    """Tell whether the host is this machine or its link as it stands, where no address can be looked up."""
    name = url.host.rstrip(".")
    if url.names_loopback or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        packed = socket.inet_aton(name)  # takes 127.1 and 0x7f000001, as the proxy's resolver may
    except OSError:
        literal = url.host.strip("[]")
        return ":" in literal and Address(ip=literal, port=url.port).is_local
    return Address(ip=socket.inet_ntoa(packed), port=url.port).is_local
