"""Manifests: one reading or none (CVE-2021-41190), and a cap on everything that can be many."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.digest import sha256
from trust.errors import AmbiguousManifestError, InputError
from trust.manifest import (
    DESCRIPTORS_MAX,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_MAX_BYTES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    parse_manifest,
)

PLATFORM = {"os": "linux", "architecture": "arm64", "variant": "v8"}


def descriptor(content: str = "x", **more: Any) -> dict[str, Any]:
    return {"mediaType": "application/octet-stream", "digest": str(sha256(content.encode())), "size": 1, **more}


def image(**more: Any) -> dict[str, Any]:
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(), "layers": [descriptor()]}
    return {**document, **more}


def index(**more: Any) -> dict[str, Any]:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(platform=PLATFORM)]}
    return {**document, **more}


def parse(document: object, content_type: str | None = None) -> Manifest | Index:
    return parse_manifest(json.dumps(document).encode(), content_type=content_type)


def without(document: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


descriptors = st.builds(
    descriptor,
    st.text(max_size=5),
    size=st.integers(0, 2**63 - 1),
    mediaType=st.text(max_size=10),
    annotations=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
    platform=st.none() | st.just(PLATFORM),
)


@given(layers=st.lists(descriptors, max_size=4), media_type=st.sampled_from([OCI_MANIFEST, DOCKER_MANIFEST]))
def test_image_is_read_as_it_is_written(layers: list[dict[str, Any]], media_type: str) -> None:
    found = parse(image(layers=layers, mediaType=media_type, annotations={"a": "b"}, artifactType="t/x"))
    assert isinstance(found, Manifest)
    assert (found.media_type, found.artifact_type, found.annotations) == (media_type, "t/x", {"a": "b"})
    assert [str(layer.digest) for layer in found.layers] == [layer["digest"] for layer in layers]
    assert [layer.size_bytes for layer in found.layers] == [layer["size"] for layer in layers]


@given(children=st.lists(descriptors, max_size=4), media_type=st.sampled_from([OCI_INDEX, DOCKER_INDEX]))
def test_index_is_read_as_it_is_written(children: list[dict[str, Any]], media_type: str) -> None:
    found = parse(index(manifests=children, mediaType=media_type))
    assert isinstance(found, Index)
    assert found.media_type == media_type
    platforms = [str(child.platform) if child.platform else None for child in found.manifests]
    assert platforms == ["linux/arm64/v8" if child["platform"] else None for child in children]


@pytest.mark.parametrize(
    "content_type", [None, OCI_MANIFEST, f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST.upper()]
)
def test_image_without_media_type_is_read_by_its_fields(content_type: str | None) -> None:
    assert parse(without(image(), "mediaType"), content_type).media_type == OCI_MANIFEST


def test_index_without_media_type_is_read_by_its_fields() -> None:
    assert parse(without(index(), "mediaType")).media_type == OCI_INDEX


AMBIGUOUS: dict[str, tuple[dict[str, Any], str | None]] = {
    "layers and manifests": (image(manifests=[]), None),
    "manifests and layers": (index(layers=[]), None),
    "manifests and config": (index(config=descriptor()), None),
    "both, no type": (without(image(manifests=[]), "mediaType"), None),
    "both, layers null": (index(layers=None), None),
    "both, manifests null": (image(manifests=None), None),
    "image typed as index": (image(mediaType=OCI_INDEX), None),
    "index typed as image": (index(mediaType=OCI_MANIFEST), None),
    "image sent as index": (image(), OCI_INDEX),
    "index sent as image": (index(), OCI_MANIFEST),
    "oci sent as docker": (image(), DOCKER_MANIFEST),
    "untyped image sent as index": (without(image(), "mediaType"), OCI_INDEX),
    "untyped index sent as image": (without(index(), "mediaType"), DOCKER_MANIFEST),
    "sent as json": (image(), "application/json"),
    "empty type inside": (image(mediaType=""), OCI_MANIFEST),
    "layers in other letters": (image(Layers=[]), None),
    "layers in other letters of Unicode": ({**image(), "layer\u017f": []}, None),
    "manifests in other letters": (image(Manifests=[]), None),
    "type in other letters": (image(mediatype=OCI_INDEX), None),
    "digest in other letters": (image(layers=[{**descriptor(), "Digest": "sha256:" + "0" * 64}]), None),
    "size of the config in other letters": (image(config={**descriptor(), "SIZE": 1}), None),
    "platform in other letters": (
        index(manifests=[descriptor(platform={"os": "linux", "architecture": "amd64", "OS": "windows"})]),
        None,
    ),
}


@pytest.mark.parametrize(("document", "content_type"), AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_manifest_with_two_readings_is_ambiguous(document: dict[str, Any], content_type: str | None) -> None:
    with pytest.raises(AmbiguousManifestError, match="ambiguous"):
        parse(document, content_type)


@given(
    inside=st.none() | st.sampled_from(sorted(MANIFEST_TYPES | INDEX_TYPES)),
    outside=st.none() | st.sampled_from(sorted(MANIFEST_TYPES | INDEX_TYPES)),
    fields=st.sets(st.sampled_from(["config", "layers", "manifests"])),
)
def test_what_is_accepted_has_one_reading(inside: str | None, outside: str | None, fields: set[str]) -> None:
    document: dict[str, Any] = {"schemaVersion": 2, **({"mediaType": inside} if inside else {})}
    document |= {field: descriptor() if field == "config" else [descriptor()] for field in fields}
    try:
        found = parse(document, outside)
    except InputError:
        assert fields != {"config", "layers"} or {inside, outside} & INDEX_TYPES or inside != outside
        return
    assert {inside, outside} <= {None, found.media_type}
    assert isinstance(found, Index) == ("manifests" in fields) == (found.media_type in INDEX_TYPES)
    assert isinstance(found, Index) or fields == {"config", "layers"}


MALFORMED: dict[str, tuple[object, str]] = {
    "a list": ([], "expected a JSON object"),
    "no version": (without(image(), "schemaVersion"), "schema unsupported"),
    "version 1": (image(schemaVersion=1), "schema unsupported"),
    "docker schema 1": ({"schemaVersion": 1, "fsLayers": [], "history": []}, "Docker schema 1"),
    "schema 1 in schema 2": (image(fsLayers=[]), "Docker schema 1"),
    "unknown type": (image(mediaType="application/json"), "type unsupported"),
    "empty type": (image(mediaType=""), "mediaType is empty"),
    "type is no text": (image(mediaType=5), "mediaType is not text"),
    "type is null": (image(mediaType=None), "mediaType is not text"),
    "no config": (without(image(), "config"), "config holds no descriptor"),
    "no layers": (without(image(), "layers"), "layers is not a list"),
    "layers is an object": (image(layers={}), "layers is not a list"),
    "manifests is text": (index(manifests="x"), "manifests is not a list"),
    "layer is text": (image(layers=["x"]), "holds no descriptor"),
    "no digest": (image(layers=[without(descriptor(), "digest")]), "lacks mediaType or digest"),
    "no type of a layer": (image(layers=[without(descriptor(), "mediaType")]), "lacks mediaType or digest"),
    "digest is a path": (image(layers=[descriptor(digest="sha256:../../etc/passwd")]), "wrong length"),
    "digest in capitals": (image(layers=[descriptor(digest="sha256:" + "A" * 64)]), "not lower-case hex"),
    "no size": (image(layers=[without(descriptor(), "size")]), "has size None"),
    "size below zero": (image(layers=[descriptor(size=-1)]), "has size -1"),
    "size is text": (image(layers=[descriptor(size="1")]), "has size '1'"),
    "size is true": (image(layers=[descriptor(size=True)]), "has size True"),
    "size of 2^63": (image(layers=[descriptor(size=2**63)]), "not valid JSON"),
    "size of 1.5": (image(layers=[descriptor(size=1.5)]), "not valid JSON"),
    "platform is text": (index(manifests=[descriptor(platform="linux")]), "platform is no object"),
    "platform without os": (index(manifests=[descriptor(platform={"architecture": "a"})]), "lacks os"),
    "annotations are a list": (image(annotations=["x"]), "not a map of texts"),
    "annotation is a number": (image(annotations={"x": 1}), "not a map of texts"),
    "annotation of a layer": (image(layers=[descriptor(annotations={"x": None})]), "not a map of texts"),
}


@pytest.mark.parametrize(("document", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_manifest_is_refused(document: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(document)


def test_manifest_above_its_cap_is_refused() -> None:
    data = json.dumps(image()).encode()
    padded = data + b" " * (MANIFEST_MAX_BYTES - len(data))
    assert isinstance(parse_manifest(padded), Manifest)
    with pytest.raises(InputError, match="too large"):
        parse_manifest(padded + b" ")


@pytest.mark.parametrize("count", [DESCRIPTORS_MAX, DESCRIPTORS_MAX + 1, 10**5])
def test_number_of_descriptors_is_bounded(count: int) -> None:
    short = {"mediaType": "a", "digest": str(sha256(b"")), "size": 1}
    data = json.dumps(image(layers=[short] * count), separators=(",", ":")).encode()
    if count <= DESCRIPTORS_MAX:
        found = parse_manifest(data)
        assert isinstance(found, Manifest)
        assert len(found.layers) == count
    else:
        with pytest.raises(InputError, match=r"too many layers|too large"):
            parse_manifest(data)


def test_many_small_entries_are_bounded_too() -> None:
    with pytest.raises(InputError, match="too many manifests: expected at most 4096, got 100000"):
        parse(index(manifests=[0] * 10**5))


def test_urls_of_a_descriptor_are_kept_for_nobody() -> None:
    found = parse(image(layers=[descriptor(urls=["http://169.254.169.254/"])]))
    assert isinstance(found, Manifest)
    assert not hasattr(found.layers[0], "urls")


@given(data=st.binary(max_size=80))
def test_no_bytes_are_more_than_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_manifest(data)
