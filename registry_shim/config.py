"""Owns the shim's configuration as values; ``registry_shim.config_document`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from trust.oci.url import Url


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens; ``port`` 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A registry that the shim stands before; ``name`` is its host in image references."""

    name: str
    url: Url
    prefix: str
    ca: Path | None
    auth: Literal["forward", "own"]
    redirects: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The server's certificate chain and private key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``connections`` of one client at once; the seconds for a request's head, for an upstream's answer.

    ``grant_seconds``: how long an upstream's word that a login may read a repository is believed.
    """

    connections: int
    head_seconds: float
    upstream_seconds: float
    grant_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration; ``document`` is what it was read from, for the workers."""

    listen: Address
    tls: Tls | None
    workers: int
    home: Path
    policy: Path | None
    default: str | None
    max_age: timedelta
    operations: Address | None
    operations_hosts: tuple[str, ...]
    page: bool
    decisions: Path | None
    cache_directory: Path
    cache_bytes: int
    limits: Limits
    upstreams: Mapping[str, Upstream]
    document: Mapping[str, Any]
