"""Metadata beside the images, on a real docker-registry: concurrent publishers, and an owner who cheats."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, Root

from tests.simulators.registry import DockerRegistry, docker_registry
from trust.ceremony import init
from trust.client import refresh
from trust.deadline import Deadline, deadline_in
from trust.digest import Digest, sha256
from trust.draft import Changes, draft
from trust.edition import Edition, sealed
from trust.errors import InputError, RefusedError, UnreachableError
from trust.first_edition import Role
from trust.loaded import Loaded
from trust.manifest import OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import FetchedManifest, Registry
from trust.policy import Stanza
from trust.publish import Publisher
from trust.reference import parse_collection
from trust.repository import load
from trust.revoke import Revocation, revoke
from trust.roles import DEFAULT_EXPIRY, Image, Signature, sign_image
from trust.sign import Order, sign
from trust.signatures import Signers
from trust.state import TrustedState
from trust.stores.artifact import Artifact, File, artifact_bytes
from trust.stores.registry import RegistryStore
from trust.stores.registry_view import Place, RegistryView, claim_tag
from trust.targets import Content, Table
from trust.verdict import Reason

NOW = datetime.now(timezone.utc)
METADATA = "acme/trust-metadata"
TAG = "_trust"


def deadline() -> Deadline:
    return deadline_in(60, time.monotonic)


@dataclass
class World:
    """A collection in a real registry; every publisher and consumer has a home of its own."""

    registry: DockerRegistry
    directory: Path
    signers: dict[str, Signer] = field(default_factory=dict)
    stanza: Stanza | None = None
    opened: ExitStack = field(default_factory=ExitStack)

    def http(self) -> Http:
        return self.opened.enter_context(Http(environ={}))

    def door(self) -> Registry:
        return Registry(
            self.registry.host, http=self.http(), credentials=Credentials(environ={}, home=self.directory)
        )

    def store(self, door: Registry | None = None) -> RegistryStore:
        return RegistryStore("registry:", door or self.door(), Place(path=METADATA, tag=TAG), time.sleep)

    def state(self, name: str) -> TrustedState:
        state = TrustedState(self.directory / name)
        if threading.current_thread() is threading.main_thread():
            self.opened.enter_context(closing(state))
        return state

    def publisher(self, name: str, door: Registry | None = None) -> Publisher:
        return Publisher(
            stanza=self.rules(),
            state=self.state(name),
            store=self.store(door),
            keyring=self.keyring,
            now=NOW,
            deadline=deadline(),
            pause=time.sleep,
        )

    def rules(self) -> Stanza:
        assert self.stanza is not None
        return self.stanza

    def keyring(self, keyids: Collection[str]) -> dict[str, Signer]:
        return {keyid: self.signers[keyid] for keyid in keyids if keyid in self.signers}

    def tags_seen(self, name: str) -> set[str]:
        state = self.state(name)
        refresh(self.rules(), state, self.store(), now=NOW, deadline=deadline())
        return {path for path in state.table(self.rules().root, "targets").targets if "@" not in path}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with docker_registry(tmp_path / "registry") as registry:
        world = World(registry=registry, directory=tmp_path)
        keys = {name: CryptoSigner.generate_ed25519() for name in ("root", "targets", "online")}
        world.signers = {key.public_key.keyid: key for key in keys.values()}
        roles = {
            name: Role(
                keys=(keys["online" if name in {"snapshot", "timestamp"} else name].public_key,),
                threshold=1,
                period=period,
            )
            for name, period in DEFAULT_EXPIRY.items()
        }
        stanza = Stanza(
            collection=parse_collection(f"{registry.host}/acme/"), root=sha256(b""), metadata="registry:"
        )
        born = init(
            stanza,
            state=world.state("founder"),
            store=world.store(),
            roles=roles,
            keyring=world.keyring,
            now=NOW,
            deadline=deadline(),
            randomness=os.urandom,
        )
        world.stanza = replace(stanza, root=born.root)
        with world.opened:
            yield world


def order(tag: str, content: bytes = b"image") -> Order:
    image = Image(digest=sha256(content), size_bytes=len(content), media_type=OCI_MANIFEST)
    return Order(path="acme/web", tag=tag, image=image, annotations={})


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


def test_signed_tag_is_seen_by_a_consumer(world: World) -> None:
    assert sign(world.publisher("one"), [order("1")]).changed
    assert world.tags_seen("consumer") == {"acme/web:1"}


def test_signing_again_publishes_nothing(world: World) -> None:
    sign(world.publisher("one"), [order("1")])
    again = sign(world.publisher("two"), [order("1")])
    assert not again.changed


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


def edition_of(loaded: Loaded, table: Table, signers: Signers) -> Edition:
    """Return the next edition of ``loaded``, whose targets are ``table``."""
    made = draft(loaded, Changes(contents={"targets": Content(table=table)}), now=NOW)
    made.sign(signers)
    return sealed(loaded, made, signers=signers, now=NOW)


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
