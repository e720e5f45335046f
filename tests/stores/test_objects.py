"""An object store that fails, lies or hangs: nothing acknowledged is lost, and no failure is taken for absence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.simulators.authority import Authority
from tests.simulators.memory_s3 import MemoryS3
from tests.simulators.object_store import environment
from tests.simulators.wire import Exchange, WireServer, answer
from tests.simulators.world import soon
from tests.stores.conftest import opened
from tests.stores.editions import edition, now, publish
from trust.errors import ConflictError, InputError, LimitError, UnreachableError
from trust.oci.http import Http
from trust.stores.interface import TIMESTAMP, MissingPlaceError, Store

URL = "s3://bucket/acme"
KEY = "/bucket/acme/"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A store before a scriptable server."""

    s3: MemoryS3
    server: WireServer
    http: Http

    def store(self) -> Store:
        return opened(URL, self.http)

    def seen(self, method: str, name: str) -> int:
        return sum(each.method == method and each.target == f"{KEY}{name}" for each in self.server.requests)

    def current(self) -> bytes | None:
        return self.s3.objects.get(f"{KEY}{TIMESTAMP}")


@pytest.fixture
def scene(http: Http) -> Iterator[Scene]:
    s3 = MemoryS3()
    with WireServer(script=s3) as server:
        own = {"AWS_ENDPOINT_URL": f"http://{server.host}", "AWS_REGION": "us-east-1"}
        with environment({**own, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}):
            yield Scene(s3=s3, server=server, http=http)


def times(
    count: int, fault: Callable[[Exchange], None], *, method: str = "", name: str = ""
) -> Callable[..., bool]:
    """Return a fault that comes ``count`` times for requests of ``method`` on ``name``."""
    left = [count]

    def strike(exchange: Exchange) -> bool:
        request = exchange.request
        if not left[0] or method not in {"", request.method} or not request.target.endswith(name):
            return False
        left[0] -= 1
        fault(exchange)
        return True

    return strike


@pytest.mark.parametrize("status", [500, 503, 429])
def test_fault_that_passes_is_asked_again_with_back_off(scene: Scene, status: int) -> None:
    publish(scene.store(), 1)
    scene.s3.faults.append(times(2, lambda exchange: exchange.answer(status, b""), method="GET"))
    before = scene.seen("GET", TIMESTAMP)
    began = time.monotonic()
    assert now(scene.store()).read(TIMESTAMP, 100) == b"timestamp 1"
    assert scene.seen("GET", TIMESTAMP) - before == 3
    assert time.monotonic() - began > 0.1, "at once is no back-off"


def test_fault_that_stays_is_told_in_one_line_and_is_no_absence(scene: Scene) -> None:
    scene.s3.faults.append(
        times(100, lambda exchange: exchange.answer(503, b"<Error><Code>SlowDown</Code></Error>"))
    )
    with pytest.raises(
        UnreachableError, match=r"^s3://bucket/acme: could not read 2.root.json: got 503"
    ) as caught:
        now(scene.store()).read("2.root.json", 100)
    assert "\n" not in str(caught.value)
    assert "http" not in str(caught.value)


def test_server_that_hangs_is_left_at_the_deadline(scene: Scene) -> None:
    scene.s3.faults.append(times(100, Exchange.hold))
    began = time.monotonic()
    with pytest.raises(LimitError, match="deadline"):
        now(scene.store(), soon(0.5)).read(TIMESTAMP, 100)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, b"<Error><Code>AccessDenied</Code></Error>", UnreachableError),
        (404, b"<Error><Code>NoSuchBucket</Code></Error>", MissingPlaceError),
        (404, b"<html>not here</html>", UnreachableError),
        (404, b"", UnreachableError),
        (400, b"<Error><Code>ExpiredToken</Code></Error>", UnreachableError),
    ],
)
def test_answer_that_is_no_plain_absence_is_not_taken_for_one(
    scene: Scene, status: int, body: bytes, error: type[Exception]
) -> None:
    scene.s3.faults.append(times(100, lambda exchange: exchange.answer(status, body)))
    with pytest.raises(error):
        now(scene.store()).read("2.root.json", 100)


