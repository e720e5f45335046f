"""An image goes to another registry: all of it arrives, with what vouches for it, or nothing does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.moving.places import (
    Places,
    blob,
    door,
    is_empty,
    manifest,
    push_referrer,
    referrer_bytes,
    soon,
    tags,
)
from tests.simulators.pushing import PATH, push_image, push_index
from trust.digest import Digest, parse_digest, sha256
from trust.toml_table import load_toml

METADATA = "acme/trust-metadata"


def digests_in(index: bytes | None) -> set[Digest]:
    assert index is not None
    return {parse_digest(entry["digest"]) for entry in json.loads(index)["manifests"]}


def test_copy_carries_image_referrers_and_metadata_and_consumers_there_verify(places: Places) -> None:
    done = places.json("copy", places.src("single"), places.dst())
    assert done["changed"] is True
    assert done["digest"] == str(places.single)
    assert done["metadata"]["step"] == "new"
    assert manifest(places.there.host, PATH, "single") == manifest(places.source.host, PATH, places.single)
    assert manifest(places.there.host, PATH, places.note) is not None
    assert digests_in(manifest(places.there.host, PATH, f"sha256-{places.single.hex}")) == {places.note}
    assert blob(places.there.host, PATH, b"a note")
    consumer = places.consumer_of(done["stanza"], "consumer-1")
    verdict = places.json("verify", f"{places.dst()}:single", **consumer)["verdicts"][0]
    assert (verdict["verdict"], verdict["digest"]) == ("allowed", str(places.single))
    places.run("verify", f"{places.dst()}:multi", code=1, **consumer)  # signed, and not copied: no such tag there


def test_copy_carries_every_platform_of_an_index(places: Places) -> None:
    before = push_referrer(places.source.host, PATH, places.multi, b"about all")
    children = digests_in(manifest(places.source.host, PATH, places.multi))
    of_child = push_referrer(places.source.host, PATH, min(children), b"about one")
    done = places.json("copy", places.src("multi"), places.dst())
    assert done["manifests"] == 5
    for digest in (*children, before, of_child):
        assert manifest(places.there.host, PATH, digest) == manifest(places.source.host, PATH, digest)
    consumer = places.consumer_of(done["stanza"], "consumer-2")
    places.run("verify", f"{places.dst()}:multi", f"{places.dst()}@{min(children)}", **consumer)


def test_repeated_copy_changes_nothing_and_sends_nothing(places: Places) -> None:
    places.run("copy", places.src("single"), places.dst())
    again = places.json("copy", places.src("single"), places.dst())
    assert again["changed"] is False
    assert (again["manifests_sent"], again["blobs_sent"], again["bytes_sent"]) == (0, 0, 0)
    assert again["metadata"]["step"] == "same"


def test_dry_run_says_what_would_be_sent_and_writes_nothing(places: Places) -> None:
    dry = places.json("copy", places.src("single"), places.dst(), "--dry-run")
    assert dry["dry_run"] is True
    assert is_empty(places.there)
    wet = places.json("copy", places.src("single"), places.dst())
    assert {**wet, "dry_run": True} == dry


def test_copy_that_was_cut_short_goes_on_with_what_is_missing(places: Places) -> None:
    whole = places.json("copy", places.src("single"), places.dst("elsewhere/web"), "--dry-run")
    first = places.json("copy", places.src("multi"), places.dst())  # the index alone
    assert first["blobs_sent"] > 0
    places.there.link_of_tag(PATH, "multi").unlink()
    second = places.json("copy", places.src("multi"), places.dst())
    assert (second["changed"], second["manifests_sent"], second["blobs_sent"]) == (True, 0, 0)
    assert "multi" in tags(places.there.host, PATH)
    assert whole["blobs_sent"] > 0


def test_denied_source_writes_nothing(places: Places) -> None:
    push_image(places.source.host, "unsigned", "the attacker's")
    error = places.json("copy", places.src("unsigned"), places.dst(), code=1)["error"]
    assert error["reason"] == "unsigned"
    assert is_empty(places.there)


def test_signed_digest_arrives_where_the_tag_was_moved_meanwhile(own_places: Places) -> None:
    moved = push_image(own_places.source.host, "single", "the attacker's")
    said = own_places.run("copy", own_places.src("single"), own_places.dst())
    assert "tag-moved" in said
    assert manifest(own_places.there.host, PATH, moved) is None
    arrived = manifest(own_places.there.host, PATH, "single")
    assert arrived is not None
    assert own_places.single.matches(arrived)


def test_corrupted_blob_never_arrives_whole_and_no_tag_points_to_the_image(own_places: Places) -> None:
    data = manifest(own_places.source.host, PATH, own_places.single)
    assert data is not None
    layer = parse_digest(json.loads(data)["layers"][0]["digest"])
    file = own_places.source.blob_file(layer.hex)
    honest = file.read_bytes()
    file.write_bytes(bytes(byte ^ 1 for byte in honest))
    error = own_places.json("copy", own_places.src("single"), own_places.dst(), code=1)["error"]
    assert error["reason"] == "tampered"
    assert not own_places.there.blob_file(layer.hex).exists()
    assert tags(own_places.there.host, PATH) == set()
    assert tags(own_places.there.host, METADATA) == set()
    file.write_bytes(honest)
    repeated = own_places.json("copy", own_places.src("single"), own_places.dst())
    assert (repeated["blobs"], repeated["blobs_sent"]) == (4, 3)  # the first had arrived before
    assert own_places.there.blob_file(layer.hex).read_bytes() == honest


def test_metadata_of_another_collection_is_never_written_over(places: Places) -> None:
    other: dict[str, Any] = {"home": "other", "policy": "other.toml"}
    places.run("init", f"{places.there.host}/acme/", "--metadata", "registry:", "--write-policy", **other)
    before = manifest(places.there.host, METADATA, "_trust")
    error = places.json("copy", places.src("single"), places.dst(), code=4)["error"]
    assert "another collection" in error["message"]
    assert "trust promote" in error["hint"]
    assert manifest(places.there.host, METADATA, "_trust") == before
    assert tags(places.there.host, PATH) == set()
    (places.folder / "other.toml").unlink()


def test_metadata_and_tag_go_forward_and_never_back(own_places: Places) -> None:
    places = own_places
    places.run("copy", places.src("single"), places.dst())
    store = places.source.link_of_tag(METADATA, "_trust")
    old = store.read_text()
    later = push_image(places.source.host, "single", "the next")
    places.run("sign", f"{places.src('single')}@{later}")
    assert places.json("copy", places.src("single"), places.dst())["metadata"]["step"] == "forward"
    newest = manifest(places.there.host, METADATA, "_trust")
    store.write_text(old)
    replayed: dict[str, Any] = {"home": "fresh"}  # no state yet: it can be shown anything unexpired that is signed
    done = places.json("copy", places.src("single"), places.dst(), **replayed)
    assert (done["digest"], done["metadata"]["step"]) == (str(places.single), "ahead")
    assert done["changed"] is False
    assert manifest(places.there.host, METADATA, "_trust") == newest
    arrived = manifest(places.there.host, PATH, "single")
    assert arrived is not None
    assert later.matches(arrived)


def test_old_metadata_at_the_source_is_rolled_back_for_who_has_seen_newer(own_places: Places) -> None:
    places = own_places
    places.run("verify", places.src("single"))
    store = places.source.link_of_tag(METADATA, "_trust")
    old = store.read_text()
    later = push_image(places.source.host, "later", "the next")
    places.run("sign", f"{places.src('later')}@{later}")
    places.run("verify", places.src("later"))
    store.write_text(old)
    error = places.json("copy", places.src("single"), places.dst(), code=1)["error"]
    assert error["reason"] == "rolled-back"
    assert is_empty(places.there)


def test_path_that_changes_is_led_back_by_the_printed_rewrite(places: Places) -> None:
    done = places.json("copy", places.src("single"), places.dst("mirror/acme/web"))
    assert load_toml(done["stanza"], what="stanza", max_bytes=9999)["collection"][0]["rewrite"] == [
        {"from": "mirror/", "to": ""}
    ]
    assert done["metadata"]["url"].endswith("/mirror/acme/trust-metadata:_trust")
    consumer = places.consumer_of(done["stanza"], "consumer-3")
    places.run("verify", f"{places.dst('mirror/acme/web')}:single", **consumer)


@pytest.mark.parametrize("name", ["acme/website", "acme/web:other", f"acme/web@sha256:{'0' * 64}"])
def test_name_that_no_signature_covers_is_bad_input(places: Places, name: str) -> None:
    places.run("copy", places.src("single"), places.dst(name), code=2)
    assert is_empty(places.there)


def test_image_by_digest_keeps_its_tag_only_while_the_tag_is_signed_to_be_it(own_places: Places) -> None:
    places = own_places
    pinned = f"{places.src('single')}@{places.single}"
    places.run("copy", pinned, places.dst())
    assert "single" in tags(places.there.host, PATH)
    newer = push_image(places.source.host, "single", "the next")
    places.run("sign", f"{places.src('single')}@{newer}")
    places.run("copy", pinned, places.dst("again/acme/web"), "--metadata", f"file:{places.folder}/elsewhere")
    assert manifest(places.there.host, "again/acme/web", places.single) is not None
    assert "single" not in tags(places.there.host, "again/acme/web")
    assert (places.folder / "elsewhere/timestamp.json").exists()


def test_listed_referrer_that_speaks_of_another_image_stays_behind(own_places: Places) -> None:
    places = own_places
    stranger = push_referrer(places.source.host, PATH, places.multi, b"of another", listed=places.single)
    places.run("copy", places.src("single"), places.dst())
    assert manifest(places.there.host, PATH, places.note) is not None
    assert manifest(places.there.host, PATH, stranger) is None


def test_image_moves_within_a_registry_without_being_sent(own_places: Places) -> None:
    places = own_places.towards(own_places.source)
    host = places.source.host
    push_index(host, "unrelated", {"amd64": "x"})
    done = places.json("copy", places.src("single"), f"{host}/mirror/acme/web")
    assert done["blobs_sent"] == 0
    assert manifest(host, "mirror/acme/web", "single") is not None


@pytest.mark.parametrize("is_read_first", [True, False])
def test_referrers_that_nobody_signed_bring_no_terabyte(own_places: Places, *, is_read_first: bool) -> None:
    """Another referrer has the same blob, in its true size."""
    places = own_places
    claimed = json.loads(referrer_bytes(places.single, b"a note"))
    claimed["layers"][0]["size"] = 2 * 1024**3
    spelled = (json.dumps({**claimed, "annotations": {"n": str(number)}}).encode() for number in range(100))
    data = next(data for data in spelled if (sha256(data) < places.note) is is_read_first)
    with door(places.source.host) as registry:
        registry.put_manifest(PATH, sha256(data), data, claimed["mediaType"], deadline=soon())
        registry.add_referrer(PATH, places.single, data, deadline=soon())
    error = places.json("copy", places.src("single"), places.dst(), code=3)["error"]
    assert "nobody signed" in error["message"]
    assert is_empty(places.there)
