"""A legitimate world, a registry that does as its script says, and a real shim between it and its clients.

Many tests share one: each takes a ``Plot``, a repository of its own with a signed image in it, made in advance, so
that a test publishes only where publishing is its story.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tests.simulators.shim import Reply, Shim, ask, policy_text, until
from tests.simulators.upstream import Picture, ScriptedRegistry, basic, picture
from tests.simulators.wire import WireServer
from tests.simulators.world import World
from trust.digest import Digest
from trust.roles import Image
from trust.sign import Order, read_image, sign
from trust.value import replace

PLOTS = 110
LAYER_BYTES = 700_000  # several pieces from the upstream, of which the last is withheld
METADATA = "/v2/acme/trust-metadata/manifests/_trust"
OWN_LOGIN = basic("shim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A repository in which ``1`` is signed and pushed as ``picture``; ``stranger`` is an image nobody signed."""

    yard: Yard
    path: str
    picture: Picture
    stranger: Picture

    def at(self, last: str | Digest, kind: str = "manifests") -> str:
        """Return an address in the repository."""
        return f"/v2/{self.path}/{kind}/{last}"

    def through(self, last: str | Digest, kind: str = "manifests", method: str = "GET", **headers: str) -> Reply:
        """Return what a client of the shim gets."""
        return self.yard.shim.ask(self.at(last, kind), method, **headers)

    def unprotected(self, last: str | Digest, kind: str = "manifests", **headers: str) -> Reply:
        """Return what a client of the registry itself gets."""
        return ask(self.yard.server.port, self.at(last, kind), **headers)

    def push(self, tag: str | None, *pictures: Picture, index: bytes | None = None) -> Digest:
        """Have images in the repository as whoever can push there."""
        return self.yard.registry.push(self.path, tag, *pictures, index=index)

    def asked(self) -> list[str]:
        """Return what the registry was asked of this repository."""
        return [target for target in self.yard.server.targets if f"/v2/{self.path}/" in target]


class Yard:
    """The three of them; ``settings`` are further keys of the shim's configuration."""

    def __init__(
        self, folder: Path, server: WireServer, registry: ScriptedRegistry, *, plots: int, **settings: Any
    ) -> None:
        self.server = server
        self.registry = registry
        self.world = World(folder / "world", now=datetime.now(timezone.utc))
        rules: dict[str, Any] = settings.pop("rules", {})
        self.stanza = replace(
            self.world.stanza, max_age=timedelta(seconds=1), registries=("second.test", "own.test"), **rules
        )
        self._plots = iter([self._plot(number) for number in range(plots)])
        self.publish(*self._orders)
        moves_clock = settings.pop("moves_clock", False)
        self.shim = Shim(
            folder=folder / "shim",
            policy=policy_text(self.stanza),
            upstreams=[
                {"name": "registry.test", "url": server.url, **settings.pop("upstream", {})},
                {"name": "second.test", "url": server.url, "prefix": "second"},
                {"name": "own.test", "url": server.url, "prefix": "own", "auth": "own"},
            ],
            settings=settings,
            moves_clock=moves_clock,
        )
        docker = self.shim.folder / ".docker"
        docker.mkdir()
        auths = {"own.test": {"auth": OWN_LOGIN.removeprefix("Basic ")}}
        (docker / "config.json").write_text(json.dumps({"auths": auths}))

    _orders: tuple[Order, ...] = ()

    def plot(self) -> Plot:
        """Return a repository that no other test knows."""
        return next(self._plots)

    def publish(self, *orders: Order) -> None:
        """Have all of ``orders`` signed in one publish."""
        if orders:
            self.world.publish(lambda publisher: sign(publisher, list(orders)))

    def order(self, path: str, tag: str | None, *manifests: bytes, image: Image | None = None) -> Order:
        """Return the order to sign the last of ``manifests``, over the others; or ``image``, blindly."""
        if image is None:
            image = read_image(self.world.push(*manifests), self.world.images.__getitem__)
        return Order(path=path, tag=tag, image=image, annotations={})

    def sign(self, path: str, tag: str | None, *manifests: bytes, image: Image | None = None) -> None:
        """Have the last of ``manifests`` signed, and wait until the shim knows."""
        self.publish(self.order(path, tag, *manifests, image=image))
        self.settle()

    @property
    def generation(self) -> int:
        """The version of the timestamp that the shim decides by; 0 where it says none."""
        reply = self.shim.ask(METADATA)
        if reply.status != 200:
            return 0
        return int(json.loads(reply.body)["annotations"]["dev.content-trust.generation"])

    def settle(self) -> None:
        """Wait until the shim decides by what was published last."""
        wanted = self.world.attacker.current("timestamp").signed.version
        until(lambda: self.generation >= wanted, f"the shim knows timestamp {wanted}")

    def _plot(self, number: int) -> Plot:
        path = f"acme/plot{number}"
        signed = picture(f"small {number}".encode(), random.Random(number).randbytes(LAYER_BYTES))  # noqa: S311 - a layer
        self.registry.push(path, "1", signed)
        self._orders = (*self._orders, self.order(path, "1", signed.manifest))
        return Plot(yard=self, path=path, picture=signed, stranger=picture(f"unsigned {number}".encode()))


@contextmanager
def yard(folder: Path, *, plots: int = 1, starts: bool = True, **settings: Any) -> Iterator[Yard]:
    """Run a yard below ``folder`` meanwhile."""
    registry = ScriptedRegistry()
    with WireServer(script=registry.script) as server:
        made = Yard(folder, server, registry, plots=plots, **settings)
        if not starts:
            yield made
            return
        with made.shim:
            yield made
