"""Publishers at once, on a real docker-registry: no change of theirs is lost, and nobody else's comes in by it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from tests.simulators.registry_world import METADATA, NOW, TAG, World, deadline, edition_of, order, registry_world
from trust.client import refresh
from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.edition import Edition
from trust.errors import ConflictError, LimitError, RefusedError
from trust.loaded import Loaded
from trust.manifest import OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.registry import FetchedManifest, Registry
from trust.rebuild import rebuild
from trust.replica import plan_move, publish_replica, read_replica
from trust.repository import load
from trust.revoke import Revocation, revoke
from trust.roles import Signature, sign_image
from trust.sign import sign
from trust.stores.artifact import GENERATION_MAX, Artifact, File, artifact_bytes
from trust.stores.registry import RegistryStore
from trust.stores.registry_view import Place, RegistryView, claim_tag
from trust.verdict import Reason


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a collection beside a registry of its own."""
    with registry_world(tmp_path) as world:
        yield world


class StallingRegistry(Registry):
    """The door of a writer that stands still just before it moves the tag."""

    def __init__(self, world: World) -> None:
        super().__init__(
            world.registry.host,
            http=world.http(),
            credentials=Credentials(environ={}, home=world.directory),
        )
        self.stands = threading.Event()
        self.goes_on = threading.Event()

    def put_manifest(
        self, path: str, reference: str | Digest, data: bytes, media_type: str, *, deadline: Deadline
    ) -> Digest:
        if reference == TAG:
            self.stands.set()
            assert self.goes_on.wait(30)
        return super().put_manifest(path, reference, data, media_type, deadline=deadline)


class OvertakenRegistry(Registry):
    """The door of a writer who moves the tag, and whom another writes over with ``other`` at once."""

    def __init__(self, world: World, other: bytes) -> None:
        super().__init__(
            world.registry.host,
            http=world.http(),
            credentials=Credentials(environ={}, home=world.directory),
        )
        self.others = [other]

    def put_manifest(
        self, path: str, reference: str | Digest, data: bytes, media_type: str, *, deadline: Deadline
    ) -> Digest:
        digest = super().put_manifest(path, reference, data, media_type, deadline=deadline)
        if reference == TAG and self.others:
            super().put_manifest(path, TAG, self.others.pop(), media_type, deadline=deadline)
        return digest


def test_change_that_a_stalled_writer_passed_over_is_merged_by_the_next(world: World) -> None:
    slow = StallingRegistry(world)
    done: list[str] = []

    def publish_slowly() -> None:
        publisher = world.publisher("slow", slow)  # its database belongs to this thread
        sign(publisher, [order("slow")])
        publisher.state.close()
        done.append("slow")

    thread = threading.Thread(target=publish_slowly)
    thread.start()
    assert slow.stands.wait(30)
    sign(world.publisher("quick"), [order("quick")])  # waits, takes the writer for dead, and keeps his change
    assert world.tags_seen("early") == {"acme/web:quick", "acme/web:slow"}
    slow.goes_on.set()
    thread.join(60)
    assert done == ["slow"]

    with pytest.raises(RefusedError) as refused:
        world.tags_seen("early")  # who saw the acknowledged edition is not shown an older one
    assert refused.value.reason == Reason.ROLLED_BACK.value

    sign(world.publisher("next"), [order("next")])
    assert world.tags_seen("early") == {"acme/web:quick", "acme/web:slow", "acme/web:next"}


