"""A real shim, and a wire on each of its sides on which things go wrong: to clients, upstream registry and store.

Behind the last two is one real docker-registry, with images that are signed, one that is not, and the metadata; on
a fourth wire comes who publishes.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tests.simulators.faulty import FaultyWire
from tests.simulators.registry import DockerRegistry, docker_registry
from tests.simulators.shim import Reply, Shim, ask, policy_text, until
from tests.simulators.upstream import Picture, picture
from tests.simulators.wire import WireServer
from tests.simulators.world import World
from trust.deadline import deadline_in
from trust.digest import Digest, sha256
from trust.manifest import OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.policy import Stanza
from trust.sign import Order, read_image, sign
from trust.stores.registry import RegistryStore
from trust.stores.registry_view import Place
from trust.value import replace

PATH = "acme/web"
METADATA = Place(path="acme/trust-metadata", tag="_trust")
LAYER_BYTES = 300_000  # several pieces from the upstream, of which the last is withheld
UNSIGNED = picture(b"a small layer that nobody signed", b"and a large one " * 5_000)
REFUSED = {403, 502, 503, 504}  # never an absence, which a client would believe


@dataclass(kw_only=True)
class Street:
    """The wires, what stands between them, and who publishes."""

    registry: Registry
    running: DockerRegistry
    world: World
    shim: Shim
    clients: FaultyWire
    upstream: FaultyWire
    store: FaultyWire
    publisher: FaultyWire
    clients_host: str
    first: Picture  # signed as ``1``
    folder: Path
    starts: ExitStack

    def start_registry(self) -> None:
        """Have the registry anew, with its files, wherever it was asked before."""
        self.running = self.starts.enter_context(docker_registry(self.folder / "registry"))
        for wire in (self.upstream, self.store, self.publisher):
            wire.host = self.running.host

    def start_shim_anew(self) -> None:
        """Have the shim killed, if it is not dead yet, and started on the same directory."""
        if self.shim.process is not None:
            self.shim.process.kill()
        self.shim.stop(number=signal.SIGKILL)
        self.shim.start()
        self.clients.host = self.shim.host

    def kill_registry(self) -> None:
        """Have it killed: nothing that it had not yet done is done."""
        os.kill(self.running.process_id, signal.SIGKILL)

    def push(self, image: Picture, tag: str) -> None:
        """Have an image in the registry."""
        for blob in image.blobs:
            self.registry.push_blob(PATH, sha256(blob), blob)
        self.registry.put_manifest(
            PATH, tag, image.manifest, OCI_MANIFEST, deadline=deadline_in(60, time.monotonic)
        )

    def sign(self, images: dict[str, Picture]) -> None:
        """Have images signed in one publish, by their tags."""
        orders = []
        for tag, image in images.items():
            found = read_image(self.world.push(image.manifest), self.world.images.__getitem__)
            orders.append(Order(path=PATH, tag=tag, image=found, annotations={}))
        self.world.publish(lambda publisher: sign(publisher, orders))

    def signed(self, count: int) -> dict[str, Picture]:
        """Return so many new images by their tags, pushed, signed and known to the shim."""
        images = {f"t{number}": _image(number) for number in random.sample(range(10**9), count)}
        for tag, image in images.items():
            self.push(image, tag)
        self.sign(images)
        last = list(images)[-1]
        until(lambda: self.head(last).status == 200, "the shim knows what was signed")
        return images

    def head(self, tag: str) -> Reply:
        """Return what the shim says of a tag."""
        return self.shim.ask(f"/v2/{PATH}/manifests/{tag}", "HEAD")

    def pull(self, tag: str, image: Picture, *, port: int = 0) -> list[tuple[Reply, bytes]]:
        """Return what a client gets and what was signed, until something is not whole."""
        got = []
        asked: list[tuple[str, str | Digest, bytes]] = [("manifests", tag, image.manifest)]
        asked += [("blobs", sha256(blob), blob) for blob in image.blobs]
        for kind, last, data in asked:
            reply = ask(port or self.shim.port, f"/v2/{PATH}/{kind}/{last}")
            got.append((reply, data))
            if reply.status != 200 or not reply.is_whole:
                break
        return got

    def gives(self, tag: str, image: Picture) -> bool:
        """Tell whether a client gets all of the signed image."""
        got = self.pull(tag, image)
        return len(got) == 1 + len(image.blobs) and all(
            reply.status == 200 and reply.body == data for reply, data in got
        )

    def gives_nothing_unsigned(self) -> bool:
        """Tell whether the unsigned image, which is in the registry, stays there whatever one asks for."""
        wanted: list[tuple[str, str | Digest]] = [("manifests", "evil"), ("manifests", UNSIGNED.digest)]
        wanted += [("blobs", sha256(data)) for data in (UNSIGNED.manifest, *UNSIGNED.blobs)]
        replies = [self.shim.ask(f"/v2/{PATH}/{kind}/{last}") for kind, last in wanted]
        return all(reply.status in REFUSED and not has_unsigned(reply.body) for reply in replies)

    def behind(self) -> Stanza:
        """Return what somebody says in his policy who reaches nothing but the shim, over the clients' wire."""
        metadata = f"registry://{self.clients_host}/store/{METADATA.path}:_trust"
        return replace(self.world.stanza, metadata=metadata, registries=(self.clients_host,))


