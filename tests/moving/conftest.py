"""Gives two registries: one with a signed collection in it, one that is empty; and a warm process for commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.moving.places import Places, founded
from tests.simulators.command_line import Zygote
from tests.simulators.registry import DockerRegistry, docker_registry


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def founded_once(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[Places]:
    """Give the publisher's registry, which tests that break nothing share."""
    folder = tmp_path_factory.mktemp("moving")
    with docker_registry(folder / "source") as source:
        yield founded(folder, source, zygote)


@pytest.fixture
def places(founded_once: Places, there: DockerRegistry) -> Places:
    """Give the shared source and a destination of the test's own."""
    return founded_once.towards(there)


@pytest.fixture
def own_places(tmp_path: Path, there: DockerRegistry, zygote: Zygote) -> Iterator[Places]:
    """Give a source that the test may break, and a destination."""
    with docker_registry(tmp_path / "own") as source:
        yield founded(tmp_path, source, zygote).towards(there)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path / "there") as registry:
        yield registry