def test_tag_is_not_moved_while_another_publisher_has_a_claim(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    publisher = world.publisher("two")
    loaded = publisher.load()
    mine, theirs = (
        edition_of(
            loaded,
            sign_image(loaded.targets.content.table, path="acme/web", tag=tag, image=order(tag).image,
                       signature=Signature(at=NOW, by=()), annotations={}),
            world.signers,
        )
        for tag in ("mine", "theirs")
    )  # fmt: skip
    assert isinstance(loaded.view, RegistryView)
    claim(world, loaded.view, theirs, generation=50)
    with pytest.raises(ConflictError, match="another publisher was first"):
        publisher.store.publish(mine.publication, deadline=deadline())
    assert world.tags_seen("consumer") == {"acme/web:1"}


def test_writer_who_was_written_over_is_told_of_no_success_until_his_change_stands(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    view = world.store().view(known=None, deadline=deadline())
    assert isinstance(view, RegistryView)
    assert view.digest is not None
    door = OvertakenRegistry(world, _manifest(world.door(), view.digest))
    assert sign(world.publisher("two", door), [order("2")]).changed
    assert not door.others
    assert world.tags_seen("consumer") == {"acme/web:1", "acme/web:2"}


def test_writer_that_was_passed_over_before_it_was_told_so_publishes_again(world: World) -> None:
    published = sign(world.publisher("one"), [order("1")])
    assert published.rebased == 0
    store, door = world.store(), world.door()
    view = store.view(known=None, deadline=deadline())
    assert isinstance(view, RegistryView)
    assert view.digest is not None
    foreign = view.artifact
    tag = claim_tag(TAG, replace(foreign, generation=foreign.generation + 1), sha256(b"x"))
    data = _manifest(door, view.digest)
    door.put_manifest(METADATA, tag, data, OCI_MANIFEST, deadline=deadline())
    assert sign(world.publisher("two"), [order("2")]).changed
    assert world.tags_seen("consumer") == {"acme/web:1", "acme/web:2"}


def test_old_edition_replayed_as_a_claim_changes_nothing(world: World) -> None:
    sign(world.publisher("one"), [order("latest", b"good")])
    sign(world.publisher("one"), [order("latest", b"bad")])
    view = world.store().view(known=None, deadline=deadline())
    assert isinstance(view, RegistryView)
    assert view.digest is not None
    door = world.door()
    bad = _manifest(door, view.digest)
    sign(world.publisher("one"), [order("latest", b"good")])
    document = json.loads(bad)
    document["annotations"]["dev.content-trust.generation"] = "999"
    replayed = json.dumps(document).encode()
    door.put_manifest(METADATA, f"{TAG}.0000000999.{sha256(replayed).hex[:12]}", replayed, OCI_MANIFEST,
                      deadline=deadline())  # fmt: skip
    sign(world.publisher("one"), [order("other")])
    state = world.state("consumer")
    refresh(world.rules(), state, world.store(), now=NOW, deadline=deadline())
    latest = state.target(world.rules().root, "targets", "acme/web:latest")
    assert latest is not None
    assert latest.digest == sha256(b"good")


def test_claim_signed_by_keys_that_were_rotated_out_is_not_merged(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    thief = dict(world.signers)
    early = world.store().view(known=None, deadline=deadline())
    assert isinstance(early, RegistryView)
    rotate(world)
    honest, world.signers = world.signers, thief
    rules = world.rules()
    loaded = load(rules, early, floors={})
    table = sign_image(loaded.targets.content.table, path="acme/web", tag="evil", image=order("x", b"evil").image,
                       signature=Signature(at=NOW, by=("thief",)), annotations={})  # fmt: skip
    claim(world, early, edition_of(loaded, table, thief), generation=90)
    world.signers = honest
    sign(world.publisher("one"), [order("2")])
    assert world.tags_seen("consumer") == {"acme/web:1", "acme/web:2"}


def test_change_is_merged_between_its_own_two_versions_only(world: World) -> None:
    """A claim over an older base would bring back what was removed between that base and its own."""
    sign(world.publisher("one"), [order("gone")])
    oldest = world.store().view(known=None, deadline=deadline())
    assert isinstance(oldest, RegistryView)
    publisher = world.publisher("one")
    sign(publisher, [order("kept")])
    loaded = publisher.load()
    table = sign_image(loaded.targets.content.table, path="acme/web", tag="late", image=order("x").image,
                       signature=Signature(at=NOW, by=()), annotations={})  # fmt: skip
    edition = edition_of(loaded, table, world.signers)
    revoke(world.publisher("one"), [Revocation(path="acme/web", tag="gone", digest=None)])
    renewed = world.publisher("one").renew(frozenset())
    assert renewed.changed
    claim(world, oldest, edition, generation=90)
    sign(world.publisher("one"), [order("next")])
    assert "acme/web:gone" not in world.tags_seen("consumer")


def test_online_key_alone_renews_beside_an_open_claim(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    publisher = world.publisher("dying")
    loaded = publisher.load()
    table = sign_image(loaded.targets.content.table, path="acme/web", tag="left", image=order("x").image,
                       signature=Signature(at=NOW, by=()), annotations={})  # fmt: skip
    assert isinstance(loaded.view, RegistryView)
    claim(world, loaded.view, edition_of(loaded, table, world.signers), generation=50)
    everybody = world.signers
    online = set(loaded.root.roles["timestamp"].keyids)
    world.signers = {keyid: signer for keyid, signer in everybody.items() if keyid in online}
    for _ in range(2):
        assert world.publisher("cron").renew(frozenset()).changed
        assert world.tags_seen("consumer") == {"acme/web:1"}
    world.signers = everybody
    sign(world.publisher("one"), [order("2")])
    assert world.tags_seen("consumer") == {"acme/web:1", "acme/web:2", "acme/web:left"}


def test_copies_leave_no_claims_of_theirs_open_behind_them(world: World) -> None:
    """On a registry that deletes no tag they would be one more each time, until nobody reads so many."""
    place = Place(path="mirror/trust-metadata", tag=TAG)
    for number in range(4):
        sign(world.publisher("one"), [order(str(number))])
        source = world.store().view(known=None, deadline=deadline())
        there = RegistryStore("registry:", world.door(), place, time.sleep)
        assert source is not None
        move = plan_move(world.rules(), read_replica(world.rules(), source), there, deadline=deadline())
        assert publish_replica(move, there, deadline=deadline())
        copied = there.view(known=None, deadline=deadline())
        assert isinstance(copied, RegistryView)
        assert copied.claims() == {}
        assert copied.strays() == ()


@pytest.mark.parametrize("number", [GENERATION_MAX, 2], ids=["its own tag", "an honest tag"])
def test_claim_of_the_last_number_takes_no_number_from_anybody(world: World, number: int) -> None:
    before, door = standing(world), world.door()
    data = artifact_bytes(replace(before, generation=GENERATION_MAX))
    tag = claim_tag(TAG, replace(before, generation=number), sha256(data))
    door.put_manifest(METADATA, tag, data, OCI_MANIFEST, deadline=deadline())
    for each in ("1", "2"):
        sign(world.publisher("one"), [order(each)])
    assert standing(world).generation == before.generation + 2
    assert world.tags_seen("consumer") == {"acme/web:1", "acme/web:2"}


def test_number_that_nobody_could_read_is_never_written(world: World) -> None:
    """Whoever moves the tag itself can count it up; what he can end is publishing, till the tag is deleted."""
    sign(world.publisher("one"), [order("1")])
    world.tags_seen("consumer")
    spent, door = artifact_bytes(replace(standing(world), generation=GENERATION_MAX)), world.door()
    door.put_manifest(METADATA, TAG, spent, OCI_MANIFEST, deadline=deadline())
    with pytest.raises(LimitError, match="no number left") as caught:
        sign(world.publisher("one"), [order("2")])
    assert door.tag_digest(METADATA, TAG, deadline=deadline()) == sha256(spent)
    assert world.tags_seen("consumer") == {"acme/web:1"}
    assert f"delete the tag {TAG}, then trust publish --rebuild" in str(caught.value.hint)
    world.registry.link_of_tag(METADATA, TAG).unlink()
    home = world.state("consumer")
    assert rebuild(world.rules(), home, world.store(), mirror=None, deadline=deadline(), dry_run=False).changed
    sign(world.publisher("one"), [order("2")])
    assert world.tags_seen("consumer") == {"acme/web:1", "acme/web:2"}


def standing(world: World) -> Artifact:
    view = world.store().view(known=None, deadline=deadline())
    assert isinstance(view, RegistryView)
    return view.artifact


def claim(world: World, base: RegistryView, edition: Edition, *, generation: int) -> None:
    """Push ``edition`` under a claim tag and go no further, as a writer that died would."""
    door, publication = world.door(), edition.publication
    contents = {**publication.files, "timestamp.json": publication.timestamp}
    files = {name: base.artifact.files[name] for name in publication.kept}
    for name, data in contents.items():
        door.push_blob(METADATA, sha256(data), data, deadline=deadline())
        files[name] = File(digest=sha256(data), size_bytes=len(data))
    artifact = Artifact(generation=generation, parent=base.digest, parent_generation=1, files=files)
    data = artifact_bytes(artifact)
    tag = claim_tag(TAG, artifact, sha256(data))
    door.put_manifest(METADATA, tag, data, OCI_MANIFEST, deadline=deadline())


def rotate(world: World) -> None:
    """Publish root 2, under which new keys sign targets, snapshot and timestamp."""
    publisher = world.publisher("one")
    loaded = publisher.load()
    new = {name: CryptoSigner.generate_ed25519() for name in ("targets", "online")}
    root = Root.from_dict(loaded.root.to_dict())
    root.version += 1
    for role in ("targets", "snapshot", "timestamp"):
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
        root.add_key(new["targets" if role == "targets" else "online"].public_key, role)
    metadata: Metadata[Root] = Metadata(root)
    for keyid in root.roles["root"].keyids:
        metadata.sign(world.signers[keyid], append=True)
    kept = {keyid: signer for keyid, signer in world.signers.items() if keyid in root.roles["root"].keyids}
    world.signers = kept | {signer.public_key.keyid: signer for signer in new.values()}
    under_new = Loaded(loaded.view, replace(loaded.top, root=metadata))
    under_new._roles["targets"] = loaded.targets
    edition = edition_of(under_new, loaded.targets.content.table, world.signers)
    files = {**edition.publication.files, "2.root.json": metadata.to_bytes()}
    kept_names = tuple(name for name in loaded.files() if name.endswith(".root.json") and name != "2.root.json")
    publication = replace(edition.publication, files=files, kept=kept_names)
    publisher.store.publish(publication, deadline=deadline())


def _manifest(door: Registry, digest: Digest) -> bytes:
    fetched = door.manifest(METADATA, digest, deadline=deadline())
    assert isinstance(fetched, FetchedManifest)
    return fetched.untrusted_bytes
