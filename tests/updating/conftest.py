"""Gives each test a publisher with a repository of its own, and a host that runs what he signs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.harbour import Machine, joined
from tests.simulators.registry import DockerRegistry, docker_registry
from tests.updating.fleet import Host, Publisher

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, DockerRegistry]]:
    """Give the machine that made the collection, once for a run."""
    directory = tmp_path_factory.mktemp("fleet")
    with docker_registry(directory / "registry") as registry:
        machine = Machine(directory / "founder", registry.host)
        machine.directory.mkdir()
        machine.run("init", f"{machine.registry}/acme/", "--metadata", "registry:", "--write-policy")
        yield machine, registry


@pytest.fixture
def publisher(founded: tuple[Machine, DockerRegistry], tmp_path: Path) -> Publisher:
    """Give who signs the versions of one repository."""
    return Publisher(founded[0], founded[1], tmp_path / "layout", f"web{next(_NUMBERS)}")


@pytest.fixture
def host(publisher: Publisher, tmp_path: Path) -> Iterator[Host]:
    """Give a host that trusts the publisher's collection; nothing of it is left afterwards."""
    machine = Machine(tmp_path / "host", publisher.machine.registry)
    joined(machine, publisher.machine)
    host = Host(machine, publisher)
    yield host
    host.close()
