"""Owns the one HTTP door of the product: bounded in time, bytes, redirects and trust in what servers point to.

A request is made in these steps:
  1. a connection to the origin is taken or dialled; plain HTTP only to this machine, or where it was allowed
  2. the head is sent and read; 429 and 503 that say when, and 5xx of a GET, are asked again, a bounded number
     of times
  3. a redirect is followed if it leads to http or https, never from https to http, never from elsewhere to this
     machine or its link, at most five times and never in a circle; ``Authorization`` stays with its origin
     (CVE-2020-15157)
  4. the body is read to the end its framing states, or to the caller's cap

Importing this module costs no socket and no TLS: those come with the first request.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from trust.deadline import Deadline
from trust.errors import InputError, UnreachableError
from trust.oci.message import Body, Request, Response
from trust.oci.url import Url, join_url, parse_url
from trust.value import replace

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from trust.oci.connection import Connections
    from trust.oci.exchange import Stream
    from trust.oci.network import Network

REDIRECTS_MAX = 5
IDLE_TIMEOUT_SECONDS = 30.0
RETRY_DELAYS_SECONDS = (0.2, 0.6)  # for 5xx: registries answer 500 to 1-2 % of reads while a tag moves
RETRY_AFTER_MAX_SECONDS = 30.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAID_WHEN = frozenset({429, 503})
_FAULTS = frozenset({500, 502, 503, 504})
_SECRETS = frozenset({"authorization", "cookie", "proxy-authorization"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*", re.ASCII)
_VALUE = re.compile(r"[ -~]*", re.ASCII)


class Http:
    """Makes requests; keeps connections. Usable from several threads; a context manager that closes them.

    ``environ`` is read for proxies and ``SSL_CERT_FILE``; ``certs_directory`` is Docker's
    ``/etc/docker/certs.d`` where None; ``network`` is the system's where None. ``may_follow`` tells, where it is
    given, which other origins a redirect may lead to.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        certs_directory: Path | None = None,
        network: Network | None = None,
        user_agent: str = "content-trust",
        may_follow: Callable[[Url], bool] | None = None,
    ) -> None:
        self._environ = environ
        self._clock = clock
        self._sleep = sleep
        self._certs_directory = certs_directory
        self._network = network
        self._user_agent = user_agent
        self._may_follow = may_follow
        self._connections: Connections | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every idle connection; the next request dials anew."""
        if self._connections is not None:
            self._connections.close()

    def request(
        self,
        method: str,
        url: str | Url,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        max_bytes: int,
        deadline: Deadline,
        follow: bool = True,
        plain_http: bool = False,
        allow_local: bool = True,
    ) -> Response:
        """Return the whole answer, of any status, whose body is at most ``max_bytes``, before ``deadline``.

        ``follow``: redirects of GET and HEAD are followed. ``plain_http`` allows it to other machines.
        ``allow_local=False`` is for addresses that a server elsewhere has named.

        Raises:
            UnreachableError: no connection, no trusted certificate, a malformed, compressed or truncated answer,
                or a redirect that is not followed.
            LimitError: the body is longer, or the deadline passed.
            InputError: the address is malformed, or plain HTTP was not allowed.
        """
        with self.stream(
            method,
            url,
            headers=headers,
            body=body,
            deadline=deadline,
            follow=follow,
            plain_http=plain_http,
            allow_local=allow_local,
        ) as stream:
            return stream.whole(max_bytes)

    def stream(
        self,
        method: str,
        url: str | Url,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS,
        deadline: Deadline | None = None,
        follow: bool = True,
        plain_http: bool = False,
        allow_local: bool = True,
    ) -> Stream:
        """Return the answer with its body unread, however long that may be; otherwise as ``request``.

        Without a ``deadline`` the head must come within ``idle_timeout_seconds`` and the body at the pace of
        ``trust.oci.wire``.
        """
        request = Request(
            method=method,
            url=url if isinstance(url, Url) else parse_url(url),
            headers=_checked(headers or {}),
            body=body,
            deadline=deadline,
            idle_seconds=idle_timeout_seconds,
            plain_http=plain_http,
            allow_local=allow_local,
        )
        if not _scheme_allowed(request.url, plain_http=plain_http):
            raise InputError(
                f"plain HTTP refused: {request.url.origin} is another machine", hint="serve it over HTTPS"
            )
        seen = {request.url}
        for _ in range(REDIRECTS_MAX + 1):
            stream = self._answer(request)
            location = stream.headers.get("location")
            if not follow or not request.is_safe or stream.status not in _REDIRECTS or location is None:
                return stream
            stream.discard()
            here, request = request.url, _redirected(request, stream, location)
            if request.url.origin != here.origin and self._may_follow and not self._may_follow(request.url):
                raise UnreachableError(
                    f"{here.origin}: redirect refused: {request.url.host} is not among the hosts allowed for it"
                )
            if request.url in seen:
                raise UnreachableError(f"{request.url.origin}: redirects lead in a circle")
            seen.add(request.url)
        raise UnreachableError(f"{request.url.origin}: too many redirects: expected at most {REDIRECTS_MAX}")

    def _answer(self, request: Request) -> Stream:
        """Return the first answer that is not one to ask again for."""
        for delay in (*RETRY_DELAYS_SECONDS, None):
            stream = self._exchange(request)
            pause = None if delay is None else _pause_seconds(request, stream, delay)
            if pause is None:
                break
            stream.discard()
            self._sleep(pause)
        return stream

    def _exchange(self, request: Request) -> Stream:
        # Sockets come with the first request: a verification that asks nobody does not pay for them.
        from trust.oci.connection import Connections  # noqa: PLC0415
        from trust.oci.exchange import exchange  # noqa: PLC0415

        with self._lock:
            if self._connections is None:
                self._connections = Connections(
                    environ=self._environ,
                    clock=self._clock,
                    certs_directory=self._certs_directory,
                    network=self._network,
                )
        return exchange(request, self._connections, user_agent=self._user_agent, clock=self._clock)


def _pause_seconds(request: Request, stream: Stream, delay_seconds: float) -> float | None:
    """Return how long to wait before asking again; None where that is no use, or later than the deadline."""
    said = stream.headers.get("retry-after")
    if stream.status in _SAID_WHEN and said is not None:
        # A date instead of seconds would need the wall clock: it is asked again at once, and then given up.
        pause = max(delay_seconds, float(said) if said.isdecimal() and said.isascii() else 0.0)
    elif stream.status in _FAULTS and request.is_safe:
        pause = delay_seconds
    else:
        return None
    deadline = request.deadline
    left = RETRY_AFTER_MAX_SECONDS if deadline is None else deadline.ends_at - deadline.clock()
    return pause if pause < min(left, RETRY_AFTER_MAX_SECONDS) else None


def _redirected(request: Request, stream: Stream, untrusted_location: str) -> Request:
    here = request.url
    try:
        url = join_url(here, untrusted_location)
    except InputError as err:
        raise UnreachableError(f"{here.origin}: redirect refused: {err}") from err
    if here.scheme == "https" and url.scheme == "http":
        raise UnreachableError(f"{here.origin}: redirect refused: it leads from HTTPS to {url.origin}")
    if not _scheme_allowed(url, plain_http=request.plain_http):
        raise UnreachableError(f"{here.origin}: redirect refused: it leads to plain HTTP at {url.origin}")
    headers = request.headers
    if url.origin != here.origin:
        headers = {name: value for name, value in headers.items() if name.lower() not in _SECRETS}
    return replace(request, url=url, headers=headers, allow_local=request.allow_local and stream.is_local)


def _scheme_allowed(url: Url, *, plain_http: bool) -> bool:
    return url.scheme == "https" or plain_http or url.names_loopback


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return ``headers`` if none of them can end its line early; values may be secrets and are not shown."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InputError(f"header is malformed: {name[:40]!r} has characters that cannot be sent")
    return headers