def is_true(reply: Reply, data: bytes) -> bool:
    """Tell whether an answer is what was signed, a refusal, or for every client a broken transfer.

    Of a large blob that does not hash to its name all but the last piece may come: never all of it.
    """
    if reply.status != 200:
        return reply.status in REFUSED
    return reply.body == data if reply.is_whole else len(reply.body) < len(data)


def has_unsigned(said: bytes) -> bool:
    """Tell whether there is something in ``said`` of the image that nobody signed."""
    return any(data[-40:] in said for data in (UNSIGNED.manifest, *UNSIGNED.blobs))


@contextmanager
def street(folder: Path) -> Iterator[Street]:
    """Have one meanwhile."""
    with ExitStack() as stack:
        running = stack.enter_context(docker_registry(folder / "registry"))
        wires = [FaultyWire(host=running.host) for _ in range(4)]
        clients, upstream, store, publisher = wires
        hosts = [stack.enter_context(WireServer(script=wire.script)).host for wire in wires]
        http = stack.enter_context(Http(environ={}))
        registry = Registry(hosts[3], http=http, credentials=Credentials(environ={}, home=Path("/nonexistent")))
        place = RegistryStore("registry:", registry, METADATA, time.sleep)
        world = World(folder / "world", store=place, now=datetime.now(timezone.utc))
        stanza = replace(
            world.stanza, metadata=f"registry://store.test/{METADATA.path}:_trust", max_age=timedelta(seconds=1)
        )
        shim = Shim(
            folder=folder / "shim", policy=policy_text(stanza),
            upstreams=[
                {"name": "registry.test", "url": f"http://{hosts[1]}"},
                {"name": "store.test", "url": f"http://{hosts[2]}", "prefix": "store"},
            ],
            settings={"limits": {"upstream": "5s", "grant": "600s"}},  # its word on who may read outlives it
        )  # fmt: skip
        image = _image(0)
        made = Street(
            registry=registry, running=running, world=world, shim=shim, clients=clients, upstream=upstream,
            store=store, publisher=publisher, clients_host=hosts[0], first=image, folder=folder, starts=stack,
        )  # fmt: skip
        made.push(UNSIGNED, "evil")
        made.push(image, "1")
        made.sign({"1": image})
        stack.enter_context(shim)
        clients.host = shim.host
        yield made


def _image(number: int) -> Picture:
    return picture(f"small {number}".encode(), random.Random(number).randbytes(LAYER_BYTES))  # noqa: S311 - a layer
