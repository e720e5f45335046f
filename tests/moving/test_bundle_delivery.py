"""What a bundle brings goes to a place of its own, and each word about it is so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.moving.places import Places, is_empty, manifest
from tests.moving.test_bundle import exported, far_home, state_of
from tests.simulators.command_line import plain_environment
from tests.simulators.pushing import PATH, push_image
from tests.simulators.registry import docker_registry
from tests.simulators.wire import Exchange, WireServer


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


def test_dry_run_says_of_a_layout_what_the_run_then_does(places: Places) -> None:
    home, kept = far_home(places, "far-kept"), places.folder / "kept-later"
    words = ("bundle", "import", str(exported(places, name="kept.tar")), "--layout", str(kept))
    places.run(*words[:3], **home)
    dry = places.json(*words, "--dry-run", **home)
    assert not kept.exists()
    real = places.json(*words, **home)
    assert (dry["changed"], dry["dry_run"], real["changed"]) == (True, True, True)
    assert dry["images"] == real["images"]
    again = places.json(*words, "--dry-run", **home)
    assert (again["changed"], again["images"]) == (False, places.json(*words, **home)["images"])


def test_interrupted_delivery_promises_nothing_but_that_it_may_be_repeated(own_places: Places) -> None:
    places, home = own_places, far_home(own_places, "far")
    file, before, reached = exported(places), state_of(places, "far"), threading.Event()

    def script(exchange: Exchange) -> None:
        if "/blobs/" in exchange.request.target:
            reached.set()
            exchange.hold()
        exchange.answer(404)

    environment = {
        **plain_environment(),
        "HOME": str(places.folder),
        "TRUST_HOME": str(places.folder / "far"),
        "TRUST_POLICY": str(places.folder / "policy.toml"),
    }
    with WireServer(script=script) as slow:
        # Whoever runs the tests in the background may have had us ignore the signal, and with us who we start.
        begun = ("env", "--default-signal=INT", sys.executable, "-m", "trust")
        words = (*begun, "bundle", "import", str(file), "--to", slow.host)
        with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as running:
            assert reached.wait(60)
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=60)
    assert (running.returncode, said.strip()) == (3, "error: interrupted; the command may be repeated")
    assert state_of(places, "far") != before
    places.run("bundle", "import", str(file), "--to", places.there.host, **home)
    assert manifest(places.there.host, PATH, "single") is not None


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_bundle_that_is_no_file_is_refused_and_not_waited_for(places: Places, tmp_path: Path, kind: str) -> None:
    strange = tmp_path / "site.tar" if kind == "pipe" else Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(strange)
    said = places.run("bundle", "import", str(strange), code=2, **far_home(places, "far-strange"))
    assert f"{strange} is no file" in said
