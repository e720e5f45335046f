"""An allowed image is fetched by digest, hashed, once; nothing else of a registry or layout gets in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runtime.conftest import Workshop
from tests.runtime.images import (
    HERE,
    Layer,
    allowed,
    deadline,
    file,
    image_bytes,
    index_bytes,
    layer,
    pulled,
    put,
    vetted,
)
from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.errors import InputError, RefusedError, StateError, UnreachableError
from trust.manifest import OCI_MANIFEST, Platform
from trust.oci.content import VerifiedChunks
from trust.oci.layout import Layout
from trust.runtime.content import machine_platform, parse_platform, pull
from trust.runtime.source import LayoutSource

OTHER = Platform(os="linux", architecture="riscv64" if HERE.architecture != "riscv64" else "amd64")


class Wire:
    """A registry that counts what it is asked for, and can send other bytes."""

    def __init__(self, contents: Layout, forged: Mapping[Digest, bytes] | None = None) -> None:
        self.asked: list[Digest] = []
        self._contents = contents
        self._forged = forged or {}

    def manifest(self, digest: Digest, *, deadline: Deadline) -> bytes:
        deadline.remaining_seconds()
        self.asked.append(digest)
        return self._forged.get(digest) or self._contents.manifest(digest)

    def blob(self, digest: Digest, size_bytes: int, *, deadline: Deadline) -> VerifiedChunks:
        deadline.remaining_seconds()
        self.asked.append(digest)
        forged = self._forged.get(digest)
        if forged is not None:
            return VerifiedChunks(iter([forged]), digest, size_bytes, what="blob")
        return self._contents.blob(digest, size_bytes)


def named(platform: Platform) -> dict[str, str]:
    fields = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    return {key: value for key, value in fields.items() if value}


def test_image_that_is_here_needs_no_network(workshop: Workshop) -> None:
    manifest = image_bytes(workshop.source, layer(file("a")), layer(file("b")))
    wire = Wire(workshop.source)
    for _ in range(2):
        pull(allowed(manifest), platform=HERE, source=wire, store=workshop.store, deadline=deadline(), vet=vetted)
    assert len(wire.asked) == 4  # manifest, configuration, two layers


def test_layer_that_stands_twice_is_fetched_once(workshop: Workshop) -> None:
    one = layer(file("a"))
    wire = Wire(workshop.source)
    manifest = image_bytes(workshop.source, one, one, one)
    pull(allowed(manifest), platform=HERE, source=wire, store=workshop.store, deadline=deadline(), vet=vetted)
    assert len(wire.asked) == len(set(wire.asked))


def test_child_of_an_index_is_chosen_by_platform_and_found_by_the_indexes_digest(workshop: Workshop) -> None:
    mine = image_bytes(workshop.source, layer(file("mine")))
    others = image_bytes(workshop.source, layer(file("others")), platform=OTHER)
    index = index_bytes(workshop.source, [(others, named(OTHER)), (mine, named(HERE))])
    assert pulled(workshop.source, workshop.store, index).digest == sha256(mine)
    assert pulled(workshop.source, workshop.store, index, OTHER).digest == sha256(others)


def test_index_without_the_platform_says_what_it_has(workshop: Workshop) -> None:
    others = image_bytes(workshop.source, layer(file("others")), platform=OTHER)
    unknown = {"os": "unknown", "architecture": "unknown"}
    index = index_bytes(workshop.source, [(others, named(OTHER)), (others, unknown)])
    with pytest.raises(InputError, match=str(OTHER)):
        pulled(workshop.source, workshop.store, index)


def test_index_inside_an_index_is_followed_but_not_for_ever(workshop: Workshop) -> None:
    data = image_bytes(workshop.source, layer(file("a")))
    inner = index_bytes(workshop.source, [(data, named(HERE))])
    outer = index_bytes(workshop.source, [(inner, None)])
    assert pulled(workshop.source, workshop.store, outer).digest == sha256(data)
    for _ in range(3):
        outer = index_bytes(workshop.source, [(outer, None)])
    with pytest.raises(InputError, match="nested"):
        pulled(workshop.source, workshop.store, outer)


def test_best_variant_is_preferred_over_the_first() -> None:
    arm = machine_platform("armv7l")
    assert (arm.architecture, arm.variant) == ("arm", "v7")
    assert parse_platform("linux/arm/v7") == arm


@pytest.mark.parametrize("text", ["windows/amd64", "linux", "linux/", "linux/arm/v7/x", "", "amd64"])
def test_platform_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="platform"):
        parse_platform(text)


def test_image_for_another_platform_is_refused_with_the_way_to_run_it(workshop: Workshop) -> None:
    manifest = image_bytes(workshop.source, layer(file("a")), platform=OTHER)
    with pytest.raises(InputError, match="expected linux") as caught:
        pulled(workshop.source, workshop.store, manifest)
    assert caught.value.hint == f"--platform {OTHER}"


def test_manifest_other_than_the_allowed_one_is_refused(workshop: Workshop) -> None:
    manifest = image_bytes(workshop.source, layer(file("good")))
    evil = image_bytes(workshop.source, layer(file("evil")))
    wire = Wire(workshop.source, {sha256(manifest): evil})
    with pytest.raises(RefusedError) as caught:
        pull(allowed(manifest), platform=HERE, source=wire, store=workshop.store, deadline=deadline(), vet=vetted)
    assert caught.value.reason == "tampered"
    assert not workshop.store.has(sha256(evil), len(evil))


def test_manifest_of_another_length_than_signed_is_refused(workshop: Workshop) -> None:
    manifest = image_bytes(workshop.source, layer(file("good")))
    wrong = replace(allowed(manifest), size_bytes=len(manifest) + 1)
    with pytest.raises(RefusedError):
        pull(
            wrong,
            platform=HERE,
            source=LayoutSource(layout=workshop.source),
            store=workshop.store,
            deadline=deadline(),
            vet=vetted,
        )


def test_layer_other_than_the_manifest_names_is_refused_and_not_kept(workshop: Workshop) -> None:
    good = layer(file("good"))
    manifest = image_bytes(workshop.source, good)
    evil = bytes(len(good.blob))
    wire = Wire(workshop.source, {sha256(good.blob): evil})
    with pytest.raises(RefusedError):
        pull(allowed(manifest), platform=HERE, source=wire, store=workshop.store, deadline=deadline(), vet=vetted)
    assert not workshop.store.has(sha256(good.blob), len(good.blob))


def test_layer_that_is_nowhere_fails_and_the_others_stay_for_the_next_run(workshop: Workshop) -> None:
    layers = [layer(file(name)) for name in "abcd"]
    manifest = image_bytes(workshop.source, *layers)
    workshop.source.blob_path(sha256(layers[2].blob)).unlink()
    with pytest.raises(InputError, match="lacks"):
        pulled(workshop.source, workshop.store, manifest)
    put(workshop.source, layers[2].blob)
    assert pulled(workshop.source, workshop.store, manifest).digest == sha256(manifest)


def test_manifest_that_was_deleted_from_the_registry_is_unreachable_and_not_absent(workshop: Workshop) -> None:
    class Empty(Wire):
        def manifest(self, digest: Digest, *, deadline: Deadline) -> bytes:
            deadline.remaining_seconds()
            raise UnreachableError(f"registry.example.com/acme/web has no manifest {digest}")

    manifest = image_bytes(workshop.source, layer(file("a")))
    with pytest.raises(UnreachableError):
        pull(
            allowed(manifest),
            platform=HERE,
            source=Empty(workshop.source),
            store=workshop.store,
            deadline=deadline(),
            vet=vetted,
        )


def test_store_that_changed_on_disk_is_damaged_and_not_believed(workshop: Workshop) -> None:
    manifest = image_bytes(workshop.source, layer(file("a")))
    pulled(workshop.source, workshop.store, manifest)
    path = workshop.store.blob_path(sha256(manifest))
    path.write_bytes(manifest.replace(b"sha256", b"sha257"))
    with pytest.raises(StateError, match="damaged"):
        pulled(workshop.source, workshop.store, manifest)


def test_child_that_is_denied_is_refused_below_an_allowed_index(workshop: Workshop) -> None:
    data = image_bytes(workshop.source, layer(file("a")))
    index = index_bytes(workshop.source, [(data, named(HERE))])
    asked = []

    def refuse(digest: Digest) -> None:
        asked.append(digest)
        raise RefusedError("it is denied", reason="revoked")

    def fetch(manifest: bytes) -> None:
        source = LayoutSource(layout=workshop.source)
        pull(
            allowed(manifest), platform=HERE, source=source, store=workshop.store, deadline=deadline(), vet=refuse
        )

    with pytest.raises(RefusedError, match="it is denied"):
        fetch(index)
    assert asked == [sha256(data)]
    fetch(data)  # the verdict is about this very digest
    assert asked == [sha256(data)]


def _manifest(workshop: Workshop, change: Mapping[str, object]) -> bytes:
    document = json.loads(image_bytes(workshop.source, layer(file("a"))))
    document.update(change)
    data = json.dumps(document).encode()
    put(workshop.source, data)
    return data


@pytest.mark.parametrize(
    ("message", "layers"),
    [
        ("layer type", [{"mediaType": "text/plain", "digest": str(sha256(b"x")), "size": 1}]),
        ("names 1", []),
    ],
)
def test_layers_that_are_none_are_refused(workshop: Workshop, message: str, layers: object) -> None:
    with pytest.raises(InputError, match=message):
        pulled(workshop.source, workshop.store, _manifest(workshop, {"layers": layers}))


def test_artifact_is_no_image(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="not an image"):
        pulled(workshop.source, workshop.store, _manifest(workshop, {"artifactType": "application/x"}))
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(sha256(b"{}")), "size": 2}
    with pytest.raises(InputError, match="not an image"):
        pulled(workshop.source, workshop.store, _manifest(workshop, {"config": config}))


def test_urls_of_a_descriptor_are_followed_by_nobody(workshop: Workshop) -> None:
    one = layer(file("a"))
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": str(put(workshop.source, one.blob)),
        "size": len(one.blob),
        "urls": ["http://169.254.169.254/latest", "file:///etc/shadow"],
    }
    manifest = _manifest(workshop, {"layers": [foreign], "mediaType": OCI_MANIFEST})
    wire = Wire(workshop.source)
    pull(allowed(manifest), platform=HERE, source=wire, store=workshop.store, deadline=deadline(), vet=vetted)
    assert sha256(one.blob) in wire.asked


def test_store_is_a_layout_that_other_programs_can_read(workshop: Workshop, tmp_path: Path) -> None:
    manifest = image_bytes(workshop.source, Layer(blob=layer(file("a")).blob, diff_id=layer(file("a")).diff_id))
    pulled(workshop.source, workshop.store, manifest)
    assert Layout.open(workshop.home / "content").manifest(sha256(manifest)) == manifest
