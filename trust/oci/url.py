"""Owns addresses of HTTP resources: ``http`` and ``https`` only, without user names, in one spelling.

What a server sends as an address (``Location``, ``Link``, a token realm) comes through here before anything
is done with it.
"""

from __future__ import annotations

import re

from trust.errors import InputError
from trust.reference import is_loopback
from trust.value import dataclass, replace

DEFAULT_PORTS = {"http": 80, "https": 443}
URL_MAX_LENGTH = 16_384  # signed storage addresses run to about 2,000
_PORT_MAX = 65_535

_URL = re.compile(
    r"(https?)://([a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?((?:[/?][!-~]*)?)",
    re.ASCII | re.IGNORECASE,
)
_ANY_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """One address. ``host`` is lower-case, IPv6 in brackets; ``target`` is the path with its query."""

    scheme: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """``host[:port]``, the port left out where it is the scheme's own: the ``Host`` header."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """``scheme://host[:port]``: what credentials and connections belong to."""
        return f"{self.scheme}://{self.authority}"

    @property
    def names_loopback(self) -> bool:
        """Tell whether the host is spelled as this machine."""
        return is_loopback(self.host)


def parse_url(text: str) -> Url:
    """Return the address that ``text`` spells; a fragment is dropped.

    Raises:
        InputError: another scheme, a user name, characters that want encoding, or not an address at all.
    """
    if len(text) > URL_MAX_LENGTH:
        raise InputError(f"address is too long: expected at most {URL_MAX_LENGTH}, got {len(text)}")
    match = _URL.fullmatch(text.partition("#")[0])
    if match is None:
        raise InputError(f"address is malformed: expected http(s)://HOST[:PORT]/PATH, got {text[:120]!r}")
    scheme, host, target = match[1].lower(), match[2].lower(), match[4]
    if not host.strip("."):  # the name of a directory, where a host's authorities are looked for by its name
        raise InputError(f"address has no such host: got {host}")
    if host.startswith("[") and not _is_ipv6(host[1:-1]):
        raise InputError(f"address has no such host: expected an IPv6 address in brackets, got {host}")
    port = int(match[3]) if match[3] else DEFAULT_PORTS[scheme]
    if not 0 < port <= _PORT_MAX:
        raise InputError(f"address has no such port: expected 1 to {_PORT_MAX}, got {port}")
    if not target.startswith("/"):
        target = f"/{target}"
    return Url(scheme=scheme, host=host, port=port, target=target)


def _is_ipv6(text: str) -> bool:
    import ipaddress  # noqa: PLC0415 - 2 ms, for the few who write addresses so

    try:
        return ipaddress.IPv6Address(text).scope_id is None
    except ValueError:
        return False


def replace_target(base: Url, target: str) -> Url:
    """Return the address of ``target`` (a path with its query) at the origin of ``base``."""
    return replace(base, target=target)


def join_url(base: Url, untrusted_location: str) -> Url:
    """Return where ``untrusted_location``, read at ``base``, leads.

    Raises:
        InputError: as ``parse_url``; ``file:`` and every scheme but http and https among it.
    Source: RFC 3986 §5.2, without the folding of dot segments: the server that is asked folds them.
    """
    location = untrusted_location
    if location.startswith("//"):
        return parse_url(f"{base.scheme}:{location}")
    if _ANY_SCHEME.match(location):
        return parse_url(location)
    path = base.target.partition("?")[0]
    if location.startswith("?"):
        location = path + location
    elif not location.startswith("/"):
        if not location:
            raise InputError("address is empty")
        location = path[: path.rfind("/") + 1] + location
    return parse_url(f"{base.origin}{location}")
