"""The index of a layout: its tags, its referrers, and what is no layout at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.edges.layouts import DIGEST, MANIFEST, described
from tests.moving.places import referrer_bytes
from trust.digest import sha256
from trust.errors import InputError, LimitError, StateError
from trust.manifest import OCI_INDEX, OCI_MANIFEST, Platform
from trust.oci.layout import REF_NAME, Layout
from trust.oci.layout_repository import LayoutRepository

_opened: list[list[str]] = []  # an audit hook stays for good: there is one


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened:
        _opened[-1].append(str(arguments[0]))


sys.addaudithook(_audit)


@contextmanager
def opened() -> Iterator[list[str]]:
    """Give the names of all files that are opened meanwhile."""
    _opened.append([])
    try:
        yield _opened[-1]
    finally:
        _opened.pop()


def test_layout_is_opened_as_it_was_left(layout: Layout) -> None:
    layout.add_blob([MANIFEST], sha256(MANIFEST), len(MANIFEST))
    layout.tag("1.4", described(MANIFEST, Platform(os="linux", architecture="arm64", variant="v8")))
    again = Layout.create(layout.directory)
    assert Layout.open(layout.directory).resolve("1.4") == again.resolve(None)
    found = again.resolve("1.4")
    assert found.digest == sha256(MANIFEST)
    assert found.platform == Platform(os="linux", architecture="arm64", variant="v8")
    assert found.annotations == {"a": "b", REF_NAME: "1.4"}
    assert again.manifest(found.digest) == MANIFEST


def test_tag_stands_for_one_manifest_and_leaves_the_others(layout: Layout) -> None:
    for name, content in (("1", b"one"), ("2", b"two"), ("1", b"three")):
        layout.tag(name, described(content))
    assert layout.resolve("1").digest == sha256(b"three")
    assert layout.resolve("2").digest == sha256(b"two")
    with pytest.raises(InputError, match="more than one manifest"):
        layout.resolve(None)
    with pytest.raises(InputError, match="no tag '3'"):
        layout.resolve("3")


def test_unknown_fields_of_other_entries_survive_tagging(layout: Layout) -> None:
    index = layout.directory / "index.json"
    document = json.loads(index.read_text())
    entry = {"mediaType": OCI_MANIFEST, "digest": str(DIGEST), "size": 5, "artifactType": "x/y"}
    document |= {"manifests": [entry], "annotations": {"kept": "yes"}}
    index.write_text(json.dumps(document))
    layout.tag("1", described(b"one"))
    after = json.loads(index.read_text())
    assert after["manifests"][0] == entry
    assert after["annotations"] == {"kept": "yes"}


def test_index_that_nobody_could_read_again_is_not_written(layout: Layout) -> None:
    large = replace(described(MANIFEST), annotations={"a": "x" * 1_500_000})
    for name in ("1", "2"):
        layout.tag(name, large)
    before = (layout.directory / "index.json").read_bytes()
    with pytest.raises(LimitError, match="layout is full"):
        layout.tag("3", large)
    assert (layout.directory / "index.json").read_bytes() == before
    assert layout.resolve("2").digest == sha256(MANIFEST)


def test_layout_of_as_many_manifests_as_are_read_takes_no_more(layout: Layout) -> None:
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": str(sha256(b"%d" % number)), "size": 1} for number in range(4096)
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (layout.directory / "index.json").write_text(json.dumps(document))
    with pytest.raises(LimitError, match="layout is full"):
        layout.tag("1", described(MANIFEST))
    with pytest.raises(LimitError, match="layout is full"):
        layout.add_referrers([referrer_bytes(DIGEST, b"note")])
    assert len(layout.nameless()) == 4096


def test_referrers_word_is_no_name_in_a_layout_and_fills_none(layout: Layout) -> None:
    document = json.loads(referrer_bytes(DIGEST, b"note"))
    document["annotations"] = {REF_NAME: "1.4", "a": "x" * 3_000_000}
    document["artifactType"] = "y" * 500_000
    data = json.dumps(document).encode()
    layout.add_blob([data], sha256(data), len(data))
    assert layout.add_referrers([data]) is True
    assert layout.add_referrers([data]) is False
    assert layout.nameless() == (sha256(data),)
    assert (layout.directory / "index.json").stat().st_size < 1000
    with pytest.raises(InputError, match="no tag"):
        layout.resolve("1.4")


def test_referrers_of_many_are_found_by_reading_each_once(layout: Layout) -> None:
    """A bundle of two hundred kilobytes had kept whoever read it busy for hours."""
    subjects = [sha256(b"%d" % number) for number in range(100)]
    manifests = [referrer_bytes(subject, b"note") for subject in subjects]
    for data in manifests:
        layout.add_blob([data], sha256(data), len(data))
    repository = LayoutRepository(layout)
    with opened() as names:
        repository.put_referrers(zip(subjects, manifests, strict=True))
        found = [repository.referrers(subject) for subject in subjects]
    assert found == [(sha256(data),) for data in manifests]
    assert names.count("index.json") < 10
    assert len([name for name in names if len(name) == 64]) == len(manifests)


def test_two_manifests_under_one_tag_are_refused(layout: Layout) -> None:
    """Readers differ in which one they take."""
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": str(sha256(content)),
            "size": 1,
            "annotations": {REF_NAME: "1"},
        }
        for content in (b"a", b"b")
    ]
    (layout.directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    with pytest.raises(InputError, match="more than one tag '1'"):
        layout.resolve("1")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 513])
def test_tag_that_nobody_could_read_is_refused(layout: Layout, name: str) -> None:
    with pytest.raises(InputError, match="layout tag is malformed"):
        layout.tag(name, described(b"one"))


@pytest.mark.parametrize("marker", [None, b"", b"{}", b"[]", b'{"imageLayoutVersion": "2.0.0"}', b" " * 5000])
def test_directory_that_is_no_layout_is_bad_input(tmp_path: Path, marker: bytes | None) -> None:
    if marker is not None:
        (tmp_path / "oci-layout").write_bytes(marker)
    with pytest.raises(InputError, match="layout"):
        Layout.open(tmp_path)


@pytest.mark.parametrize(
    "index", [None, b"", b"[]", b"{}", b'{"schemaVersion": 2, "layers": [], "manifests": []}']
)
def test_malformed_index_is_bad_input(layout: Layout, index: bytes | None) -> None:
    path = layout.directory / "index.json"
    path.unlink() if index is None else path.write_bytes(index)
    with pytest.raises(InputError):
        layout.resolve("1")
    with pytest.raises(InputError):
        layout.tag("1", described(b"one"))
    assert path.exists() == (index is not None)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_symlinked_index_and_marker_are_refused(layout: Layout, tmp_path: Path, name: str) -> None:
    real = tmp_path / "elsewhere"
    (layout.directory / name).rename(real)
    (layout.directory / name).symlink_to(real)
    with pytest.raises(InputError, match="no regular file"):
        Layout.open(layout.directory).resolve("1")


def test_layout_cannot_be_made_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be made"):
        Layout.create(tmp_path / "file" / "layout")
