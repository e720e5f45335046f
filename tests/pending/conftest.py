"""Gives a collection of several people: three keys for each role, two of which must sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.simulators.team import Member
    from tests.simulators.world import Consumer, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a collection in which ``acme/web:1.4`` is signed by two of three."""
    from tests.simulators.world import World  # noqa: PLC0415 - as in the tests above this folder

    world = World(tmp_path, keys_each=3, threshold=2)
    world.sign()
    return world


@pytest.fixture
def consumer(world: World) -> Consumer:
    """Give a consumer of ``world`` that has verified it once."""
    consumer = world.consumer()
    consumer.allowed()
    return consumer


@pytest.fixture
def people(world: World) -> list[Member]:
    """Give the three owners of targets keys; each has the online keys too."""
    from tests.simulators.team import team  # noqa: PLC0415 - likewise

    return team(world)
