"""Changes that wait beside the images, on a real registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.simulators.attacker import Keys, strangers
from tests.simulators.registry import docker_registry
from tests.simulators.team import Member, team
from tests.simulators.world import World, soon
from trust.chain import TOP_LEVEL_ROLES
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.stores.interface import Store
from trust.stores.registry import RegistryStore
from trust.stores.registry_view import Place
from trust.verdict import Reason

NEW = "registry.test/acme/web:2.0"


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[tuple[World, Store]]:
    """Give a world whose metadata lives in a real registry."""
    with docker_registry(tmp_path / "registry") as registry, ExitStack() as opened:
        http = opened.enter_context(Http(environ={}))
        door = Registry(registry.host, http=http, credentials=Credentials(environ={}, home=tmp_path))
        store = RegistryStore("registry:", door, Place(path="acme/trust-metadata", tag="_trust"), time.sleep)
        keys: dict[str, Keys] = {role: strangers(3) for role in TOP_LEVEL_ROLES}
        yield World(tmp_path / "world", keys=keys, threshold=2, store=store), store


def test_change_waits_beside_the_images_and_its_last_signature_publishes(beside: tuple[World, Store]) -> None:
    world, store = beside
    ann, bob, _ = team(world)
    assert ann.sign("1.4").waits is not None
    (first,) = bob.pending()
    bob.approve(first.id)
    consumer = world.consumer()
    consumer.allowed(store=store)
    token = _token(store)
    waits = ann.sign("2.0").waits
    assert waits is not None
    assert _token(store) == token  # one conditional request: consumers have nothing new to fetch
    assert consumer.refusal(NEW, store=store).reason is Reason.UNSIGNED
    bob.approve(waits.change.id)
    consumer.allowed(NEW, store=store)
    assert store.pending(deadline=soon()) == {}


def test_two_who_approve_at_once_in_a_registry_lose_no_signature(beside: tuple[World, Store]) -> None:
    world, store = beside
    ann, bob, eve = team(world, online=False)
    waits = ann.sign("1.4").waits
    assert waits is not None
    bob.meanwhile = lambda: eve.approve(waits.change.id)
    done = bob.approve(waits.change.id)
    assert done.waits is not None
    assert len(done.waits.roles[0].signed) == 3
    assert Member(world=world, name="daemon", keys=world.keys["snapshot"]).settle().published
    assert len(world.consumer().allowed(store=store).signers) == 3


def _token(store: Store) -> str | None:
    view = store.view(known=None, deadline=soon())
    assert view is not None
    return view.token
