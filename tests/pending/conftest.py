"""Gives a collection of several people: three keys for each role, two of which must sign."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.simulators.command_line import CommandLine
    from tests.simulators.person import Person
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


@pytest.fixture(scope="session")
def first_two(founder: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Person, Person]:
    """Give ann and bob: two targets keys, both must sign; each has one, and the online key."""
    from tests.simulators.command_line import CommandLine, write_layout  # noqa: PLC0415 - likewise
    from tests.simulators.person import Person  # noqa: PLC0415

    user = CommandLine(tmp_path_factory.mktemp("two"), founder.zygote)
    write_layout(user.layout)
    (user.folder / "user-tmp").mkdir()
    both = Person(user, "both")
    more = ("--targets-key", "ann", "--targets-key", "bob", "--targets-threshold", "2", "--online-key", "online")
    both.expect(0, *both.init(*more))
    people = Person(user, "ann-home"), Person(user, "bob-home")
    for person, other in zip(people, ("bob", "ann"), strict=True):
        shutil.copytree(both.home, person.home)
        for path in (person.home / "keys").glob(f"{other}*"):
            path.unlink()
    return people


@pytest.fixture
def two(first_two: tuple[Person, Person], tmp_path: Path) -> tuple[Person, Person]:
    """Give people like them, who may change everything."""
    from tests.simulators.command_line import CommandLine  # noqa: PLC0415 - likewise
    from tests.simulators.person import Person  # noqa: PLC0415

    before = first_two[0].folder
    shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "policy.toml", *tmp_path.glob("*/collections.toml")):
        path.write_text(path.read_text().replace(str(before), str(tmp_path)))
    user = CommandLine(tmp_path, first_two[0].zygote)
    return Person(user, "ann-home"), Person(user, "bob-home")
