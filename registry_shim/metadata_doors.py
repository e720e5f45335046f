"""Owns the ways to the collections' metadata: the configured upstreams where it lives beside the images.

A registry that is an upstream here is asked where the configuration says it is; any other as every gate does.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from registry_shim.config import Config, Upstream
from registry_shim.upstream import PAUSE, USER_AGENT
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.places import home_directory
from trust.policy import Stanza
from trust.stores import open_store
from trust.stores.interface import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Door:
    host: str
    http: Http
    plain_http: bool


class Doors:
    """Opens the metadata stores of a policy; asked by several threads."""

    def __init__(self, config: Config) -> None:
        self._upstreams = config.upstreams
        self._any = Http(environ=os.environ, user_agent=USER_AGENT, sleep=PAUSE)
        self._own = {name: _door(upstream) for name, upstream in config.upstreams.items()}
        self._credentials = Credentials(environ=os.environ, home=home_directory())

    def store(self, stanza: Stanza) -> Store:
        """Return the store where the collection's metadata is read.

        Raises:
            InputError: the address is not supported.
        """
        return open_store(
            stanza.metadata,
            stanza.collection,
            registry=self._registry,
            http=lambda: self._any,
            environ=os.environ,
            pause=time.sleep,
        )

    def close(self) -> None:
        """Close every idle connection."""
        self._any.close()
        for door in self._own.values():
            door.http.close()

    def _registry(self, host: str) -> Registry:
        door = self._own.get(host) or _Door(host=host, http=self._any, plain_http=False)
        return Registry(door.host, http=door.http, credentials=self._credentials, plain_http=door.plain_http)


def _door(upstream: Upstream) -> _Door:
    environ = dict(os.environ)
    if upstream.ca is not None:
        environ["SSL_CERT_FILE"] = str(upstream.ca)
    return _Door(
        host=upstream.url.authority,
        http=Http(environ=environ, user_agent=USER_AGENT, sleep=PAUSE),
        plain_http=upstream.url.scheme == "http",
    )
