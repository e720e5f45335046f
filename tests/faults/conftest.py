"""Gives the tests of the shim one street for all: each has to leave it in order, which is what they are about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.street import Street, street


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Give a shim between its wires, which has the image ``1``."""
    with street(tmp_path_factory.mktemp("street")) as made:
        assert made.gives("1", made.first)
        yield made
