"""Gives a real registry with an image, an origin before it that records, and a machine with its own ``/etc``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.simulators.gate import Origin
from tests.simulators.node import Node, containerd
from tests.simulators.pushing import push_image
from tests.simulators.registry import docker_registry
from tests.simulators.wire import WireServer


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give ``HOST:PORT`` of a docker-registry that has ``acme/web:1``."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as found:
        push_image(found.host, "1", "the publisher's")
        yield found.host


@pytest.fixture
def origin(registry: str) -> Iterator[WireServer]:
    """Give the registry by the name that images have; it records who comes."""
    with WireServer(script=Origin(registry=registry).script) as server:
        yield server


@pytest.fixture
def node() -> Iterator[Node]:
    """Give a machine without any configuration of its own; its path is short, as podman wants that of ``run``."""
    with TemporaryDirectory(prefix="n-") as directory:
        yield Node(Path(directory))


@pytest.fixture(scope="module")
def containerd_socket() -> Iterator[Path]:
    """Give the socket of a running containerd."""
    with TemporaryDirectory(prefix="c-") as directory, containerd(Path(directory)) as socket:
        yield socket
