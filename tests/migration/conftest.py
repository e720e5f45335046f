"""Gives each test machines with a registry between them; every test here freezes real processes, as root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.harbour import Machine, found, joined
from tests.simulators.registry import DockerRegistry, docker_registry


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, DockerRegistry]]:
    """Give the machine that made the collection, once for a run."""
    directory = tmp_path_factory.mktemp("harbour")
    with docker_registry(directory / "registry") as registry:
        machine = Machine(directory / "founder", registry.host)
        found(machine, "1", "2")
        yield machine, registry
        machine.close()


@pytest.fixture
def registry(founded: tuple[Machine, DockerRegistry]) -> DockerRegistry:
    """Give the registry between the machines."""
    return founded[1]


@pytest.fixture
def here(founded: tuple[Machine, DockerRegistry]) -> Iterator[Machine]:
    """Give the machine that has the keys; its containers are removed afterwards."""
    machine = founded[0]
    yield machine
    for one in machine.run("ps")["containers"]:
        machine.run("rm", "--force", one["name"])


@pytest.fixture
def there(here: Machine, tmp_path: Path) -> Iterator[Machine]:
    """Give another machine that trusts the same collection and has no keys."""
    machine = Machine(tmp_path / "there", here.registry)
    joined(machine, here)
    yield machine
    machine.close()
