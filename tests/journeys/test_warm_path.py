"""What a consumer asks of a registry that has nothing new, counted on the wire; and that it misses nothing new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts.bench.counting_proxy import CountingProxy, counting_proxy
from tests.simulators.registry import docker_registry
from tests.simulators.world import WEB, Consumer, World, soon
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.stores.interface import TIMESTAMP, Publication
from trust.stores.registry import RegistryStore
from trust.stores.registry_view import Place
from trust.verdict import Reason

PLACE = Place(path="acme/trust-metadata", tag="_trust")
QUESTION = f"GET /v2/{PLACE.path}/manifests/{PLACE.tag}"
ANSWER_MAX_BYTES = 1_000
SECOND = "registry.test/acme/web:1.5"


@dataclass(kw_only=True)
class Mirror:
    """The world's metadata in a real docker-registry, behind a proxy that counts."""

    world: World
    proxy: CountingProxy
    http: Http
    consumer: Consumer = field(init=False)

    def __post_init__(self) -> None:
        self.consumer = self.world.consumer()

    def store(self) -> RegistryStore:
        """Return the door that one command would open."""
        credentials = Credentials(environ={}, home=self.world.folder)
        registry = Registry(f"127.0.0.1:{self.proxy.port}", http=self.http, credentials=credentials)
        return RegistryStore("registry:", registry, PLACE, time.sleep)

    def publish(self) -> None:
        """Have the registry show what the world shows now."""
        store = self.store()
        base = store.view(known=None, deadline=soon())
        assert base is not None
        files = self.world.attacker.files()
        timestamp = files.pop(TIMESTAMP)
        store.publish(
            Publication(base=base, base_timestamp=None, files=files, kept=(), timestamp=timestamp), deadline=soon()
        )

    def asked(self, image: str) -> list[str]:
        """Return what a verification of ``image``, which is allowed, asks for: method and path of each request."""
        self.proxy.taken()
        self.consumer.allowed(image, store=self.store())
        return [one.line.removesuffix(" HTTP/1.1") for one in self.proxy.taken()]


@pytest.fixture
def mirror(world: World, tmp_path: Path) -> Iterator[Mirror]:
    with docker_registry(tmp_path / "registry") as registry:
        port = int(registry.host.rpartition(":")[2])
        with counting_proxy(port) as proxy, Http(environ={}) as http:
            mirror = Mirror(world=world, proxy=proxy, http=http)
            mirror.publish()
            yield mirror


def test_warm_refresh_costs_one_conditional_request(mirror: Mirror) -> None:
    first = mirror.asked(WEB)
    assert len(first) > 1
    before = mirror.consumer.rows()

    mirror.consumer.allowed(WEB, store=mirror.store())
    [exchange] = mirror.proxy.taken()

    assert exchange.line == f"{QUESTION} HTTP/1.1"
    assert "if-none-match: " in exchange.head.lower()
    assert exchange.response_bytes <= ANSWER_MAX_BYTES
    assert mirror.consumer.rows() == before


def test_publication_is_seen_by_the_refresh_after_it(mirror: Mirror) -> None:
    mirror.asked(WEB)
    mirror.world.sign("1.5")
    unseen = mirror.consumer.verify(SECOND, store=mirror.store())
    assert getattr(unseen, "reason", None) is Reason.UNSIGNED

    mirror.publish()

    assert len(mirror.asked(SECOND)) > 1
    assert mirror.asked(SECOND) == [QUESTION]


def test_offline_verification_asks_nobody(mirror: Mirror) -> None:
    mirror.asked(WEB)
    mirror.consumer.allowed(WEB, store=mirror.store(), offline=True)
    assert mirror.proxy.taken() == []
