"""A collection whose metadata is in a real registry; every publisher and consumer has a home of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Signer

from tests.simulators.registry import DockerRegistry, docker_registry
from trust.ceremony import init
from trust.client import refresh
from trust.deadline import Deadline, deadline_in
from trust.digest import sha256
from trust.draft import Changes, draft
from trust.edition import Edition, sealed
from trust.first_edition import Role
from trust.loaded import Loaded
from trust.manifest import OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.policy import Stanza
from trust.publish import Publisher
from trust.reference import parse_collection
from trust.roles import DEFAULT_EXPIRY, Image
from trust.sign import Order
from trust.signatures import Signers
from trust.state import TrustedState
from trust.stores.registry import RegistryStore
from trust.stores.registry_view import Place
from trust.targets import Content, Table

NOW = datetime.now(timezone.utc)
METADATA = "acme/trust-metadata"
TAG = "_trust"


def deadline() -> Deadline:
    return deadline_in(60, time.monotonic)


@dataclass
class World:
    """A collection in a real registry; every publisher and consumer has a home of its own."""

    registry: DockerRegistry
    directory: Path
    signers: dict[str, Signer] = field(default_factory=dict)
    stanza: Stanza | None = None
    opened: ExitStack = field(default_factory=ExitStack)

    def http(self) -> Http:
        return self.opened.enter_context(Http(environ={}))

    def door(self) -> Registry:
        return Registry(
            self.registry.host, http=self.http(), credentials=Credentials(environ={}, home=self.directory)
        )

    def store(self, door: Registry | None = None) -> RegistryStore:
        return RegistryStore("registry:", door or self.door(), Place(path=METADATA, tag=TAG), time.sleep)

    def state(self, name: str) -> TrustedState:
        state = TrustedState(self.directory / name)
        if threading.current_thread() is threading.main_thread():
            self.opened.enter_context(closing(state))
        return state

    def publisher(self, name: str, door: Registry | None = None) -> Publisher:
        return Publisher(
            stanza=self.rules(),
            state=self.state(name),
            store=self.store(door),
            keyring=self.keyring,
            now=NOW,
            deadline=deadline(),
            pause=time.sleep,
        )

    def rules(self) -> Stanza:
        assert self.stanza is not None
        return self.stanza

    def keyring(self, keyids: Collection[str]) -> dict[str, Signer]:
        return {keyid: self.signers[keyid] for keyid in keyids if keyid in self.signers}

    def tags_seen(self, name: str) -> set[str]:
        state = self.state(name)
        refresh(self.rules(), state, self.store(), now=NOW, deadline=deadline())
        return {path for path in state.table(self.rules().root, "targets").targets if "@" not in path}


@contextmanager
def registry_world(directory: Path) -> Iterator[World]:
    """Give a collection that was just made, beside a registry with nothing else in it."""
    with docker_registry(directory / "registry") as registry:
        world = World(registry=registry, directory=directory)
        keys = {name: CryptoSigner.generate_ed25519() for name in ("root", "targets", "online")}
        world.signers = {key.public_key.keyid: key for key in keys.values()}
        roles = {
            name: Role(
                keys=(keys["online" if name in {"snapshot", "timestamp"} else name].public_key,),
                threshold=1,
                period=period,
            )
            for name, period in DEFAULT_EXPIRY.items()
        }
        stanza = Stanza(
            collection=parse_collection(f"{registry.host}/acme/"), root=sha256(b""), metadata="registry:"
        )
        born = init(
            stanza,
            state=world.state("founder"),
            store=world.store(),
            roles=roles,
            keyring=world.keyring,
            now=NOW,
            deadline=deadline(),
            randomness=os.urandom,
        )
        world.stanza = replace(stanza, root=born.root)
        with world.opened:
            yield world


def order(tag: str, content: bytes = b"image") -> Order:
    image = Image(digest=sha256(content), size_bytes=len(content), media_type=OCI_MANIFEST)
    return Order(path="acme/web", tag=tag, image=image, annotations={})


def edition_of(loaded: Loaded, table: Table, signers: Signers) -> Edition:
    """Return the next edition of ``loaded``, whose targets are ``table``."""
    made = draft(loaded, Changes(contents={"targets": Content(table=table)}), now=NOW)
    made.sign(signers)
    return sealed(loaded, made, signers=signers, now=NOW)
