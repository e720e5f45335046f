"""Images cross an air gap in one file: what arrives is verified before anything is written, and never older."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.moving.bundles import Files, put_together, take_apart
from tests.moving.places import Places, blob, is_empty, manifest, push_referrer, tags
from tests.simulators.pushing import PATH, push_image
from trust.bundle_file import INDEX, blob_name
from trust.database import DATABASE
from trust.digest import Digest, parse_digest, sha256
from trust.oci.layout import Layout

METADATA = "acme/trust-metadata"
FAR: dict[str, Any] = {"home": "far"}  # the consumer behind the gap: the publisher's policy, a state of his own


def exported(places: Places, *images: str, name: str = "site.tar") -> Path:
    file = places.folder / name
    places.run("bundle", "export", str(file), *(images or (places.src("single"), places.src("multi"))))
    return file


def state_of(places: Places, home: str = "far") -> bytes | None:
    database = places.folder / home / DATABASE
    return database.read_bytes() if database.exists() else None


def far_home(places: Places, name: str) -> dict[str, Any]:
    """Return a consumer of the test's own, who has trusted nothing yet and has an empty database."""
    home: dict[str, Any] = {"home": name}
    places.run("verify", f"{places.there.host}/nothing/here:1", code=1, **home)
    return home


def refused(places: Places, data: bytes, *, code: int, home: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the error of an import that ends in one line, with state, registry and layout as they were."""
    home = home or far_home(places, "far-refused")
    file = places.folder / "hostile.tar"
    file.write_bytes(data)
    before = state_of(places, home["home"])
    said = places.run("bundle", "import", str(file), "--to", places.there.host, code=code, **home)
    lines = [line for line in said.splitlines() if not line.startswith(("hint:", "note:"))]
    assert len(lines) == 1, said
    assert state_of(places, home["home"]) == before
    assert is_empty(places.there)
    assert not list((places.folder / "tmp").iterdir()), "the staging place is gone"
    error: dict[str, Any] = places.json(
        "bundle", "import", str(file), "--layout", str(places.folder / "kept"), code=code, **home
    )["error"]
    assert not (places.folder / "kept").exists()
    return error


def test_bundle_carries_images_and_metadata_to_a_registry_behind_the_gap(own_places: Places) -> None:
    places = own_places
    file = exported(places)
    done = places.json("bundle", "import", str(file), "--to", f"{places.there.host}/", **far_home(places, "far-1"))
    assert (done["changed"], done["state_changed"]) == (True, True)
    assert {each["digest"] for each in done["images"]} == {str(places.single), str(places.multi)}
    for tag in ("single", "multi"):
        assert manifest(places.there.host, PATH, tag) == manifest(places.source.host, PATH, tag)
    assert manifest(places.there.host, PATH, places.note) is not None
    assert blob(places.there.host, PATH, b"a note")
    consumer = places.consumer_of(done["stanzas"][0], "local-consumer")
    places.run("verify", f"{places.dst()}:single", f"{places.dst()}:multi", **consumer)


def test_importing_again_changes_nothing(own_places: Places) -> None:
    places, home = own_places, far_home(own_places, "far-2")
    file = exported(places)
    places.run("bundle", "import", str(file), "--to", places.there.host, **home)
    again = places.json("bundle", "import", str(file), "--to", places.there.host, **home)
    assert (again["changed"], again["state_changed"]) == (False, False)
    assert {each["blobs_sent"] for each in again["images"]} == {0}


def test_trusted_state_alone_goes_forward_where_no_place_is_named(places: Places) -> None:
    home = far_home(places, "far-3")
    file = exported(places)
    dry = places.json("bundle", "import", str(file), "--dry-run", **home)
    assert (dry["changed"], dry["state_changed"]) == (True, True)
    places.run("verify", "--offline", places.src("single"), code=3, **home)  # nothing is trusted yet
    places.run("bundle", "import", str(file), **home)
    places.run("verify", "--offline", places.src("single"), **home)


def test_images_are_kept_in_a_layout_under_their_names(places: Places) -> None:
    home, kept = far_home(places, "far-4"), places.folder / "layout-of-its-own"
    file = exported(places)
    places.run("bundle", "import", str(file), "--layout", str(kept), **home)
    assert Layout.open(kept).resolve(places.src("multi")).digest == places.multi
    assert places.note in Layout.open(kept).nameless()
    image = f"oci:{kept}:{places.src('single')}"
    places.run("verify", "--offline", image, "--as", places.src("single"), **home)


@pytest.mark.parametrize("suffix", ["tar", "tar.zst"])
def test_same_images_are_the_same_bytes(places: Places, suffix: str) -> None:
    one = exported(places, name=f"one.{suffix}").read_bytes()
    again = exported(places, places.src("multi"), places.src("single"), name=f"other.{suffix}").read_bytes()
    assert one == again
    repeated = places.json("bundle", "export", str(places.folder / f"one.{suffix}"), places.src("single"))
    assert repeated["changed"] is True
    repeated = places.json("bundle", "export", str(places.folder / f"one.{suffix}"), places.src("single"))
    assert repeated["changed"] is False


def test_compressed_bundle_is_imported(places: Places) -> None:
    file = exported(places, name="site.tar.zst")
    assert file.read_bytes().startswith(b"\x28\xb5\x2f\xfd")
    places.run("bundle", "import", str(file), **far_home(places, "far-5"))


def test_bundle_is_an_oci_layout_when_unpacked(places: Places, tmp_path: Path) -> None:
    for name, data in take_apart(exported(places)):
        path = tmp_path / "unpacked" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    layout = Layout.open(tmp_path / "unpacked")
    assert layout.resolve(places.src("multi")).digest == places.multi


def test_denied_image_makes_no_bundle(places: Places) -> None:
    push_image(places.source.host, "unsigned", "the attacker's")
    file = places.folder / "denied.tar"
    error = places.json("bundle", "export", str(file), places.src("single"), places.src("unsigned"), code=1)[
        "error"
    ]
    assert error["reason"] == "unsigned"
    assert not list(places.folder.glob("*denied.tar*"))


def test_corrupted_blob_makes_no_bundle(own_places: Places) -> None:
    data = manifest(own_places.source.host, PATH, own_places.single)
    assert data is not None
    layer = own_places.source.blob_file(parse_digest(json.loads(data)["layers"][0]["digest"]).hex)
    layer.write_bytes(bytes(byte ^ 1 for byte in layer.read_bytes()))
    file = own_places.folder / "corrupt.tar"
    error = own_places.json("bundle", "export", str(file), own_places.src("single"), code=1)["error"]
    assert error["reason"] == "tampered"
    assert not list(own_places.folder.glob("*corrupt.tar*"))


def test_older_bundle_is_rolled_back_and_leaves_the_newer_state(own_places: Places) -> None:
    places, home = own_places, far_home(own_places, "far-6")
    old = exported(places, places.src("single"), name="old.tar").read_bytes()
    later = push_image(places.source.host, "later", "the next")
    places.run("sign", f"{places.src('later')}@{later}")
    places.run("bundle", "import", str(exported(places, places.src("later"), name="new.tar")), **home)
    assert refused(places, old, code=1, home=home)["reason"] == "rolled-back"
    places.run("verify", "--offline", places.src("later"), **home)


def test_metadata_of_another_collection_is_refused(own_places: Places) -> None:
    places = own_places
    other: dict[str, Any] = {"home": "other", "policy": "other.toml"}
    rogue = ("--metadata", f"file:{places.folder}/rogue", "--write-policy")
    places.run("init", f"{places.source.host}/rogue/", *rogue, **other)
    foreign = {
        name: (places.folder / "rogue" / name).read_bytes()
        for name in ("1.root.json", "1.targets.json", "1.snapshot.json", "timestamp.json")
    }
    files = take_apart(exported(places))
    folder = next(name for name, _ in files if name.startswith("trust/")).rpartition("/")[0]
    rest = [(name, data) for name, data in files if not name.startswith("trust/")]
    swapped = sorted((f"{folder}/{name}", data) for name, data in foreign.items())
    error = refused(places, put_together([*rest[:2], *swapped, *rest[2:]]), code=1)
    assert error["reason"] == "tampered"
    pin = sha256(foreign["1.root.json"]).hex
    beside = sorted([
        *((name, data) for name, data in files if name.startswith("trust/")),
        *((f"trust/{pin}/{name}", data) for name, data in foreign.items()),
    ])  # fmt: skip
    error = refused(places, put_together([*rest[:2], *beside, *rest[2:]]), code=2)
    assert "none of its images is under" in error["message"]


Change = Callable[[Files, Places], Files]


def _swap(name_of: Callable[[Places], str], data: bytes) -> Change:
    def change(files: Files, places: Places) -> Files:
        wanted = name_of(places)
        assert wanted in {name for name, _ in files}
        return [(name, data if name == wanted else old) for name, old in files]

    return change


def _layer(places: Places) -> str:
    return blob_name(_layer_of(places, places.single))


def _layer_of(places: Places, digest: Digest) -> Digest:
    data = manifest(places.source.host, PATH, digest)
    assert data is not None
    return parse_digest(json.loads(data)["layers"][0]["digest"])


def _flipped_layer(files: Files, places: Places) -> Files:
    wanted = _layer(places)
    return [(name, bytes(b ^ 1 for b in data) if name == wanted else data) for name, data in files]


def _without(name_of: Callable[[Places], str]) -> Change:
    return lambda files, places: [(name, data) for name, data in files if name != name_of(places)]


def _another_image(files: Files, places: Places) -> Files:
    """Have the index say that the unsigned image is the signed one."""
    index = json.loads(files[1][1])
    for entry in index["manifests"]:
        if entry["digest"] == str(places.single):
            entry["digest"], entry["size"] = str(places.multi), entry["size"]
    return [files[0], (INDEX, json.dumps(index).encode()), *files[2:]]


def _nameless_stranger(files: Files, places: Places) -> Files:
    """Have an image that nobody signed come along as if it were a referrer."""
    data = manifest(places.source.host, PATH, push_image(places.source.host, "unsigned", "the attacker's"))
    assert data is not None
    index = json.loads(files[1][1])
    media_type = json.loads(data)["mediaType"]
    index["manifests"].append({"mediaType": media_type, "digest": str(sha256(data)), "size": len(data)})
    inside = json.loads(data)
    blobs = [(blob_name(parse_digest(each["digest"])), bytes(each["size"])) for each in
             (inside["config"], *inside["layers"])]  # fmt: skip
    return [files[0], (INDEX, json.dumps(index).encode()), *files[2:], (blob_name(sha256(data)), data), *blobs]


def _renamed(old: str, new: str) -> Change:
    return lambda files, _places: [(new if name == old else name, data) for name, data in files]


def _large_unsigned(files: Files, places: Places) -> Files:
    """Have a referrer that claims two gigabytes."""
    note = manifest(places.source.host, PATH, places.note)
    assert note is not None
    claimed = json.loads(note)
    claimed["layers"][0]["size"] = 2 * 1024**3
    data = json.dumps(claimed).encode()
    index = json.loads(files[1][1])
    entry = {"mediaType": claimed["mediaType"], "digest": str(sha256(data)), "size": len(data)}
    index["manifests"] = [each for each in index["manifests"] if each["digest"] != str(places.note)] + [entry]
    name = blob_name(places.note)
    files = [(blob_name(sha256(data)), data) if each == name else (each, old) for each, old in files]
    return [files[0], (INDEX, json.dumps(index).encode()), *files[2:]]


HOSTILE: dict[str, tuple[Change, int, str]] = {
    "traversal": (lambda f, _p: [*f, ("../../etc/cron.d/x", b"x")], 2, "nothing before it names"),
    "absolute": (lambda f, _p: [*f, ("/etc/cron.d/x", b"x")], 2, "nothing before it names"),
    "traversal in metadata": (
        lambda f, _p: [*f[:2], (f"trust/{'0' * 64}/..", b"x"), *f[2:]], 2, "name is malformed",
    ),
    "stranger": (lambda f, _p: [*f, (blob_name(sha256(b"x")), b"x")], 2, "nothing before it names"),
    "twice": (lambda f, _p: [*f, f[-1]], 2, "or twice"),
    "metadata twice": (lambda f, _p: [*f[:2], f[2], *f[2:]], 2, "or there twice"),
    "order": (lambda f, _p: [f[1], f[0], *f[2:]], 2, "expected oci-layout"),
    "no index": (lambda f, _p: [f[0], *f[2:]], 2, "expected index.json"),
    "empty": (lambda _f, _p: [], 2, "is no bundle"),
    "index of nothing": (
        lambda f, _p: [f[0], (INDEX, b'{"schemaVersion": 2, "manifests": []}')], 2, "has no image",
    ),
    "index that is none": (lambda f, _p: [f[0], (INDEX, b"[]"), *f[2:]], 2, "JSON object"),
    "missing blob": (_without(_layer), 2, "incomplete"),
    "missing manifest": (_without(lambda p: blob_name(p.single)), 2, "nothing before it names"),
    "missing metadata": (lambda f, _p: [e for e in f if not e[0].startswith("trust/")], 2, "has no metadata"),
    "missing timestamp": (lambda f, _p: [e for e in f if "timestamp" not in e[0]], 3, "no such file"),
    "wrong layer": (_flipped_layer, 1, "tampered"),
    "longer layer": (_swap(_layer, b"x" * 5000), 1, "tampered"),
    "wrong manifest": (_swap(lambda p: blob_name(p.single), b"{}"), 1, "tampered"),
    "another image": (_another_image, 1, "tampered"),
    "image as a referrer": (_nameless_stranger, 1, "tampered"),
    "large referrer": (_large_unsigned, 3, "nobody signed"),
}  # fmt: skip


@pytest.mark.parametrize("attack", list(HOSTILE))
def test_hostile_bundle_is_refused_with_one_line_and_nothing_written(places: Places, attack: str) -> None:
    change, code, words = HOSTILE[attack]
    files = take_apart(exported(places, places.src("single"), places.src("multi"), name="honest.tar"))
    error = refused(places, put_together(change(files, places)), code=code)
    assert words in f"{error['reason']} {error['message']}"


def test_image_without_a_name_that_refers_to_nothing_here_is_refused(places: Places) -> None:
    files = take_apart(exported(places, places.src("single"), name="honest.tar"))
    stranger = push_referrer(places.source.host, "acme/db", places.multi, b"a note")
    data = manifest(places.source.host, "acme/db", stranger)
    assert data is not None
    index = json.loads(files[1][1])
    index["manifests"].append(
        {"mediaType": json.loads(data)["mediaType"], "digest": str(sha256(data)), "size": len(data)}
    )
    changed = [files[0], (INDEX, json.dumps(index).encode()), *files[2:], (blob_name(sha256(data)), data)]
    assert "none of its images" in refused(places, put_together(changed), code=2)["message"]


def test_truncated_bundle_is_refused(places: Places) -> None:
    data = exported(places, name="honest.tar").read_bytes()
    for end in (10, 600, len(data) // 2, len(data) - 512):
        assert "bundle is truncated" in refused(places, data[:end], code=2)["message"]


def test_bomb_ends_at_the_first_file_that_nothing_names(places: Places) -> None:
    files = take_apart(exported(places, name="honest.tar"))
    bomb = put_together([*files, (blob_name(sha256(b"x")), bytes(200_000_000))], in_zstd=True)
    assert len(bomb) < 200_000
    assert "nothing before it names" in refused(places, bomb, code=2)["message"]


def test_metadata_of_another_collection_at_the_registry_ends_the_import(places: Places) -> None:
    other: dict[str, Any] = {"home": "other-there", "policy": "other-there.toml"}
    places.run("init", f"{places.there.host}/acme/", "--metadata", "registry:", "--write-policy", **other)
    home = far_home(places, "far-7")
    before, metadata = state_of(places, "far-7"), manifest(places.there.host, METADATA, "_trust")
    error = places.json("bundle", "import", str(exported(places)), "--to", places.there.host, code=4, **home)[
        "error"
    ]
    assert "another collection" in error["message"]
    assert state_of(places, "far-7") == before
    assert manifest(places.there.host, METADATA, "_trust") == metadata
    assert tags(places.there.host, PATH) == set()
    (places.folder / "other-there.toml").unlink()


def test_images_go_to_one_place(places: Places) -> None:
    file = exported(places)
    places.run("bundle", "import", str(file), "--to", places.there.host, "--layout", "x", code=2, **FAR)


@pytest.mark.parametrize("name", ["pipe.tar", "."])
def test_bundle_takes_the_place_of_no_device(places: Places, name: str) -> None:
    place = places.folder / "strange" / name
    place.parent.mkdir(exist_ok=True)
    if name != ".":
        os.mkfifo(place)
    said = places.run("bundle", "export", str(place), places.src("single"), code=2)
    assert "is no file" in said or "is a directory" in said
    assert place.is_fifo() or place.is_dir()


def test_links_laid_where_a_bundle_is_written_are_not_written_through(places: Places) -> None:
    """Whoever may write in the directory knew which numbers the next processes have."""
    victim, shared = places.folder / "victim.txt", places.folder / "shared"
    victim.write_text("precious")
    shared.mkdir()
    latest = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[-1])
    for number in range(latest, latest + 300):
        (shared / f".site.tar.{number}").symlink_to(victim)
    places.run("bundle", "export", str(shared / "site.tar"), places.src("single"))
    assert victim.read_text() == "precious"
    assert take_apart(shared / "site.tar")
    assert not (shared / "site.tar").is_symlink()
