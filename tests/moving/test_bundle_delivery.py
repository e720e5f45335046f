"""What a bundle brings goes to a place of its own, and each word about it is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.moving.places import Places, is_empty
from tests.moving.test_bundle import exported, far_home, state_of
from tests.simulators.pushing import PATH, push_image
from tests.simulators.registry import docker_registry


@pytest.mark.parametrize("dry", [("--dry-run",), ()], ids=["dry", "real"])
def test_two_collections_for_one_place_are_refused_before_anything_is_written(
    own_places: Places, tmp_path: Path, dry: tuple[str, ...]
) -> None:
    places, home = own_places, far_home(own_places, "far")
    with docker_registry(tmp_path / "second") as second:
        digest = push_image(second.host, "other", "another publisher's")
        places.run("init", f"{second.host}/acme/", "--metadata", "registry:", "--write-policy")
        places.run("sign", f"{second.host}/{PATH}:other@{digest}")
        file = exported(places, places.src("single"), f"{second.host}/{PATH}:other")
    before = state_of(places, "far")
    error = places.json("bundle", "import", str(file), "--to", places.there.host, *dry, code=2, **home)["error"]
    assert "would go to one place" in error["message"]
    assert f"{second.host}/acme/" in error["message"]
    assert state_of(places, "far") == before
    assert is_empty(places.there)


def test_two_images_for_one_tag_are_refused_before_anything_is_written(own_places: Places, tmp_path: Path) -> None:
    places, host = own_places, own_places.source.host
    with docker_registry(tmp_path / "second") as second:
        other = push_image(second.host, "single", "another publisher's")
        pinned = "".join(
            f'[[pinned]]\nimage = "{at}/{PATH}:single@{digest}"\nuntil = "2099-01-01T00:00:00Z"\n\n'
            for at, digest in ((host, places.single), (second.host, other))
        )
        (places.folder / "pinned.toml").write_text(f"schema = 1\n\n{pinned}")
        user: dict[str, Any] = {"home": "pinning", "policy": "pinned.toml"}
        file = places.folder / "pinned.tar"
        places.run("bundle", "export", str(file), places.src("single"), f"{second.host}/{PATH}:single", **user)
    for dry in (("--dry-run",), ()):
        words = ("bundle", "import", str(file), "--to", places.there.host, *dry)
        error = places.json(*words, code=2, **user)["error"]
        assert f"{places.dst()}:single" in error["message"]
        assert is_empty(places.there)
