"""How a collection changes: born, signed, revoked, renewed; each change once, and none of them lost."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pytest
from securesystemslib.signer import Signer

from tests.simulators.attacker import strangers
from tests.simulators.relay import Relay
from tests.simulators.world import START, World, index_bytes, manifest_bytes
from trust.chain import TOP_LEVEL_ROLES
from trust.deadline import Deadline
from trust.digest import sha256
from trust.errors import ConflictError, InputError, LimitError, RefusedError, UnavailableError, UnreachableError
from trust.publish import ATTEMPTS
from trust.roles import DEFAULT_EXPIRY
from trust.sign import Order, read_image, sign
from trust.stores.interface import Publication
from trust.value import replace
from trust.verdict import Denied, Reason

REPOSITORY = "registry.test/acme/web"


def test_new_collection_can_be_verified_from_its_pin(world: World) -> None:
    files = world.attacker.files()
    assert sha256(files["1.root.json"]) == world.stanza.root
    world.consumer().allowed()


def test_repeated_init_finds_what_is_there(world: World) -> None:
    files = world.attacker.files()
    for home in (world.home, world.folder / "another home"):
        born = world.init(home)
        assert (born.root, born.changed) == (world.stanza.root, False)
        assert born.valid_until == START + DEFAULT_EXPIRY["timestamp"]
    assert world.attacker.files() == files


def test_timestamp_and_snapshot_name_what_is_below_by_length_and_hash(world: World) -> None:
    """By its version alone, a store could show any signed content of that version."""
    world.sign("1.5")
    files, attacker = world.attacker.files(), world.attacker
    snapshot = attacker.current("snapshot").signed
    named = {f"{link.version}.{name}": link for name, link in snapshot.meta.items()}
    named[attacker.file_of("snapshot")] = attacker.current("timestamp").signed.snapshot_meta
    assert len(named) == 2
    for name, link in named.items():
        assert (link.length, link.hashes) == (len(files[name]), {"sha256": sha256(files[name]).hex})


def test_init_overwrites_no_other_collection(world: World) -> None:
    files = world.attacker.files()
    roles = world.roles({role: strangers() for role in TOP_LEVEL_ROLES})
    with pytest.raises(ConflictError, match="another collection is there already"):
        world.init(world.folder / "another home", roles=roles)
    assert world.attacker.files() == files


@pytest.mark.parametrize("role", sorted(TOP_LEVEL_ROLES))
def test_init_takes_no_root_for_its_own_in_which_one_role_is_a_strangers(world: World, role: str) -> None:
    with pytest.raises(ConflictError, match="another collection is there already"):
        world.init(world.folder / "another home", roles=world.roles({**world.keys, role: strangers()}))


def test_init_that_died_halfway_is_completed_with_the_root_that_is_there(world: World) -> None:
    for name in ("timestamp.json", "2.snapshot.json", "2.targets.json"):
        (world.attacker.directory / name).unlink()
    world.home = world.folder / "another home"
    born = world.init(world.home)
    assert (born.root, born.changed) == (world.stanza.root, True)
    world.sign()
    world.consumer().allowed()


def test_each_collection_has_an_id_of_its_own(tmp_path: Path) -> None:
    ids = {
        World(tmp_path / name).attacker.current("root").signed.unrecognized_fields["x-collection"]
        for name in ("one", "two")
    }
    assert len(ids) == 2


def test_signature_is_there_for_consumers_at_once(world: World) -> None:
    consumer = world.consumer()
    digest = world.sign("2.0")
    verdict = consumer.allowed(f"{REPOSITORY}:2.0")
    assert verdict.digest == digest
    assert verdict.signers == (world.keys["targets"][0].public_key.keyid,)


def test_repeated_signature_publishes_nothing(world: World) -> None:
    files = world.attacker.files()
    world.later(days=1)
    world.sign()
    assert world.attacker.files() == files


def test_repeated_signature_unlocks_no_key(world: World) -> None:
    image = read_image(world.sign(), world.images.__getitem__)
    asked: list[Collection[str]] = []

    def keyring(keyids: Collection[str]) -> dict[str, Signer]:
        asked.append(keyids)
        return world.keyring(keyids)

    for tag, is_opened in (("1.4", False), ("1.5", True)):
        order = Order(path="acme/web", tag=tag, image=image, annotations={})
        world.publish(lambda publisher, order=order: sign(replace(publisher, keyring=keyring), [order]))  # type: ignore[misc]
        assert bool(asked) is is_opened
    every = {key.public_key.keyid for role in ("targets", "timestamp") for key in world.keys[role]}
    assert set(asked[0]) == every  # at once, side by side


@pytest.mark.parametrize("what", [{"tag": "9"}, {"digest": sha256(b"nothing")}])
def test_revoking_what_is_not_signed_publishes_nothing(world: World, what: dict[str, object]) -> None:
    files = world.attacker.files()
    assert not world.revoke(**what).changed  # type: ignore[arg-type]
    assert world.attacker.files() == files


def _order(world: World, tag: str = "2.0") -> Order:
    image = read_image(world.push(manifest_bytes(tag)), world.images.__getitem__)
    return Order(path="acme/web", tag=tag, image=image, annotations={})


def test_dry_run_publishes_nothing_and_tells_the_versions(world: World) -> None:
    files, order = world.attacker.files(), _order(world)
    published = world.publish(lambda publisher: sign(replace(publisher, dry_run=True), [order]))
    assert published.changed
    assert published.versions["targets"] == 3
    assert world.attacker.files() == files


def test_versions_grow_by_one_and_no_published_file_changes(world: World) -> None:
    seen: dict[str, bytes] = {}
    for number in range(3, 7):
        world.sign(f"{number}.0")
        world.renew()
        files = world.attacker.files()
        assert all(files[name] == data for name, data in seen.items())
        seen = {name: data for name, data in files.items() if name != "timestamp.json"}
    numbers = sorted(int(name.split(".")[0]) for name in seen if "snapshot" in name)
    assert numbers == list(range(1, len(numbers) + 1))


def test_renewing_extends_what_is_asked_for_and_keeps_the_rest(world: World) -> None:
    world.later(days=3)
    before = world.attacker.current("targets").signed
    world.renew()
    assert world.attacker.current("targets").signed == before
    assert world.attacker.current("timestamp").signed.expires == world.now + DEFAULT_EXPIRY["timestamp"]
    world.renew("targets", "root")
    assert world.attacker.current("targets").signed.expires == world.now + DEFAULT_EXPIRY["targets"]
    assert world.attacker.current("targets").signed.targets == before.targets
    root = world.attacker.current("root").signed
    assert (root.version, root.expires) == (2, world.now + DEFAULT_EXPIRY["root"])
    world.consumer().allowed()


def test_expired_collection_is_renewed_by_its_publisher(world: World) -> None:
    consumer = world.consumer()
    consumer.allowed()
    world.later(days=800)
    world.renew("root", "targets")
    consumer.allowed()


def test_manifest_that_is_not_of_its_digest_is_not_signed(world: World) -> None:
    with pytest.raises(InputError, match="not of its digest"):
        read_image(sha256(b"wanted"), lambda _digest: manifest_bytes("served"))


def test_ambiguous_manifest_is_not_signed(world: World) -> None:
    data = b'{"schemaVersion":2,"layers":[],"manifests":[]}'
    with pytest.raises(InputError, match="ambiguous"):
        world.sign("2.0", manifest=data)


def test_index_without_end_is_not_signed(world: World) -> None:
    data = manifest_bytes("leaf")
    for _ in range(6):
        world.push(data)
        data = index_bytes(data)
    with pytest.raises(LimitError, match="nested too deeply"):
        world.sign("2.0", manifest=data)


def test_missing_key_leaves_everything_as_it_was(world: World) -> None:
    files = world.attacker.files()
    world.keys["targets"] = strangers()
    with pytest.raises(UnavailableError, match="needs 1 signatures, 0 of its keys are at hand"):
        world.sign("2.0")
    assert world.attacker.files() == files


def test_threshold_is_met_or_nothing_is_published(tmp_path: Path) -> None:
    world = World(tmp_path, keys_each=3, threshold=2)
    world.sign()
    assert len(world.consumer().allowed().signers) == 3
    every = world.keys["targets"]
    world.keys["targets"] = every[:2]
    world.sign("2.0")
    assert len(world.consumer().allowed().signers) == 2
    files = world.attacker.files()
    world.keys["targets"] = every[:1]
    world.sign("3.0")
    assert world.attacker.files() == files
    assert world.consumer().refusal(f"{REPOSITORY}:3.0").reason is Reason.UNSIGNED


def test_chosen_key_signs_alone_and_a_foreign_one_not_at_all(tmp_path: Path) -> None:
    world = World(tmp_path, keys_each=2)
    world.sign()
    first, order = world.keys["targets"][0].public_key.keyid, _order(world)
    world.publish(lambda publisher: sign(replace(publisher, chosen=frozenset({first})), [order]))
    assert world.consumer().allowed(f"{REPOSITORY}:2.0").signers == (first,)
    foreign = frozenset({strangers()[0].public_key.keyid})
    with pytest.raises(InputError, match="does not sign targets"):
        world.publish(lambda publisher: sign(replace(publisher, chosen=foreign), [_order(world, "3.0")]))


@dataclass(kw_only=True)
class Contested(Relay):
    """A store in which a rival publishes just before us, ``times`` times."""

    rival: Callable[[int], object]
    times: int

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        if self.times:
            self.times -= 1
            self.rival(self.times)
        self.honest.publish(publication, deadline=deadline)


def test_change_is_made_anew_on_what_another_published(world: World) -> None:
    order = _order(world)
    store = Contested(honest=world.store, rival=lambda left: world.sign(f"rival-{left}"), times=3)
    published = world.publish(lambda publisher: sign(publisher, [order]), store=store)
    assert (published.changed, published.rebased) == (True, 3)
    consumer = world.consumer()
    for tag in ("2.0", "rival-0", "rival-1", "rival-2", "1.4"):
        consumer.allowed(f"{REPOSITORY}:{tag}")


def test_change_that_another_made_first_is_no_change(world: World) -> None:
    order = _order(world)
    store = Contested(
        honest=world.store, rival=lambda _left: world.sign("2.0", manifest=manifest_bytes("2.0")), times=1
    )
    assert not world.publish(lambda publisher: sign(publisher, [order]), store=store).changed


def test_image_that_another_revoked_meanwhile_is_not_signed(world: World) -> None:
    digest = world.sign("2.0", manifest=manifest_bytes("bad"))
    order = replace(_order(world, "bad"), tag="3.0")
    store = Contested(honest=world.store, rival=lambda _left: world.revoke(digest=digest), times=1)
    with pytest.raises(InputError, match="digest was revoked"):
        world.publish(lambda publisher: sign(publisher, [order]), store=store)
    assert isinstance(world.consumer().verify(f"{REPOSITORY}:3.0"), Denied)


def test_publisher_who_is_never_first_gives_up_with_a_conflict(world: World) -> None:
    order = _order(world)
    store = Contested(honest=world.store, rival=lambda left: world.sign(f"rival-{left}"), times=ATTEMPTS)
    with pytest.raises(ConflictError, match="another publisher was first"):
        world.publish(lambda publisher: sign(publisher, [order]), store=store)
    denied = world.consumer().verify(f"{REPOSITORY}:2.0")
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.UNSIGNED


def test_number_that_a_dead_publisher_used_is_burnt(world: World) -> None:
    world.attacker.put("3.targets.json", b"half a change")
    world.attacker.put("3.snapshot.json", b"half a change")
    world.sign("2.0")
    consumer = world.consumer()
    consumer.allowed(f"{REPOSITORY}:2.0")
    assert consumer.versions() == {"root": 1, "timestamp": 4, "snapshot": 4, "targets": 4}
    assert world.attacker.files()["3.targets.json"] == b"half a change"


def test_number_that_is_taken_while_we_sign_is_burnt_and_never_overwritten(world: World) -> None:
    def take(_left: int) -> None:
        world.attacker.put("3.targets.json", b"of a rival who died")

    order = _order(world)
    store = Contested(honest=world.store, rival=take, times=1)
    published = world.publish(lambda publisher: sign(publisher, [order]), store=store)
    assert (published.versions["targets"], published.rebased) == (4, 1)
    assert world.attacker.files()["3.targets.json"] == b"of a rival who died"
    world.consumer().allowed(f"{REPOSITORY}:2.0")


def test_publisher_waits_for_the_one_who_writes(world: World) -> None:
    files = world.attacker.files()
    with (world.attacker.directory / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=world.sign, args=("2.0",))
        thread.start()
        thread.join(timeout=0.5)  # a hundred times what it takes where nobody writes
        assert thread.is_alive()
        assert world.attacker.files() == files
    thread.join()
    world.consumer().allowed(f"{REPOSITORY}:2.0")


def test_temporary_files_of_a_dead_publisher_are_swept_up(world: World) -> None:
    leftover = world.attacker.directory / ".tmp-3.targets.json"
    leftover.write_bytes(b"half a file")
    world.sign("2.0")
    assert not leftover.exists()


def test_store_that_is_gone_is_unreachable_and_not_made_anew(world: World) -> None:
    world.attacker.directory.rename(world.folder / "unmounted")
    with pytest.raises(UnreachableError):
        world.sign("2.0")
    assert not world.attacker.directory.exists()


def test_publisher_refuses_a_store_of_somebody_else(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    world.attacker.restore(other.attacker.files())
    with pytest.raises(RefusedError, match="not the pinned one"):
        world.sign("2.0")
