"""Owns what an operator asks the shim: is it alive, is it ready, what did it count, what does it do just now.

It runs in the keeper and serves an address of its own, apart from the registry's. It only tells: no request
changes anything, and nobody is asked who he is. What it tells (names of images, addresses of clients) is for those
who can reach that address; bind it to loopback or a management network.

A browser can be made to reach it by a page from elsewhere. Such a page cannot read the answers, which no header
shares with it, unless its own name is made to point here (DNS rebinding). Hence an answer that tells something is
given only to a Host that cannot be a stranger's: an IP address, a name without a dot, ``*.localhost``, or a name
that the configuration lists. ``/healthz`` and ``/readyz`` answer everybody: they tell little, and probes send odd
hosts.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Sequence

from aiohttp import web

from registry_shim.events import Feed
from registry_shim.metrics import CONTENT_TYPE, Metrics
from registry_shim.page import Board, document, parts_of
from registry_shim.status import CollectionStatus, Decided, Traffic

SHOWN_DECISIONS = 50
_FOR_EVERYBODY = frozenset({"/healthz", "/readyz"})
_STRICT = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Operations:
    """What the keeper knows, for those who ask; every method is called in the keeper's loop.

    ``clock`` gives UTC seconds; ``hosts`` are further names under which this address may be asked.
    """

    def __init__(
        self, clock: Callable[[], float], *, version: str, page: bool = True, hosts: Collection[str] = ()
    ) -> None:
        self._clock = clock
        self._version = version
        self._has_page = page
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._metrics = Metrics(clock, version=version)
        self._decisions: deque[tuple[int, Decided]] = deque(maxlen=SHOWN_DECISIONS)
        self._counts: Counter[str] = Counter()
        self._collections: Sequence[CollectionStatus] = ()
        self._is_ready, self._why = False, "it starts"
        self._feed = Feed(lambda: parts_of(self._board()))

    def decided(self, decided: Decided) -> None:
        """Take a decision of a worker."""
        self._metrics.decided(decided)
        self._counts[decided.outcome] += 1
        self._decisions.appendleft((self._counts.total(), decided))
        self._feed.changed()

    def traffic(self, traffic: Traffic) -> None:
        """Take what a worker counted."""
        self._metrics.traffic(traffic)

    def collections(self, collections: Sequence[CollectionStatus]) -> None:
        """Take the state of every collection of the policy, in its order."""
        self._collections = tuple(collections)
        self._metrics.collections(collections)
        self._feed.changed()

    def ready(self, *, is_ready: bool, why: str = "") -> None:
        """Take whether the shim serves, and if it does not, why in one line."""
        self._is_ready, self._why = is_ready, " ".join(why.split())
        self._metrics.ready(is_ready=is_ready)
        self._feed.changed()

    def workers(self, *, alive: int, wanted: int, restarted: int = 0) -> None:
        """Take how many workers there are, should be, and were started again since the keeper began."""
        self._metrics.workers(alive=alive, wanted=wanted, restarted=restarted)

    def log(self, *, lines: int, lost: int) -> None:
        """Take the number of the decision log's last line, and of the decisions that it lost."""
        self._metrics.log(lines=lines, lost=lost)

    def application(self) -> web.Application:
        """Return a new application that serves all of it; made once, in the loop that runs it."""
        application = web.Application(middlewares=[self._only_for_known_hosts])
        application.on_response_prepare.append(_strict)
        application.on_shutdown.append(self._let_go)
        application.router.add_get("/healthz", self._alive)
        application.router.add_get("/readyz", self._readiness)
        application.router.add_get("/metrics", self._exposition)
        if self._has_page:
            application.router.add_get("/", self._page)
            application.router.add_get("/events", self._feed.serve)
        return application

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readiness(self, _request: web.Request) -> web.Response:
        if self._is_ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"{self._why or 'not ready'}\n")

    async def _exposition(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def _page(self, _request: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        headers = {"Content-Security-Policy": _PAGE_POLICY.format(nonce=nonce)}
        return web.Response(text=document(self._board(), nonce=nonce), content_type="text/html", headers=headers)

    async def _let_go(self, _application: web.Application) -> None:
        self._feed.close()

    def _board(self) -> Board:
        return Board(
            now=self._clock(),
            is_ready=self._is_ready,
            why=self._why,
            collections=self._collections,
            decisions=tuple(self._decisions),
            counts=self._counts,
            version=self._version,
        )

    @web.middleware
    async def _only_for_known_hosts(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _FOR_EVERYBODY or _is_own(request.headers.get("Host", ""), self._hosts):
            return await handler(request)
        return web.Response(
            status=421, text="this name is not one of the shim's: list it among the hosts of its operations\n"
        )


def _is_own(host: str, named: Collection[str]) -> bool:
    """Return whether no stranger can have ``host`` (with or without a port) point here."""
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.lower().rstrip(".")
    if name in named or "." not in name.removesuffix(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _strict(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "trust-shim"  # and no versions of what it is made of
    for name, value in _STRICT.items():
        response.headers.setdefault(name, value)
