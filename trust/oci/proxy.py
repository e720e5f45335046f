"""Owns the choice of a proxy: ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``, read as Docker reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trust.errors import InputError
from trust.oci.url import Url, parse_url
from trust.value import dataclass, field

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PROXY = re.compile(r"(?:(\w+)://)?(?:([^@/]*)@)?([^@/]+)/?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy; ``authorization`` is the value of its ``Proxy-Authorization`` header, a secret."""

    url: Url
    authorization: str | None = field(repr=False, default=None)


def proxy_for(url: Url, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that ``environ`` names for ``url``; this machine itself is never asked for through one.

    Raises:
        InputError: the proxy's address is malformed, or it wants to be spoken to in TLS.
    """
    spelled = environ.get(f"{url.scheme}_proxy")
    if spelled is None and (url.scheme == "https" or "REQUEST_METHOD" not in environ):  # CVE-2016-5385, httpoxy
        spelled = environ.get(f"{url.scheme.upper()}_PROXY")
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if not spelled or url.names_loopback or _excepted(url, no_proxy):
        return None
    match = _PROXY.fullmatch(spelled)
    if match is None or (match[1] or "http").lower() != "http":
        raise InputError(f"{url.scheme.upper()}_PROXY is malformed: expected http://[USER:PASSWORD@]HOST:PORT")
    return Proxy(url=parse_url(f"http://{match[3]}"), authorization=_basic(match[2]))


def _basic(userinfo: str | None) -> str | None:
    if not userinfo:
        return None
    from base64 import b64encode  # noqa: PLC0415 - rarely needed, and imports are paid by every verify
    from urllib.parse import unquote  # noqa: PLC0415

    user, _, password = userinfo.partition(":")
    words = f"{unquote(user)}:{unquote(password)}".encode("utf-8", "surrogateescape")
    return "Basic " + b64encode(words).decode("ascii")


def _excepted(url: Url, no_proxy: str) -> bool:
    """Tell whether ``no_proxy`` names ``url``: ``*``, a domain and all below it, an address, a CIDR block."""
    host = url.host.strip("[]")
    for word in no_proxy.replace(",", " ").split():
        entry = word.lower()
        if entry == "*":
            return True
        name, colon, port = entry.rpartition(":")
        if colon and _PORT.fullmatch(port) and (":" not in name or name.endswith("]")):
            if int(port) != url.port:
                continue
            entry = name
        entry = entry.strip("[]").removeprefix("*")
        bare = entry.removeprefix(".")
        if host.endswith(f".{bare}") or (host == bare and not entry.startswith(".")):
            return True
        if "/" in entry and _in_block(host, entry):
            return True
    return False


def _in_block(host: str, block: str) -> bool:
    import ipaddress  # noqa: PLC0415 - rarely needed, and imports are paid by every verify

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(block, strict=False)
    except ValueError:
        return False