def test_answer_that_is_longer_than_it_says_is_left_at_the_limit(scene: Scene) -> None:
    """Of two lengths the chunks count: 64 MB come in the place of ten bytes."""
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    sent = [0]

    def flood(exchange: Exchange) -> None:
        exchange.is_over = True
        said = {"Last_Modified": "Thu, 01 May 2031 12:00:00 GMT", "ETag": '"x"', "Content_Length": "10"}
        exchange.send(answer(200, b"", Transfer_Encoding="chunked", **said))
        for _ in range(64):
            exchange.send(chunk)
            sent[0] += 1
        exchange.send(b"0\r\n\r\n")

    scene.s3.faults.append(times(1, flood))
    with pytest.raises(LimitError, match=r"too large.*2\.targets\.json: expected at most 100,"):
        now(scene.store()).read("2.targets.json", 100)
    assert sent[0] < 64, "the connection is closed, and the rest never sent"


@pytest.mark.parametrize("body", [b"x" * 300_000, b"://" * 100_000, b"x://y " * 50_000])
def test_long_answer_that_is_no_list_is_refused_at_once(scene: Scene, body: bytes) -> None:
    """The text of an error is looked through once: an address is not sought at each of its letters."""
    scene.s3.faults.append(times(100, lambda exchange: exchange.answer(200, body)))
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="could not list") as caught:
        scene.store().names(deadline=soon(20))
    assert time.monotonic() - began < 5
    assert len(str(caught.value)) < 300
    assert "://" not in str(caught.value).removeprefix("s3://")


@pytest.mark.parametrize("journey", ["read", "look", "list", "publish"])
def test_redirect_to_another_host_is_not_followed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, journey: str
) -> None:
    """The session token would go along."""
    publish(scene.store(), 1)
    before = dict(scene.s3.objects)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "told to one host alone")
    with WireServer(script=lambda exchange: exchange.answer(200, b"{}", ETag='"x"')) as other:
        where = f"http://localhost:{other.port}/bucket/acme/2.root.json"
        method = "PUT" if journey == "publish" else ""
        scene.s3.faults.append(
            times(100, lambda exchange: exchange.answer(307, b"", Location=where), method=method)
        )
        journeys: dict[str, Callable[[], object]] = {
            "read": lambda: now(scene.store()).read("2.root.json", 100),
            "look": lambda: now(scene.store()).taken("2.root.json"),
            "list": lambda: scene.store().names(deadline=soon()),
            "publish": lambda: publish(scene.store(), 2),
        }
        with pytest.raises(UnreachableError, match=r"redirects to another host|got 307"):
            journeys[journey]()
    assert other.requests == []
    assert scene.s3.objects == before


def test_swap_whose_answer_was_lost_is_settled_by_what_stands_there(scene: Scene) -> None:
    publish(scene.store(), 1)

    def done_but_not_told(exchange: Exchange) -> None:
        scene.s3.done(exchange)
        exchange.reset()

    scene.s3.faults.append(times(1, done_but_not_told, method="PUT", name=TIMESTAMP))
    publish(scene.store(), 2)
    assert scene.current() == b"timestamp 2"


def test_swap_that_was_lost_on_its_way_is_made_again(scene: Scene) -> None:
    publish(scene.store(), 1)
    scene.s3.faults.append(times(1, Exchange.reset, method="PUT", name=TIMESTAMP))
    publish(scene.store(), 2)
    assert scene.current() == b"timestamp 2"


def test_swap_after_which_another_published_is_a_conflict(scene: Scene) -> None:
    publish(scene.store(), 1)

    def rival(exchange: Exchange) -> None:
        scene.s3.objects[f"{KEY}{TIMESTAMP}"] = b"of the rival"
        exchange.reset()

    scene.s3.faults.append(times(1, rival, method="PUT", name=TIMESTAMP))
    with pytest.raises(ConflictError, match="another"):
        publish(scene.store(), 2)
    assert scene.current() == b"of the rival"


def test_file_whose_answer_was_lost_is_not_taken_for_anothers(scene: Scene) -> None:
    def done_but_not_told(exchange: Exchange) -> None:
        scene.s3.done(exchange)
        exchange.reset()

    scene.s3.faults.append(times(1, done_but_not_told, method="PUT", name="1.targets.json"))
    publish(scene.store(), 1)
    assert scene.current() == b"timestamp 1"


