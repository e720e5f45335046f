"""Metadata beside the images, on a real docker-registry: what its owner can do with it, and cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulators.registry_world import METADATA, TAG, World, deadline, edition_of, order, registry_world
from trust.digest import sha256
from trust.errors import InputError, RefusedError, UnreachableError
from trust.manifest import OCI_MANIFEST
from trust.revoke import Revocation, revoke
from trust.sign import sign
from trust.stores.registry_view import RegistryView
from trust.verdict import Reason


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a collection beside a registry of its own."""
    with registry_world(tmp_path) as world:
        yield world


def test_signed_tag_is_seen_by_a_consumer(world: World) -> None:
    assert sign(world.publisher("one"), [order("1")]).changed
    assert world.tags_seen("consumer") == {"acme/web:1"}


def test_signing_again_publishes_nothing(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    again = sign(world.publisher("two"), [order("1")])
    assert not again.changed


def test_publisher_refuses_what_the_consumer_of_his_home_calls_rolled_back(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    old = world.store().view(known=None, deadline=deadline())
    assert isinstance(old, RegistryView)
    sign(world.publisher("one"), [order("2")])
    world.tags_seen("two")
    world.registry.link_of_tag(METADATA, TAG).write_text(str(old.digest))
    with pytest.raises(RefusedError) as refused:
        sign(world.publisher("two"), [order("3")])
    assert refused.value.reason == Reason.ROLLED_BACK.value


def test_revocation_that_was_seen_cannot_go_again(world: World) -> None:
    """A publisher without state is shown an old store, and signs on; who saw the revocation remembers it."""
    sign(world.publisher("one"), [order("bad", b"bad")])
    old = world.store().view(known=None, deadline=deadline())
    assert isinstance(old, RegistryView)
    revoke(world.publisher("one"), [Revocation(path="acme/web", tag=None, digest=sha256(b"bad"))])
    assert world.tags_seen("consumer") == set()
    for tag in world.door().tags(METADATA, deadline=deadline()):
        world.registry.link_of_tag(METADATA, tag).write_text(str(old.digest))
    for number in range(3):
        sign(world.publisher(f"stateless {number}"), [order(str(number))])
    with pytest.raises(RefusedError) as refused:
        world.tags_seen("consumer")
    assert refused.value.reason == Reason.ROLLED_BACK.value


def test_metadata_tag_set_back_is_a_rollback_to_consumer_and_publisher(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    old = world.store().view(known=None, deadline=deadline())
    assert isinstance(old, RegistryView)
    assert old.digest is not None
    revoke(world.publisher("one"), [Revocation(path="acme/web", tag="1", digest=None)])
    assert world.tags_seen("consumer") == set()
    world.registry.link_of_tag(METADATA, TAG).write_text(str(old.digest))
    for attempt in (lambda: world.tags_seen("consumer"), lambda: sign(world.publisher("one"), [order("2")])):
        with pytest.raises(RefusedError) as refused:
            attempt()
        assert refused.value.reason == Reason.ROLLED_BACK.value


def test_deleted_metadata_tag_is_could_not_decide(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    assert world.tags_seen("consumer") == {"acme/web:1"}
    world.registry.link_of_tag(METADATA, TAG).unlink()
    with pytest.raises(UnreachableError):
        world.tags_seen("consumer")


def test_runnable_image_under_the_reserved_tag_is_refused(world: World) -> None:
    door = world.door()
    config = b"{}"
    door.push_blob(METADATA, sha256(config), config, deadline=deadline())
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": str(sha256(config)),
            "size": len(config),
        },
        "layers": [],
    }
    door.put_manifest(METADATA, TAG, json.dumps(manifest).encode(), OCI_MANIFEST, deadline=deadline())
    with pytest.raises(RefusedError) as refused:
        world.tags_seen("consumer")
    assert refused.value.reason == Reason.TAMPERED.value


def test_corrupted_metadata_file_is_refused(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    view = world.store().view(known=None, deadline=deadline())
    assert isinstance(view, RegistryView)
    targets = next(file for name, file in view.artifact.files.items() if name.endswith(".targets.json"))
    world.registry.blob_file(targets.digest.hex).write_bytes(b"x" * targets.size_bytes)
    with pytest.raises(RefusedError) as refused:
        world.tags_seen("consumer")
    assert refused.value.reason == Reason.TAMPERED.value


def test_more_files_than_an_artifact_can_name_are_refused_before_anything_is_pushed(world: World) -> None:
    """Readers would refuse the manifest: every consumer would be stuck, and every publisher."""
    sign(world.publisher("one"), [order("1")])
    publisher = world.publisher("one")
    loaded = publisher.load()
    edition = edition_of(loaded, loaded.targets.content.table, world.signers)
    assert isinstance(loaded.view, RegistryView)
    some = next(iter(loaded.view.artifact.files.values()))
    bins = {f"1.targets.g1-{number:03x}.json": some for number in range(4_000)}
    loaded.view.artifact = replace(loaded.view.artifact, files={**loaded.view.artifact.files, **bins})
    before = set(world.door().tags(METADATA, deadline=deadline()))
    many = replace(edition.publication, kept=(*edition.publication.kept, *bins))
    with pytest.raises(InputError, match="at most 4000"):
        publisher.store.publish(many, deadline=deadline())
    assert set(world.door().tags(METADATA, deadline=deadline())) == before
    assert world.tags_seen("consumer") == {"acme/web:1"}
