"""Gives each test an empty store of every kind; what all of them promise is tested once, over all of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.simulators.object_store import BUCKET, ObjectServer, environment, seaweedfs
from tests.simulators.registry import docker_registry
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.reference import parse_collection
from trust.stores import open_store
from trust.stores.interface import Store

Opener = Callable[[], Store]
"""Opens the same place each time, as another process would."""

_NUMBERS = itertools.count()
_COLLECTION = parse_collection("registry.test/acme/")


@pytest.fixture(scope="session")
def registry_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a registry that many tests share."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry.host


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """Give an S3 server that many tests share."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def place(object_server: ObjectServer) -> Iterator[str]:
    """Give an empty ``s3:`` address whose owner this process is."""
    with environment(object_server.environ()):
        yield f"s3://{BUCKET}/place/{next(_NUMBERS)}"


def opened(url: str, http: Http, *, host: str = "", environ: Mapping[str, str] | None = None) -> Store:
    """Return the store at ``url``; a registry is asked at ``host``."""
    credentials = Credentials(environ={}, home=Path("/none"))

    def registry(name: str) -> Registry:
        return Registry(host or name, http=http, credentials=credentials)

    return open_store(
        url,
        _COLLECTION,
        registry=registry,
        http=lambda: http,
        environ=os.environ if environ is None else environ,
        pause=lambda _seconds: None,
    )


@pytest.fixture
def http() -> Iterator[Http]:
    """Give a door to the network that is closed at the end."""
    with Http(environ={}) as door:
        yield door


@pytest.fixture(params=["file", "registry", "s3"])
def opener(request: pytest.FixtureRequest, tmp_path: Path, http: Http) -> Opener:
    """Give what opens one empty place, of each kind in turn."""
    if request.param == "file":
        (tmp_path / "metadata").mkdir()
        url = f"file:{tmp_path / 'metadata'}"
    elif request.param == "s3":
        url = request.getfixturevalue("place")
    else:
        url = f"registry://{request.getfixturevalue('registry_host')}/place/t{next(_NUMBERS)}:_trust"
    return lambda: opened(url, http)


@pytest.fixture
def store(opener: Opener) -> Store:
    """Give one empty store, of each kind in turn."""
    return opener()
