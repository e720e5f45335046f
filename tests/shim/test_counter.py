"""What a worker hands out where something beside it fails: its closure, its cache, its memory, its upstream."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import closing
from pathlib import Path

import pytest

from registry_shim import images, pull
from registry_shim.worker import THREADS
from tests.simulators.counter import PATH, Counter
from tests.simulators.shim import until
from tests.simulators.upstream import basic, picture
from trust.digest import sha256
from trust.manifest import OCI_MANIFEST
from trust.verdict import Reason

MALLORY = basic("mallory")
IMAGE, OTHER = picture(b"one layer"), picture(b"another layer")


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    """Give a worker before a registry in which two images are signed."""
    with Counter(tmp_path) as counter:
        counter.sign("1", IMAGE)
        counter.sign("2", OTHER)
        yield counter.read()


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Counter]:
    """Give a worker whose policy merely watches."""
    with Counter(tmp_path, rules={"mode": "audit"}) as counter:
        counter.sign("1", IMAGE)
        yield counter.read()


def test_signed_image_comes_whole(counter: Counter) -> None:
    for tag, image in (("1", IMAGE), ("2", OTHER)):
        assert counter.ask(tag).body == counter.ask(image.digest).body == image.manifest
        for blob in image.blobs:
            assert counter.ask(sha256(blob), "blobs").body == blob
    assert counter.ask("3").reason == "unsigned"


def test_length_of_a_blob_that_is_not_here_yet_is_told_without_fetching_it(counter: Counter) -> None:
    counter.ask("1")
    reply = counter.ask(IMAGE.layer, "blobs", "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-length"] == str(len(IMAGE.blobs[-1]))
    assert not [each for each in counter.asked() if each.startswith("GET") and str(IMAGE.layer) in each]
    del counter.registry.blobs[PATH, str(IMAGE.layer)]
    for method in ("HEAD", "GET"):
        assert counter.ask(IMAGE.layer, "blobs", method).status == 404


@pytest.mark.parametrize(("kind", "code"), [("manifests", "MANIFEST_UNKNOWN"), ("blobs", "BLOB_UNKNOWN")])
def test_what_the_registry_hides_from_a_login_is_unknown_to_it_though_it_is_in_the_cache(
    counter: Counter, kind: str, code: str
) -> None:
    what = IMAGE.digest if kind == "manifests" else IMAGE.layer
    assert counter.ask("1").status == counter.ask(what, kind).status == 200
    counter.kept(what)
    counter.registry.rules[f"/v2/{PATH}/{kind}/{what}"] = lambda exchange: exchange.answer(404, b"{}")
    reply = counter.ask(what, kind, Authorization=MALLORY)
    assert (reply.status, reply.error["code"]) == (404, code)
    assert counter.ask(what, kind).status == 200  # of whom it has just been said


def test_more_addresses_than_are_kept_ready_are_answered_alike(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "HOT_MAX", 1)
    for _ in range(2):
        for tag, image in (("1", IMAGE), ("2", OTHER)):
            assert counter.ask(tag).body == image.manifest
    assert len(counter.worker._pull._hot) == 1


def test_more_manifests_than_memory_takes_are_read_from_the_cache_again(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "KEPT_MAX_BYTES", len(IMAGE.manifest) + 1)
    for _ in range(2):
        for image in (IMAGE, OTHER):
            assert counter.ask(image.digest, "blobs").body == image.manifest
    assert len(counter.worker._pull._images._kept) == 1
    assert len([each for each in counter.asked() if each.startswith("GET")]) == 2


def test_manifest_that_the_disk_has_changed_is_fetched_anew(counter: Counter) -> None:
    assert counter.ask("1").status == 200
    counter.worker._pull._images._kept.clear()
    counter.worker._pull._hot.clear()
    path = counter.kept(IMAGE.digest)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert counter.ask("1").body == IMAGE.manifest
    assert path.read_bytes() == IMAGE.manifest


def test_closure_that_cannot_be_used_lets_no_blob_through_and_no_manifest_that_it_lacks(counter: Counter) -> None:
    assert counter.ask("1").status == 200
    with closing(sqlite3.connect(counter.home / "closure.db")) as connection, connection:
        connection.execute("DROP TABLE part")
    blob, manifest = counter.ask(IMAGE.layer, "blobs"), counter.ask("2")
    assert (blob.status, manifest.status) == (503, 503)
    assert b"closure cannot be used" in blob.body
    assert b"closure cannot be used" in manifest.body
    assert counter.ask("1").status == 200  # whose parts were written before


def test_cache_that_cannot_keep_anything_keeps_nobody_from_the_content(counter: Counter) -> None:
    (counter.home / "cache/sha256").write_text("in the way")
    for _ in range(2):
        assert counter.ask("1").body == IMAGE.manifest
        assert counter.ask(IMAGE.layer, "blobs").body == IMAGE.blobs[-1]
        until(lambda: not list((counter.home / "cache/incoming").iterdir()), "nothing is left on its way")
        until(lambda: not counter.worker._pull._fills._running, "the fill is over")
    assert len([each for each in counter.asked() if str(IMAGE.layer) in each]) == 2  # each time from the upstream


def test_worker_that_ends_takes_no_sweep_with_it(counter: Counter) -> None:
    """One that waits for a thread goes, and one that comes after the threads is not begun; nobody stumbles."""
    own, executor, busy = counter.worker._pull, counter.worker._executor, threading.Event()
    waiting = [executor.submit(busy.wait, 20) for _ in range(THREADS)]
    own._cache._came_bytes = own._cache._max_bytes
    counter.call(lambda: own._stored(0))
    executor.shutdown(wait=False, cancel_futures=True)
    counter.call(lambda: own._stored(0))
    busy.set()
    wait(waiting)
    counter.call(lambda: None)
    assert counter.stumbles == []


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (IMAGE.manifest[:-1] + b', "manifests": []}', "ambiguous"),
        (b'{"schemaVersion": 1}', "tampered"),
        (b"no manifest", "tampered"),
    ],
)
def test_manifest_with_two_readings_or_none_is_refused_though_the_policy_merely_watches(
    watching: Counter, document: bytes, reason: str
) -> None:
    address = f"/v2/{PATH}/manifests/other"
    watching.registry.rules[address] = lambda exchange: exchange.answer(200, document, Content_Type=OCI_MANIFEST)
    reply = watching.ask("other")
    assert (reply.status, reply.reason) == (403, reason)
    assert document not in reply.body


def test_blob_in_the_cache_is_no_manifest_though_the_policy_merely_watches(watching: Counter) -> None:
    assert watching.ask("1").status == watching.ask(IMAGE.layer, "blobs").status == 200
    watching.kept(IMAGE.layer)
    assert watching.ask(IMAGE.layer).status == 404


def test_image_that_is_denied_comes_with_a_warning_where_the_policy_merely_watches(watching: Counter) -> None:
    digest = watching.registry.push(PATH, "other", OTHER)
    for last in ("other", digest):
        reply = watching.ask(last)
        assert (reply.status, reply.body) == (200, OTHER.manifest)
        assert "unsigned" in reply.headers["warning"]
        assert reply.headers["cache-control"] == "no-store"


def test_list_of_referrers_that_is_no_index_names_none(counter: Counter) -> None:
    assert counter.ask("1").status == 200
    address = f"/v2/{PATH}/referrers/{IMAGE.digest}"
    counter.registry.rules[address] = lambda exchange: exchange.answer(200, OTHER.manifest)
    reply = counter.ask(IMAGE.digest, "referrers")
    assert (reply.status, json.loads(reply.body)["manifests"]) == (200, [])
    counter.registry.rules[address] = lambda exchange: exchange.answer(200, b"no index")
    assert counter.ask(IMAGE.digest, "referrers").status == 503


def test_metadata_is_served_at_its_place_and_nothing_else_there(counter: Counter) -> None:
    place = "/v2/acme/trust-metadata"
    manifest = counter.get(f"{place}/manifests/_trust")
    named = [layer["digest"] for layer in json.loads(manifest.body)["layers"]]
    assert [counter.get(f"{place}/blobs/{digest}").status for digest in named] == [200] * len(named)
    assert counter.get(f"{place}/blobs/{IMAGE.layer}").status == 403
    assert counter.get(f"{place}/manifests/{named[0]}").status == 403


@pytest.mark.parametrize(("auth", "status"), [("forward", 401), ("own", 200)])
def test_client_is_let_in_by_the_registry_where_its_own_login_decides_and_else_by_the_shim(
    tmp_path: Path, auth: str, status: int
) -> None:
    with Counter(tmp_path, auth=auth) as counter:
        counter.registry.rules["/v2/"] = lambda exchange: exchange.answer(
            401, b"{}", WWW_Authenticate='Basic realm="tests"'
        )
        assert counter.get("/v2/").status == status
        assert bool(counter.asked()) is (auth == "forward")


def test_blob_is_refused_with_what_names_it_and_where_nothing_does(counter: Counter) -> None:
    assert counter.ask("1").status == counter.ask(IMAGE.layer, "blobs").status == 200
    assert counter.ask(OTHER.layer, "blobs").reason == "unsigned"  # nobody asked for its manifest
    counter.world.revoke(digest=IMAGE.digest)
    counter.read()
    assert counter.ask(IMAGE.layer, "blobs").status == 403
    revoked = counter.ask(IMAGE.digest, "blobs")
    assert (revoked.status, revoked.reason) == (403, "revoked")
    assert IMAGE.manifest not in revoked.body


def test_blob_that_a_denied_image_names_comes_with_a_warning_where_the_policy_merely_watches(
    watching: Counter,
) -> None:
    watching.registry.push(PATH, "other", OTHER)
    assert watching.ask(OTHER.layer, "blobs").status == 403  # which nothing names yet
    assert watching.ask("other").status == 200
    reply = watching.ask(OTHER.layer, "blobs")
    assert (reply.status, reply.body) == (200, OTHER.blobs[-1])
    assert "unsigned" in reply.headers["warning"]


def test_blob_that_the_disk_has_cut_off_is_fetched_anew(counter: Counter) -> None:
    assert counter.ask("1").status == counter.ask(IMAGE.layer, "blobs").status == 200
    path = counter.kept(IMAGE.layer)
    path.write_bytes(IMAGE.blobs[-1][:-1])
    reply = counter.ask(IMAGE.layer, "blobs")
    assert (reply.body, reply.is_whole) == (IMAGE.blobs[-1], True)


def test_cache_beyond_its_bound_is_swept_and_the_keeper_told(counter: Counter) -> None:
    counter.worker._pull._cache._max_bytes = 100
    assert counter.ask("1").status == counter.ask(IMAGE.layer, "blobs").status == 200
    until(lambda: "evicted" in json.dumps(counter.heard), "something went")
    assert counter.ask("1").body == IMAGE.manifest


def test_collection_that_is_refused_shows_neither_tags_nor_metadata(counter: Counter) -> None:
    place = "/v2/acme/trust-metadata"
    manifest = counter.get(f"{place}/manifests/_trust")
    assert json.loads(counter.get(f"/v2/{PATH}/tags/list").body)["tags"] == ["1", "2"]
    counter.refuse(Reason.ROLLED_BACK)
    for address in (
        f"/v2/{PATH}/tags/list",
        f"{place}/manifests/_trust",
        f"{place}/manifests/{sha256(manifest.body)}",
    ):
        reply = counter.get(address)
        assert (reply.status, reply.reason) == (403, "rolled-back"), address
    assert counter.ask("1").reason == "rolled-back"
    assert counter.get("/v2/other/web/tags/list").reason == "no-policy"
    until(lambda: '"tags"' in json.dumps(counter.heard), "the keeper is told of it")


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_what_is_in_the_cache_is_shown_to_a_login_once_the_registry_has_said_so(
    counter: Counter, kind: str
) -> None:
    what = IMAGE.digest if kind == "manifests" else IMAGE.layer
    assert counter.ask("1").status == counter.ask(what, kind).status == 200
    counter.kept(what)
    before = len(counter.asked())
    for _ in range(2):
        assert counter.ask(what, kind, Authorization=MALLORY).status == 200
    assert [each.partition(" ")[0] for each in counter.asked()[before:]] == ["HEAD"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_empty_blob_comes_once_it_was_verified_and_is_none_where_something_else_comes(
    counter: Counter, method: str
) -> None:
    hollow = picture(b"")
    counter.sign("hollow", hollow)
    counter.read()
    assert counter.ask("hollow").status == 200
    address = f"/v2/{PATH}/blobs/{hollow.layer}"
    counter.registry.rules[address] = lambda exchange: exchange.answer(200, b"something")
    assert b"something" not in counter.ask(hollow.layer, "blobs").body
    assert counter.ask(hollow.layer, "blobs").status == 403
    counter.registry.rules.clear()
    reply = counter.ask(hollow.layer, "blobs", method)
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")
