"""The registry under a running shim is killed at every request that it answers, and started anew with its files.

It is the shim's upstream, the store of the metadata, and where a publisher publishes. Meanwhile the shim serves
what it has; afterwards it serves everything that was acknowledged, and nobody had to help.
``TRUST_FAULTS=all`` tries every request, otherwise one of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.faults.places import Record, few, record
from tests.faults.street import Street, is_true
from tests.simulators.faulty import FaultyWire
from tests.simulators.shim import until
from tests.simulators.upstream import Picture
from tests.simulators.wire import Exchange
from trust.errors import TrustError

TO_PULL, TO_REFRESH = 3, 6  # requests


@dataclass(kw_only=True)
class Site:
    """A street, and images that the shim does not have yet."""

    here: Street
    images: Iterator[tuple[str, Picture]]
    to_publish: int  # requests

    @contextmanager
    def down_from(self, wire: FaultyWire, at: int) -> Iterator[None]:
        """Have the registry die as it answers request number ``at`` of a wire, and be back afterwards."""

        def die(exchange: Exchange, _answer: bytes) -> None:
            self.here.kill_registry()
            exchange.reset()

        wire.set(die, at)
        yield
        assert wire.count > at, "it was not asked so often"
        wire.set(None)
        self.here.start_registry()

    def serves_what_it_has(self) -> bool:
        """Tell whether an outage costs nobody what the shim has, and opens nothing."""
        return self.here.gives("1", self.here.first) and self.here.gives_nothing_unsigned()

    def comes_to_give(self, tag: str, image: Picture) -> bool:
        """Tell whether the shim gives an image sooner or later, by itself."""
        try:
            return bool(until(lambda: self.here.gives(tag, image), f"{tag} is given"))
        except AssertionError:
            return False


@pytest.fixture(scope="module")
def site(here: Street) -> Site:
    def pool() -> Iterator[tuple[str, Picture]]:
        while True:
            yield from list(here.signed(8).items())[:-1]

    here.publisher.set(None)
    here.sign({"rehearsal": here.first})
    return Site(here=here, images=pool(), to_publish=here.publisher.count)


def died_at(count: int, story: Callable[[int], bool], record_property: Record) -> None:
    """Have ``story`` told of a death at each of ``count`` requests, and require that it ends well."""
    points: Sequence[int] = few(range(count), 1)
    record(record_property, len(points), [at for at in points if not story(at)])


def test_upstream_that_dies_in_a_pull_is_served_again_once_it_is_back(site: Site, record_property: Record) -> None:
    def story(at: int) -> bool:
        tag, image = next(site.images)
        with site.down_from(site.here.upstream, at):
            is_right = all(is_true(reply, data) for reply, data in site.here.pull(tag, image))
            is_right &= site.serves_what_it_has()
        return is_right and site.here.gives(tag, image)

    died_at(TO_PULL, story, record_property)


def test_store_that_dies_in_a_refresh_is_read_again_once_it_is_back(site: Site, record_property: Record) -> None:
    def story(at: int) -> bool:
        tag, image = f"refresh-{at}", site.here.first
        with site.here.store.stopped():
            site.here.sign({tag: image})
            killing = site.down_from(site.here.store, at)
            killing.__enter__()
        until(lambda: site.here.store.count > at, "it is asked")
        is_right = site.serves_what_it_has()
        killing.__exit__(None, None, None)
        return is_right and site.comes_to_give(tag, image)

    died_at(TO_REFRESH, story, record_property)


def test_store_that_dies_in_a_publish_loses_nothing_that_was_acknowledged(
    site: Site, record_property: Record
) -> None:
    def story(at: int) -> bool:
        tag, image = f"publish-{at}", site.here.first
        was_acknowledged = False
        with site.down_from(site.here.publisher, at):
            try:
                site.here.sign({tag: image})
                was_acknowledged = True
            except TrustError:
                pass
            is_right = site.serves_what_it_has()
        if was_acknowledged and not site.comes_to_give(tag, image):
            return False
        site.here.sign({tag: image, f"{tag}-again": image})
        return is_right and all(site.comes_to_give(name, image) for name in ("1", tag, f"{tag}-again"))

    died_at(site.to_publish, story, record_property)


def test_shim_that_is_killed_while_the_registry_is_away_comes_back_before_it(
    site: Site, record_property: Record
) -> None:
    tag, image = next(site.images)
    site.here.kill_registry()
    site.here.start_shim_anew()
    try:
        got = [*site.here.pull("1", site.here.first), *site.here.pull(tag, image)]
        is_right = all(is_true(reply, data) for reply, data in got) and site.here.gives_nothing_unsigned()
    finally:
        site.here.start_registry()
    is_right &= site.comes_to_give("1", site.here.first) and site.comes_to_give(tag, image)
    record(record_property, 1, [] if is_right else [site.here.shim.said[-1000:]])
