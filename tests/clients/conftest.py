"""Gives a collection on a real registry, an origin before it that records, the real shim, and a bare machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.simulators.command_line import Zygote
from tests.simulators.gate import Origin
from tests.simulators.node import Node
from tests.simulators.published import Published, publish
from tests.simulators.registry import docker_registry
from tests.simulators.shim import Shim
from tests.simulators.wire import WireServer

SHIM = "content-trust-shim"


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("published")
    with docker_registry(folder / "registry") as registry:
        yield publish(registry, folder / "publisher", zygote)


@pytest.fixture(scope="session")
def origin(published: Published) -> Iterator[WireServer]:
    """Give the registry by the name that images have; it records who comes."""
    with WireServer(script=Origin(registry=published.registry.host).script) as server:
        yield server


@pytest.fixture(scope="session")
def shim(published: Published, origin: WireServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    """Give a shim that stands before the origin, and asks for newer metadata twice in a second."""
    with Shim(
        folder=tmp_path_factory.mktemp("shim"),
        policy=published.policy(origin.host),
        upstreams=[{"name": origin.host, "url": origin.url, "auth": "own"}],
        settings={"max_age": "1s"},
        moves_clock=True,
    ) as shim:
        yield shim


@pytest.fixture
def node() -> Iterator[Node]:
    """Give a machine without any configuration of its own; its path is short, as podman wants that of ``run``."""
    with TemporaryDirectory(prefix="n-") as directory:
        yield Node(Path(directory))


@pytest.fixture
def only_the_shim_comes(origin: WireServer) -> Iterator[None]:
    """Require that nobody but the shim asked the origin, and that somebody did."""
    yield
    assert {request.headers.get("user-agent") for request in origin.requests} == {SHIM}
