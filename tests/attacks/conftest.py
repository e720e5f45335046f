"""Gives a user of the real command line, made once for a run and copied for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.command_line import CommandLine, Zygote


@pytest.fixture(scope="session")
def founder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """Give the user who made the collection: his keys cost a second."""
    zygote = Zygote()
    founder = CommandLine(tmp_path_factory.mktemp("founder"), zygote)
    founder.found()
    yield founder
    zygote.close()


@pytest.fixture
def user(founder: CommandLine, tmp_path: Path) -> CommandLine:
    """Give a user who may break everything that is his."""
    return founder.copy(tmp_path / "user")
