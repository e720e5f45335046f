"""An image goes into another collection: verified by the one it leaves, signed by the one it enters."""

from __future__ import annotations

import json
from typing import Any

from tests.moving.places import Places, is_empty, manifest, tags
from tests.moving.test_attest import SPDX, attest
from tests.simulators.pushing import PATH, push_image

SHOP = "shop/web"


def with_shop(places: Places, *more: str) -> Places:
    """Have a collection ``shop/`` at the destination, by keys of the same publisher."""
    url = f"file:{places.folder}/{places.there.host}"
    keys = [f"--{role}-key=shop-{role}-{places.there.host[-5:]}" for role in ("root", "targets", "online")]
    places.run("init", f"{places.there.host}/shop/", "--metadata", url, "--write-policy", *keys, *more)
    return places


def test_promoted_image_is_signed_in_the_destinations_own_collection(own_places: Places) -> None:
    places = with_shop(own_places)
    done = places.json("promote", places.src("multi"), places.dst(f"{SHOP}:1.4"))
    assert (done["changed"], done["digest"], done["dry_run"]) == (True, str(places.multi), False)
    verdict = places.json("verify", places.dst(f"{SHOP}:1.4"))["verdicts"][0]
    assert (verdict["verdict"], verdict["digest"]) == ("allowed", str(places.multi))
    index = manifest(places.there.host, SHOP, "1.4")
    assert index is not None
    for entry in json.loads(index)["manifests"]:
        places.run("verify", f"{places.dst(SHOP)}@{entry['digest']}")
    assert tags(places.there.host, "acme/trust-metadata") == tags(places.there.host, PATH) == set()


def test_repeated_promotion_changes_nothing(own_places: Places) -> None:
    places = with_shop(own_places)
    first = places.json("promote", places.src("single"), places.dst(SHOP))
    assert first["destination"].endswith(f"/{SHOP}:single")
    again = places.json("promote", places.src("single"), places.dst(SHOP))
    assert (again["changed"], again["blobs_sent"], again["versions"]) == (False, 0, first["versions"])


def test_denied_source_is_not_pushed(own_places: Places) -> None:
    places = with_shop(own_places)
    push_image(places.source.host, "unsigned", "the attacker's")
    error = places.json("promote", places.src("unsigned"), places.dst(SHOP), code=1)["error"]
    assert error["reason"] == "unsigned"
    assert is_empty(places.there)
    assert places.json("list", f"{places.there.host}/shop/")["tags"] == []


def test_dry_run_pushes_and_signs_nothing(own_places: Places) -> None:
    places = with_shop(own_places)
    dry = places.json("promote", places.src("single"), places.dst(SHOP), "--dry-run")
    assert (dry["changed"], dry["dry_run"]) == (True, True)
    assert is_empty(places.there)
    assert places.json("list", f"{places.there.host}/shop/")["tags"] == []


def test_signed_digest_is_promoted_where_the_tag_was_moved(own_places: Places) -> None:
    places = with_shop(own_places)
    moved = push_image(places.source.host, "single", "the attacker's")
    assert "tag-moved" in places.run("promote", places.src("single"), places.dst(SHOP))
    assert places.json("verify", places.dst(f"{SHOP}:single"))["verdicts"][0]["digest"] == str(places.single)
    assert manifest(places.there.host, SHOP, moved) is None


def test_digest_that_the_destination_revoked_is_not_pushed(own_places: Places) -> None:
    places = with_shop(own_places)
    places.run("promote", places.src("single"), places.dst(SHOP))
    places.run("revoke", f"{places.dst(SHOP)}@{places.single}")
    assert "revoked" in places.run("promote", places.src("single"), places.dst(f"{SHOP}-again"), code=2)
    assert tags(places.there.host, f"{SHOP}-again") == set()


def test_destination_of_no_collection_is_bad_input(own_places: Places) -> None:
    own_places.run("promote", own_places.src("single"), own_places.dst("nobodys/web"), code=2)
    assert is_empty(own_places.there)


def test_attestations_are_signed_along(own_places: Places) -> None:
    places = with_shop(own_places)
    said = attest(places, "single", "spdx", SPDX)["digest"]
    places.run("promote", places.src("single"), places.dst(SHOP))
    policy = places.folder / "asking.toml"
    stanzas: list[str] = (places.folder / "policy.toml").read_text().split("[[collection]]")
    policy.write_text("[[collection]]".join(stanzas).rstrip() + '\nattestations = ["spdx"]\n')
    assert "shop/" in stanzas[-1]
    consumer: dict[str, Any] = {"home": "asking", "policy": policy.name}
    verdict = places.json("verify", places.dst(f"{SHOP}:single"), **consumer)["verdicts"][0]
    assert verdict["attestations"] == {"spdx": [said]}
    places.run("verify", f"{places.dst(SHOP)}@{said}")


def test_promotion_that_waits_leaves_the_tag_on_what_is_signed(own_places: Places) -> None:
    own_places.run("key", "generate", "second")
    keys = ("--targets-key=first", "--targets-key=second", "--targets-threshold=2")
    own_places.run("key", "generate", "first")
    url = f"file:{own_places.folder}/shop"
    own_places.run("init", f"{own_places.there.host}/shop/", "--metadata", url, "--write-policy", *keys)
    places, image = own_places, own_places.dst(f"{SHOP}:1.4")
    places.run("promote", places.src("multi"), image)

    dry = places.json("promote", places.src("single"), image, "--key=first", "--dry-run", code=5)
    waiting = places.json("promote", places.src("single"), image, "--key=first", code=5)
    assert dry["waits"]["roles"] == waiting["waits"]["roles"]
    assert dry["tagged"] is waiting["tagged"] is False
    assert places.json("verify", image)["verdicts"][0]["digest"] == str(places.multi)
    said = places.run("promote", places.src("single"), image, "--key=first", code=5)
    assert f"the tag {image} was not moved" in said
    assert "trust approve" in said
    assert manifest(places.there.host, SHOP, "1.4") == manifest(places.there.host, SHOP, places.multi)

    places.run("approve", f"{places.there.host}/shop/", waiting["waits"]["id"], "--key=second", "--yes")
    done = places.json("promote", places.src("single"), image)
    assert (done["tagged"], done["blobs_sent"], done["waits"]) == (True, 0, None)
    assert places.json("verify", image)["verdicts"][0]["digest"] == str(places.single)
