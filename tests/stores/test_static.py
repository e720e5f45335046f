"""A consumer of a static host: what is absent, what is unchanged, and what is neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.simulators.memory_s3 import etag
from tests.simulators.wire import Exchange, WireServer
from tests.simulators.world import World, soon
from tests.stores.conftest import opened
from tests.stores.editions import edition, now
from trust.errors import InputError, LimitError, UnreachableError
from trust.oci.http import Http
from trust.stores.interface import TIMESTAMP, Store
from trust.verdict import Allowed, Denied, Reason


@dataclass(kw_only=True)
class Host:
    """Serves the files of a world below ``/trust/``, until a test answers in its place."""

    world: World
    instead: dict[str, Callable[[Exchange], None]] = field(default_factory=dict)
    gives_etags: bool = True
    has_head: bool = True

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        name = request.target.removeprefix("/trust/")
        path = self.world.directory / name
        if name in self.instead:
            self.instead[name](exchange)
        elif request.method == "HEAD" and not self.has_head:
            exchange.answer(405)
        elif not path.is_file():
            self.say(exchange, 404, b"<html>no such page</html>")
        else:
            data = path.read_bytes()
            headers = {"ETag": etag(data)} if self.gives_etags else {}
            is_known = self.gives_etags and request.headers.get("if-none-match") == etag(data)
            self.say(exchange, 304 if is_known else 200, b"" if is_known else data, **headers)

    def say(self, exchange: Exchange, status: int, body: bytes, **headers: str) -> None:
        is_head = exchange.request.method == "HEAD"
        exchange.answer(status, b"" if is_head else body, Content_Length=str(len(body)), **headers)


@dataclass(frozen=True, kw_only=True)
class Scene:
    world: World
    host: Host
    server: WireServer
    http: Http

    def store(self) -> Store:
        return opened(f"http://{self.server.host}/trust", self.http)

    def asked(self) -> list[str]:
        """Return what was asked for since this was called last."""
        seen = [f"{each.method} {each.target.removeprefix('/trust/')}" for each in self.server.requests]
        self.server.requests.clear()
        return seen


@pytest.fixture
def scene(world: World, http: Http) -> Iterator[Scene]:
    host = Host(world=world)
    with WireServer(script=host) as server:
        yield Scene(world=world, host=host, server=server, http=http)


def test_consumer_with_nothing_new_asks_twice_without_content(scene: Scene) -> None:
    consumer = scene.world.consumer()
    consumer.allowed(store=scene.store())
    scene.asked()
    consumer.allowed(store=scene.store())
    assert scene.asked() == ["GET timestamp.json", "HEAD 2.root.json"]


@pytest.mark.parametrize("lack", ["gives_etags", "has_head"])
def test_host_that_knows_less_is_read_all_the_same(scene: Scene, lack: str) -> None:
    setattr(scene.host, lack, False)
    consumer = scene.world.consumer()
    consumer.allowed(store=scene.store())
    consumer.allowed(store=scene.store())
    scene.world.revoke("1.4")
    verdict = consumer.verify(store=scene.store())
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.UNSIGNED


def test_change_is_seen_at_the_next_look(scene: Scene) -> None:
    consumer = scene.world.consumer()
    consumer.allowed(store=scene.store())
    scene.world.revoke("1.4")
    assert isinstance(consumer.verify(store=scene.store()), Denied)


def test_revoked_online_key_ends_though_the_timestamp_is_the_same(scene: Scene) -> None:
    """The warm question must ask for the root: the old timestamp stands there, by the key that went."""
    consumer = scene.world.consumer()
    consumer.allowed(store=scene.store())
    scene.world.replace_keys("timestamp", "snapshot")
    verdict = consumer.verify(store=scene.store())
    assert not isinstance(verdict, Allowed)


@pytest.mark.parametrize("status", [403, 401, 400, 500, 503, 204, 206, 418])
def test_root_that_is_neither_there_nor_absent_ends_no_walk(scene: Scene, status: int) -> None:
    """Whoever can forbid one file must not end the walk before the root that revokes his key."""
    consumer = scene.world.consumer()
    consumer.allowed(store=scene.store())
    scene.world.rotate()
    scene.host.instead["2.root.json"] = lambda exchange: exchange.answer(status, b"")
    assert consumer.refusal(store=scene.store()).reason is Reason.UNREACHABLE
    assert scene.world.consumer("fresh").refusal(store=scene.store()).reason is Reason.UNREACHABLE


@pytest.mark.parametrize("status", [404, 410])
def test_absent_is_what_the_host_says_is_not_there(scene: Scene, status: int) -> None:
    scene.host.instead["2.root.json"] = lambda exchange: exchange.answer(status, b"")
    scene.world.consumer().allowed(store=scene.store())


def test_page_in_the_place_of_a_missing_file_is_refused(scene: Scene) -> None:
    """A host that shows its start page for every address has no root to end the walk."""
    scene.host.instead["2.root.json"] = lambda exchange: exchange.answer(200, b"<html>welcome</html>")
    verdict = scene.world.consumer().verify(store=scene.store())
    assert not isinstance(verdict, Allowed)


def test_hanging_host_is_left_at_the_deadline(scene: Scene) -> None:
    scene.host.instead[TIMESTAMP] = Exchange.hold
    with pytest.raises(LimitError):
        now(scene.store(), soon(0.5)).read(TIMESTAMP, 100)


def test_endless_file_is_cut_off(scene: Scene) -> None:
    scene.host.instead[TIMESTAMP] = lambda exchange: exchange.answer(200, b"x" * 100_000)
    with pytest.raises(LimitError):
        now(scene.store()).read(TIMESTAMP, 10_000)


def test_malicious_etag_is_never_sent_back(scene: Scene) -> None:
    data = (scene.world.directory / TIMESTAMP).read_bytes()
    scene.host.instead[TIMESTAMP] = lambda exchange: exchange.answer(200, data, ETag=f'"{"x" * 4000}"')
    consumer = scene.world.consumer()
    consumer.allowed(store=scene.store())
    consumer.allowed(store=scene.store())
    assert not any("if-none-match" in each.headers for each in scene.server.requests)


def test_nothing_is_written_through_it(scene: Scene) -> None:
    store = scene.store()
    view = now(store)
    attempts: list[Callable[[], object]] = [
        lambda: store.probe(deadline=soon()),
        lambda: store.publish(edition(view, 9), deadline=soon()),
        lambda: store.pending(deadline=soon()),
        lambda: store.set_pending("targets", b"x", replaces=None, deadline=soon()),
        lambda: store.names(deadline=soon()),
        lambda: store.remove([], deadline=soon()),
    ]
    for attempt in attempts:
        with pytest.raises(InputError, match="only read") as caught:
            attempt()
        assert "publish =" in str(caught.value.hint)
    assert {each.method for each in scene.server.requests} <= {"GET", "HEAD"}


def test_plain_http_goes_to_this_machine_alone(http: Http) -> None:
    with pytest.raises(InputError, match="plain HTTP refused"):
        now(opened("http://example.com/trust", http)).read(TIMESTAMP, 100)


@pytest.mark.parametrize(
    "url", ["https:", "https://", "https://host/x?token=1", "https://u:p@host/x", "ftp://host/x"]
)
def test_malformed_address_is_refused(http: Http, url: str) -> None:
    with pytest.raises(InputError):
        opened(url, http)


@pytest.mark.parametrize("name", [TIMESTAMP, "2.root.json"])
def test_host_that_breaks_off_is_could_not_decide(scene: Scene, name: str) -> None:
    scene.host.instead[name] = Exchange.reset
    with pytest.raises(UnreachableError):
        now(scene.store()).read(name, 100)
