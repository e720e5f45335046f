"""Gives each test a legitimate world of its own, or a user of the real command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.simulators.command_line import CommandLine
    from tests.simulators.world import Consumer, World
    from tests.simulators.yard import Plot, Yard

# How long an example takes says more of the machine's other work than of the code.
settings.register_profile("tests", deadline=None, print_blob=True)
settings.load_profile("tests")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a collection in which ``acme/web:1.4`` is signed."""
    from tests.simulators.world import World  # noqa: PLC0415 - tests of the keys need no python-tuf

    world = World(tmp_path)
    world.sign()
    return world


@pytest.fixture
def consumer(world: World) -> Consumer:
    """Give a consumer of ``world`` that has verified it once."""
    consumer = world.consumer()
    consumer.allowed()
    return consumer


@pytest.fixture(scope="session")
def founder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """Give the user who made a collection, once for a run: his keys cost a second."""
    from tests.simulators.command_line import CommandLine, Zygote  # noqa: PLC0415 - likewise

    zygote = Zygote()
    founder = CommandLine(tmp_path_factory.mktemp("founder"), zygote)
    founder.found()
    yield founder
    zygote.close()


@pytest.fixture
def user(founder: CommandLine, tmp_path: Path) -> CommandLine:
    """Give a user like him, who may break everything that is his."""
    return founder.copy(tmp_path / "user")


@pytest.fixture(scope="session")
def shared_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Give a world, a registry and a shim between, which many tests share."""
    from tests.simulators.yard import PLOTS, yard  # noqa: PLC0415 - likewise

    with yard(tmp_path_factory.mktemp("yard"), plots=PLOTS) as shared:
        yield shared


@pytest.fixture
def plot(shared_yard: Yard) -> Plot:
    """Give a repository of the shared yard that no other test knows."""
    return shared_yard.plot()
