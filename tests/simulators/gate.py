"""A gate and an origin that record who comes: both serve one real registry, the gate only while it may.

The gate reads an upstream as the shim does: from ``?ns=HOST``, else from the first segments of the path.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.simulators.wire import Exchange
from trust.manifest import ACCEPTED_TYPES

_REFUSAL = b'{"errors":[{"code":"DENIED","message":"unsigned: nobody signed this"}]}'
_ACCEPT = ", ".join(ACCEPTED_TYPES)  # skopeo says it in many lines, of which ``Seen`` has the last
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "date"})


@dataclass(kw_only=True)
class RecordingGate:
    """A script for ``WireServer``. ``status`` is what it answers to every pull; None: what ``registry`` has."""

    registry: str
    status: int | None = None

    def script(self, exchange: Exchange) -> None:
        target = urlsplit(exchange.request.target)
        if target.path == "/v2/":
            exchange.answer(200, b"{}")
        elif self.status is not None:
            body = b"" if exchange.request.method == "HEAD" else _REFUSAL
            exchange.answer(self.status, body, Content_Type="application/json", Content_Length=str(len(_REFUSAL)))
        else:
            query = dict(parse_qsl(target.query))
            path = target.path
            if query.pop("ns", None) is None:
                path = "/v2/" + path.removeprefix("/v2/").partition("/")[2]
            relay(exchange, self.registry, f"{path}?{urlencode(query)}" if query else path)


@dataclass(kw_only=True)
class Origin:
    """A script for ``WireServer``: the registry that the images are named by."""

    registry: str

    def script(self, exchange: Exchange) -> None:
        relay(exchange, self.registry, exchange.request.target)


def relay(exchange: Exchange, registry: str, target: str) -> None:
    """Answer as ``registry`` answers ``target``."""
    request = exchange.request
    connection = http.client.HTTPConnection(registry, timeout=10)
    try:
        connection.request(request.method, target, headers={"Accept": _ACCEPT})
        answer = connection.getresponse()
        body = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
        if request.method == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length", "0")
        exchange.answer(answer.status, body, **kept)
    finally:
        connection.close()
