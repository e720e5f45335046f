"""Gives each test a home, a layout to pull from, and an outside that nothing may touch."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from copy import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.images import (
    NOW,
    Layer,
    Piece,
    allowed,
    busybox_layer,
    deadline,
    host,
    image_bytes,
    layer,
    pulled,
    vetted,
)
from tests.runtime.loops import Loops, loop_devices
from trust.oci.layout import Layout
from trust.run import Ended, Started, run
from trust.runtime.disk import remove_tree
from trust.runtime.host import open_containers, open_engine
from trust.runtime.layer import Budget
from trust.runtime.options import RunOptions
from trust.runtime.record import Container
from trust.runtime.source import LayoutSource
from trust.runtime.unpack import unpack


class Workshop:
    """A publisher's layout and a consumer's home, on one disk, with an outside between them."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.outside = directory / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(b"of the host\n")
        self.source = Layout.create(directory / "source")
        self.store = Layout.create(self.home / "content")

    def at(self, home: Path) -> Workshop:
        """Return the same workshop with another home."""
        other = copy(self)
        other.home, other.store = home, Layout.create(home / "content")
        return other

    def unpack(self, *layers: Layer, budget: Budget | None = None) -> Path:
        """Return the tree of an image of ``layers``."""
        image = pulled(self.source, self.store, image_bytes(self.source, *layers))
        return unpack(image, store=self.store, home=self.home, budget=budget)

    def is_untouched(self) -> bool:
        """Tell whether the outside is as it was."""
        found = {path.name: path.read_bytes() for path in self.outside.iterdir()}
        return found == {"secret": b"of the host\n"} and (self.outside / "secret").stat().st_nlink == 1

    def leftovers(self) -> list[str]:
        """Return what is below ``rootfs`` but whole images."""
        return [path.name for path in (self.home / "rootfs").glob(".partial/*")]

    def trees(self) -> list[Path]:
        """Return the trees that a later run would believe."""
        return list(self.home.glob("rootfs/sha256/*/unpacked.json"))


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """Give a workshop; what containers leave there is removed as ``trust rm`` would."""
    yield Workshop(tmp_path)
    remove_tree(tmp_path / "home")


class Runner:
    """Runs images of busybox with one engine, as a command line would."""

    def __init__(self, workshop: Workshop, engine: str, capfd: pytest.CaptureFixture[str]) -> None:
        self.workshop = workshop
        self.host = host(workshop.home)
        self.engine = open_engine(engine, self.host)
        self.containers = open_containers(self.host)
        self.identities: list[str] = []
        self._capfd = capfd

    def image(self, *pieces: Piece, config: Mapping[str, Any] | None = None) -> bytes:
        """Return the manifest of an image with a shell, ``pieces`` on top."""
        return image_bytes(self.workshop.source, busybox_layer(), layer(*pieces), config=config)

    def run(self, manifest: bytes, options: RunOptions, *, now: datetime = NOW) -> Ended | Started:
        """Run, and hand on what the journey gives."""
        self.identities.append(secrets.token_hex(16))
        return run(
            allowed(manifest),
            identity=self.identities[-1],
            options=options,
            host=self.host,
            engine=self.engine,
            source=LayoutSource(layout=self.workshop.source),
            now=now,
            deadline=deadline(),
            vet=vetted,
        )

    def output(self, script: str, *pieces: Piece, config: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Return what a shell script writes in a container that is removed afterwards; it must succeed."""
        self._capfd.readouterr()
        asked = RunOptions(command=("/bin/sh", "-c", script), is_removed_after=True, **options)
        ended = self.run(self.image(*pieces, config=config), asked)
        out, err = self._capfd.readouterr()
        assert isinstance(ended, Ended)
        assert ended.exit_status == 0, f"exit status {ended.exit_status}: {out}{err}"
        return out

    def start(self, script: str, *pieces: Piece, name: str | None = None) -> Container:
        """Return the container of a shell script, detached."""
        options = RunOptions(command=("/bin/sh", "-c", script), is_detached=True, name=name)
        started = self.run(self.image(*pieces), options)
        assert isinstance(started, Started)
        return started.container

    def directory(self) -> Path:
        """Return the directory of the latest container."""
        return self.containers.directory(self.identities[-1])


@pytest.fixture(params=["runc", pytest.param("crun", marks=pytest.mark.root), "bubblewrap"])
def runner(
    request: pytest.FixtureRequest, workshop: Workshop, capfd: pytest.CaptureFixture[str]
) -> Iterator[Runner]:
    """Give a runner for each engine; crun is left out for users, whom it serves on some cgroup layouts only."""
    runner = Runner(workshop, request.param, capfd)
    yield runner
    for listed in runner.containers.all():
        runner.containers.remove(listed.container, force=True)


@pytest.fixture
def one(workshop: Workshop, capfd: pytest.CaptureFixture[str]) -> Runner:
    """Give a runner with the engine that is there everywhere."""
    return Runner(workshop, "runc", capfd)


@pytest.fixture
def loops() -> Loops:
    """Give the loop devices that were there before."""
    return loop_devices()
