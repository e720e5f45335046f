"""Owns the configuration's spelling: a TOML document to values, every mistake reported at once.

    listen = "127.0.0.1:5443"
    tls = { certificate = "/etc/…/shim.pem", key = "/etc/…/shim.key" }   # asked for and not to be had: no start
    workers = 2
    home = "/var/lib/trust-shim"             # trusted state and the closure of what was served
    policy = "/etc/trust/policy.toml"        # left out: the one that the command line finds
    default = "registry.example.com"         # whose images have no host in their path
    max_age = "60s"                          # where a collection of the policy says nothing
    operations = "127.0.0.1:5080"            # /healthz /readyz /metrics and the page
    operations_hosts = ["shim.example.com"]  # names under which browsers may ask for them, besides its address
    page = true
    decisions = "/var/log/trust-shim/decisions.jsonl"
    cache = { directory = "/var/cache/trust-shim", size = "10GiB" }
    limits = { connections = 64, head = "10s", upstream = "30s", grant = "60s" }

    [[upstream]]
    name = "registry.example.com"            # as it stands in image references
    url = "https://registry.example.com"     # http:// only where said so, here
    prefix = "registry.example.com"          # its images are under /v2/PREFIX/…; no colon can stand there
    ca = "/etc/…/ca.pem"
    auth = "forward"                         # the client's own login; "own": the shim's
    redirects = ["*.storage.example.com"]    # further hosts that may serve its blobs

Pure: text in, values out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from registry_shim.config import Address, Config, Limits, Tls, Upstream
from trust.errors import InputError
from trust.instant import parse_duration
from trust.oci.url import parse_url
from trust.reference import parse_collection
from trust.toml_table import TableReader, load_toml, one_of, table, tables

CONFIG_MAX_BYTES = 1024 * 1024
WORKERS_MAX = 64
DEFAULT_CACHE_BYTES = 10 * 1024**3

_TOP = (
    "listen", "tls", "workers", "home", "policy", "default", "max_age", "operations", "operations_hosts", "page",
    "decisions", "cache", "limits", "upstream",
)  # fmt: skip
PORT_MAX = 65_535
_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9A-Za-z.-]+)):([0-9]{1,5})", re.ASCII)
_LABEL = r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_OF_NUMBERS = set("0123456789.")
_SIZE = re.compile(r"([1-9][0-9]{0,8})(MiB|GiB|TiB)", re.ASCII)
_UNITS = {"MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_PREFIX = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", re.ASCII)
_HOST_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*", re.ASCII)


def parse_config(text: str, *, source: str) -> Config:
    """Return the configuration that ``text`` spells; ``source`` names the file in messages.

    Raises:
        InputError: one line with every mistake of the document.
    """
    return config_of(load_toml(text, what=f"configuration {source}", max_bytes=CONFIG_MAX_BYTES), source=source)


def config_of(document: Mapping[str, Any], *, source: str) -> Config:
    """Return the configuration of a document; otherwise as ``parse_config``."""
    errors: list[str] = []
    top = TableReader("top level", document, errors)
    top.unknown(_TOP)
    upstreams = [_upstream(reader) for reader in tables(document, "upstream", errors)]
    known = {upstream.name: upstream for upstream in upstreams if upstream is not None}
    if not upstreams:
        errors.append("top level: there is no [[upstream]]: nothing would be served")
    _require_distinct(upstreams, errors)
    default = top.text("default", _host, default="")
    if default and default not in known and not errors:
        errors.append(f"top level: default: expected the name of an [[upstream]], got {default!r}")
    home = top.text("home", _path)
    cache = TableReader("cache", table(document, "cache", errors), errors)
    cache.unknown(("directory", "size"))
    limits = _limits(document, errors)
    listen = top.text("listen", _address)
    fields = {
        "tls": _tls(document, errors),
        "workers": _number(top, "workers", 1, range(1, WORKERS_MAX + 1)),
        "policy": top.text("policy", _path, default=Path()) or None,
        "max_age": top.text("max_age", parse_duration, default=timedelta(seconds=60)),
        "operations": _optional(top, "operations", _address),
        "operations_hosts": top.texts("operations_hosts", _host_pattern),
        "page": _flag(top, "page", default=True),
        "decisions": _optional(top, "decisions", _path),
        "cache_bytes": cache.text("size", _size, default=DEFAULT_CACHE_BYTES),
    }
    directory = cache.text("directory", _path, default=(home or Path()) / "cache")
    if errors or listen is None or home is None or directory is None:
        hint = "see docs/shim.md; `trust-shim check` reads it again"
        raise InputError(f"configuration {source} is wrong: {'; '.join(errors)}", hint=hint)
    fields["policy"] = None if fields["policy"] == Path() else fields["policy"]
    return Config(
        listen=listen, home=home, cache_directory=directory, default=default or None, limits=limits,
        upstreams=known, document=document, **fields,
    )  # fmt: skip


def _upstream(reader: TableReader) -> Upstream | None:
    reader.unknown(("name", "url", "prefix", "ca", "auth", "redirects"))
    before = len(reader.errors)
    name = reader.text("name", _host)
    url = reader.text("url", parse_url, default=None if name is None else parse_url(f"https://{name}/"))
    if url is not None and url.target != "/":
        reader.errors.append(f"{reader.where}: url has a path: expected http(s)://HOST[:PORT], got {str(url)!r}")
    prefix = reader.text("prefix", _prefix, default=None if name is None else name.replace(":", "_").lower())
    ca = _optional(reader, "ca", _path)
    auth = reader.text("auth", one_of("forward", "own"), default="forward")
    redirects = reader.texts("redirects", _host_pattern)
    if name is None or url is None or prefix is None or len(reader.errors) > before:
        return None
    return Upstream(
        name=name, url=url, prefix=prefix, ca=ca, auth="own" if auth == "own" else "forward", redirects=redirects
    )


def _require_distinct(upstreams: Iterable[Upstream | None], errors: list[str]) -> None:
    seen: set[str] = set()
    for upstream in upstreams:
        for word in {upstream.name, upstream.prefix} if upstream else ():
            if word in seen:
                errors.append(f"upstream: {word!r} stands for two of them")
            seen.add(word)


def _tls(document: Mapping[str, Any], errors: list[str]) -> Tls | None:
    if "tls" not in document:
        return None
    reader = TableReader("tls", table(document, "tls", errors), errors)
    reader.unknown(("certificate", "key"))
    certificate, key = reader.text("certificate", _path), reader.text("key", _path)
    return None if certificate is None or key is None else Tls(certificate=certificate, key=key)


def _limits(document: Mapping[str, Any], errors: list[str]) -> Limits:
    reader = TableReader("limits", table(document, "limits", errors), errors)
    reader.unknown(("connections", "head", "upstream", "grant"))
    spans = {"head": 10.0, "upstream": 30.0, "grant": 60.0}
    for key, seconds in spans.items():
        span = reader.text(key, parse_duration, default=timedelta(seconds=seconds))
        spans[key] = seconds if span is None else span.total_seconds()
    return Limits(
        connections=_number(reader, "connections", 64, range(1, 100_001)),
        head_seconds=spans["head"],
        upstream_seconds=spans["upstream"],
        grant_seconds=spans["grant"],
    )


def _optional(reader: TableReader, key: str, parse: Callable[[str], Any]) -> Any:  # noqa: ANN401 - as parsed
    return reader.text(key, parse) if key in reader.table else None


def _flag(reader: TableReader, key: str, *, default: bool) -> bool:
    value = reader.table.get(key, default)
    if type(value) is not bool:
        reader.errors.append(f"{reader.where}: {key}: expected true or false, got {value!r}")
    return value is True


def _number(reader: TableReader, key: str, default: int, allowed: range) -> int:
    value = reader.table.get(key, default)
    if type(value) is not int or value not in allowed:
        reader.errors.append(f"{reader.where}: {key}: expected {allowed[0]} to {allowed[-1]}, got {value!r}")
        return default
    return value


def _address(text: str) -> Address:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[3]) > PORT_MAX or not _is_host(match[1], match[2]):
        raise InputError(f"expected HOST:PORT, got {text[:80]!r}")
    return Address(host=match[1] or match[2], port=int(match[3]))


def _is_host(bracketed: str | None, bare: str) -> bool:
    """Tell whether an address in brackets is one of IPv6, and what has none is one of IPv4 or a name."""
    try:
        if bracketed is not None:
            ipaddress.IPv6Address(bracketed)
        elif set(bare) <= _OF_NUMBERS:
            ipaddress.IPv4Address(bare)
        else:
            return _NAME.fullmatch(bare) is not None
    except ValueError:
        return False
    return True


def _path(text: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        raise InputError(f"expected an absolute path, got {text[:120]!r}")
    return Path(text)


def _host(text: str) -> str:
    if (found := parse_collection(f"{text}/")).host != text or found.path:
        raise InputError(f"expected a registry as HOST[:PORT], got {text[:80]!r}")
    return text


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise InputError(f"expected one word of a repository path, got {text[:80]!r}")
    return text


def _host_pattern(text: str) -> str:
    if not _HOST_PATTERN.fullmatch(text):
        raise InputError(f"expected HOST or *.DOMAIN, got {text[:80]!r}")
    return text


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"expected a size such as 500MiB or 10GiB, got {text[:40]!r}")
    return int(match[1]) * _UNITS[match[2]]
