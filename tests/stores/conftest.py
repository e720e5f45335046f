"""Gives each test an empty store of every kind; what all of them promise is tested once, over all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulators.registry import docker_registry
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.stores.file import FileStore
from trust.stores.interface import Store
from trust.stores.registry import Place, RegistryStore

Opener = Callable[[], Store]
"""Opens the same place each time, as another process would."""


@pytest.fixture(scope="session")
def registry_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a registry that many tests share."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry.host


@pytest.fixture(params=["file", "registry"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Give what opens one empty place, of each kind in turn."""
    if request.param == "file":
        (tmp_path / "metadata").mkdir()
        yield lambda: FileStore(f"file:{tmp_path / 'metadata'}", tmp_path / "metadata")
        return
    host = request.getfixturevalue("registry_host")
    place = Place(path=f"place/t{time.monotonic_ns()}", tag="_trust")
    with Http(environ={}) as http:
        door = Registry(host, http=http, credentials=Credentials(environ={}, home=tmp_path))
        yield lambda: RegistryStore("registry:", door, place, lambda _seconds: None)


@pytest.fixture
def store(opener: Opener) -> Store:
    """Give one empty store, of each kind in turn."""
    return opener()