@pytest.mark.parametrize("name", ["2.targets.json", "2.snapshot.json", TIMESTAMP])
def test_store_that_is_gone_in_mid_publish_shows_the_old_edition(scene: Scene, name: str) -> None:
    publish(scene.store(), 1)
    gone = times(100, Exchange.reset)

    def go(exchange: Exchange) -> None:
        scene.s3.faults.append(gone)
        exchange.reset()

    scene.s3.faults.append(times(1, go, method="PUT", name=name))
    with pytest.raises(UnreachableError):
        publish(scene.store(), 2)
    assert scene.current() == b"timestamp 1"
    scene.s3.faults.clear()
    publish(scene.store(), 2, by="")
    assert scene.current() == b"timestamp 2"


def test_lost_etag_is_an_error_and_nothing_is_written(scene: Scene) -> None:
    publish(scene.store(), 1)
    before = dict(scene.s3.objects)
    scene.s3.gives_etags = False
    with pytest.raises((UnreachableError, InputError), match=r"(?i)etag"):
        publish(scene.store(), 2)
    assert scene.s3.objects == before
    scene.s3.gives_etags = True
    publish(scene.store(), 2)


@pytest.mark.parametrize(("broken", "said"), [("honours_create", "create-only"), ("honours_match", "ETag")])
def test_server_that_ignores_conditions_is_not_used(scene: Scene, broken: str, said: str) -> None:
    scene.store().probe(deadline=soon())
    setattr(scene.s3, broken, False)
    with pytest.raises(InputError, match=said):
        scene.store().probe(deadline=soon())
    assert scene.s3.objects == {}


def test_change_that_waits_is_settled_like_a_swap(scene: Scene) -> None:
    scene.store().set_pending("targets", b"one", replaces=None, deadline=soon())

    def done_but_not_told(exchange: Exchange) -> None:
        scene.s3.done(exchange)
        exchange.reset()

    scene.s3.faults.append(times(1, done_but_not_told, method="PUT", name="targets.json"))
    scene.store().set_pending("targets", b"two", replaces=b"one", deadline=soon())
    assert scene.s3.objects[f"{KEY}pending/targets.json"] == b"two"

    def rival(exchange: Exchange) -> bool:
        if exchange.request.method == "PUT":
            scene.s3.objects[f"{KEY}pending/targets.json"] = b"three"
        return False

    scene.s3.faults[:] = [rival]
    with pytest.raises(ConflictError):
        scene.store().set_pending("targets", None, replaces=b"two", deadline=soon())
    assert scene.s3.objects[f"{KEY}pending/targets.json"] == b"three"


def test_plain_http_is_not_allowed_by_the_environment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(UnreachableError):
        now(opened(URL, scene.http, environ={})).read(TIMESTAMP, 100)
    assert scene.server.requests == []


def test_certificate_is_believed_by_ssl_cert_file_alone(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(scene.store(), 1)
    authority = Authority(tmp_path)
    with WireServer(script=scene.s3, tls=authority.server_context("localhost")) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{server.port}")
        with pytest.raises(UnreachableError, match="certificate is not trusted"):
            now(scene.store()).read(TIMESTAMP, 100)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        assert now(scene.store()).read(TIMESTAMP, 100) == b"timestamp 1"


@pytest.mark.parametrize(
    ("endpoint", "said"), [("http://127.0.0.1:1", "connection refused"), ("https://none.invalid", "no such host")]
)
def test_endpoint_that_is_not_there_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, endpoint: str, said: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UnreachableError, match=said):
        now(scene.store()).read(TIMESTAMP, 100)


def test_edition_is_cached_as_long_as_it_may_be(scene: Scene) -> None:
    publish(scene.store(), 1)
    said = {each.target.removeprefix(KEY): each.headers.get("cache-control", "") for each in scene.server.requests
            if each.method == "PUT"}  # fmt: skip
    assert said[TIMESTAMP] == "no-cache"
    assert "immutable" in said["1.targets.json"]


def test_base_that_the_store_never_showed_is_compared_by_its_bytes(scene: Scene) -> None:
    publish(scene.store(), 1)
    base = edition(now(scene.store()), 2)
    scene.store().publish(base, deadline=soon())
    with pytest.raises(ConflictError):
        scene.store().publish(base, deadline=soon())
