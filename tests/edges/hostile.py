"""A registry that says what a test has it say, and a door to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.wire import Script, WireServer
from trust.deadline import Deadline, deadline_in
from trust.digest import sha256
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry

MANIFEST = b'{"schemaVersion": 2}'
DIGEST = sha256(MANIFEST)
OTHER = sha256(b"other")


def soon() -> Deadline:
    return deadline_in(10, time.monotonic)


def at(server: WireServer, http: Http) -> Registry:
    return Registry(server.host, http=http, credentials=Credentials(environ={}, home=Path("/nonexistent")))


def read_until(chunks: Iterator[bytes], error: type[Exception], match: str) -> int:
    """Return how many bytes came before ``error``."""
    got = 0

    def read() -> None:
        nonlocal got
        for chunk in chunks:
            got += len(chunk)

    with pytest.raises(error, match=match):
        read()
    return got


def says(status: int, body: bytes = b"", **headers: str) -> Script:
    return lambda exchange: exchange.answer(status, body, **headers)
