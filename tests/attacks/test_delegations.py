"""One team's key, or the store, is the attacker's: what is of others stays theirs; nobody vouches for him."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, SuccinctRoles, TargetFile, Targets

from registry_shim.snapshot import load_snapshot
from tests.attacks.test_state import ODD_CELLS
from tests.delegation.test_bins import bins
from tests.delegation.test_delegate import API, delegate
from tests.simulators.team import Member
from tests.simulators.teams import change_keys
from tests.simulators.world import (
    Consumer,
    Edit,
    Keys,
    World,
    file_store,
    link_of,
    manifest_bytes,
    signed,
    soon,
    strangers,
)
from trust.chain import RoleRefusal
from trust.client import StoredRoles, refresh
from trust.database import DATABASE
from trust.delegate import remove
from trust.delegations import Delegation, walk
from trust.delegations import Delegations as Named
from trust.descent import ROLES_MAX
from trust.digest import sha256
from trust.division import overlapping
from trust.draft import Changes
from trust.errors import InputError, StateError
from trust.loaded import Loaded
from trust.policy import Policy
from trust.rebuild import rebuild
from trust.reference import parse_reference
from trust.replica import plan_move, publish_replica, read_replica
from trust.report import shown_as_published
from trust.revoke import Revocation, revoke
from trust.roles import COLLECTION_FIELD, REVOKED_FIELD, ROLE_FIELD, SIGNERS_FIELD
from trust.state import TrustedState
from trust.value import replace as value_replace
from trust.verdict import Allowed, Denied, Reason, Verdict

STOLEN = manifest_bytes("the thief's")


@pytest.fixture
def consumer(world: World) -> Consumer:
    """Give a consumer of a collection with two teams: ``evil``, whose key is stolen, and ``acme.api``."""
    world.sign("1", path="acme/api")
    world.sign("1", path="acme/evil")
    delegate(world, "evil", "acme/evil")
    delegate(world, "acme.api", "acme/api")
    return world.consumer()


def target_of(manifest: bytes) -> TargetFile:
    """Return what a thief signs of ``manifest``."""
    said = {"custom": {"signed": 1_900_000_000, "by": []}}
    return TargetFile(len(manifest), {"sha256": sha256(manifest).hex}, "any", said)


def stone(*paths: str) -> dict[str, Any]:
    """Return a tombstone for ``paths``, as it is signed."""
    return {"at": "2031-05-01T12:00:00Z", "by": [], "paths": list(paths)}


def forge_below(world: World, above: str, name: str, pattern: str, *, keys: Keys) -> None:
    """Have ``above`` delegate ``pattern`` to a role that is there already, by ``keys``."""
    role = DelegatedRole(name, [key.public_key.keyid for key in keys], 1, terminating=True, paths=[pattern])
    delegations = Delegations(spelled(keys), {name: role})
    world.attacker.forge_delegate(above, lambda said: setattr(said, "delegations", delegations))


def turn_round(world: World) -> None:
    """Have the delegations of targets in the opposite order; the thief's is the last, or the first."""
    world.attacker.forge(
        "targets",
        lambda said: setattr(said.delegations, "roles", dict(reversed(list(said.delegations.roles.items())))),
    )


def spelled(keys: Keys) -> dict[str, Key]:
    """Return the public keys of ``keys`` by id."""
    return {key.public_key.keyid: key.public_key for key in keys}


def new_role(world: World, name: str, keys: Keys, delegations: Delegations | None = None) -> bytes:
    """Return the first version of a role that nobody made with our tools."""
    fields = {COLLECTION_FIELD: world.attacker.current("targets").signed.unrecognized_fields[COLLECTION_FIELD]}
    fields |= {ROLE_FIELD: name, REVOKED_FIELD: {}, SIGNERS_FIELD: []}
    expires = world.now + timedelta(days=30)
    said = Targets(version=1, expires=expires, delegations=delegations, unrecognized_fields=fields)
    return signed(Metadata(said), keys)


def whole(consumer: Consumer) -> Mapping[str, RoleRefusal]:
    """Have ``consumer`` verify every role, as a shim does; return what he refuses."""
    state = TrustedState(consumer.home)
    try:
        refresh(consumer.stanza, state, consumer.world.store, paths=None, now=consumer.world.now, deadline=soon())
        return state.refusals(consumer.stanza.root)
    finally:
        state.close()


def served(consumer: Consumer, image: str) -> Verdict:
    """Return the verdict of a shim that has just looked at all roles, as ``whole`` does."""
    state = TrustedState(consumer.home)
    try:
        snapshot = load_snapshot(consumer.stanza, state)
    finally:
        state.close()
    policy, reference = Policy(stanzas=(consumer.stanza,)), parse_reference(image)
    match = policy.match(reference)
    assert snapshot is not None
    assert match is not None
    return snapshot.verdict(policy, match, reference, consumer.world.now.timestamp())


def checked_at(consumer: Consumer) -> int:
    """Return when the store was last noted to have been asked, in seconds."""
    moment: int = consumer.rows()["collection"][0][5]
    return moment


def owner(consumer: Consumer, path: str) -> str:
    """Return the role that answers for ``path``, by what is stored."""
    state = TrustedState(consumer.home)
    try:
        chain = state.chain(consumer.stanza.root)
        assert chain is not None
        return walk(path, StoredRoles(state=state, pin=consumer.stanza.root, chain=chain)).owner
    finally:
        state.close()


def test_removed_role_gives_back_its_own_images_and_no_others(world: World, consumer: Consumer) -> None:
    """A thief's role may name what it does not cover: nobody believes it, and its delegator never signs it."""
    digest = consumer.allowed(API).digest
    world.attacker.forge_delegate(
        "evil",
        lambda said: said.targets.update({
            "acme/api:2": target_of(STOLEN), "acme/web:9": target_of(STOLEN),
            f"acme/web@{sha256(STOLEN)}": target_of(STOLEN),
        }),
    )  # fmt: skip
    world.publish(lambda publisher: remove(publisher, "evil", keep_images=True))
    assert consumer.allowed("registry.test/acme/evil:1").role == "targets"
    for image in (
        "registry.test/acme/api:2",
        "registry.test/acme/web:9",
        f"registry.test/acme/web@{sha256(STOLEN)}",
    ):
        assert consumer.denied(image).reason is Reason.UNSIGNED
    assert consumer.allowed(API).digest == digest


@pytest.mark.parametrize("keep_images", [True, False])
def test_removed_role_leaves_no_revocation_of_what_it_did_not_cover(
    world: World, consumer: Consumer, *, keep_images: bool
) -> None:
    digest = consumer.allowed(API).digest
    world.attacker.forge_delegate(
        "evil",
        lambda said: said.unrecognized_fields.update(
            {REVOKED_FIELD: {str(digest): stone(f"acme/api@{digest}", "acme/api:1", "acme/evil:0")}}
        ),
    )
    world.publish(lambda publisher: remove(publisher, "evil", keep_images=keep_images))
    assert consumer.allowed(API).digest == digest
    assert consumer.denied("registry.test/acme/evil:0").reason is Reason.REVOKED


def test_revocation_from_above_ends_nothing_that_the_thief_did_not_cover(world: World, consumer: Consumer) -> None:
    digest = consumer.allowed(API).digest
    world.attacker.forge_delegate(
        "evil",
        lambda said: said.targets.update({
            "acme/evil:bad": target_of(STOLEN), f"acme/evil@{sha256(STOLEN)}": target_of(STOLEN),
            f"acme/api@{digest}": target_of(STOLEN),
        }),
    )  # fmt: skip
    del world.keys["evil"]
    world.revoke(digest=sha256(STOLEN))
    assert consumer.denied("registry.test/acme/evil:bad").reason is Reason.REVOKED
    assert consumer.allowed(API).digest == digest


@pytest.mark.parametrize("keys_of", ["thief", "acme.api"])
@pytest.mark.parametrize("is_first", [True, False])
def test_delegate_that_names_a_sibling_takes_nothing_from_it(
    world: World, consumer: Consumer, keys_of: str, *, is_first: bool
) -> None:
    """Names are global in a snapshot: a role that is delegated to twice is its nearest delegator's."""
    keys = world.keys["evil"] if keys_of == "thief" else world.keys["acme.api"]
    forge_below(world, "evil", "acme.api", "acme/evil:x*", keys=keys)
    if is_first:
        turn_round(world)
    assert "acme.api" not in whole(consumer)
    assert owner(consumer, "acme/api:1") == "acme.api"
    consumer.allowed(API)
    consumer.verify("registry.test/acme/evil:x1")
    consumer.allowed(API)


@pytest.mark.parametrize(("victim", "thief"), [("acme.api", "evil"), ("evil", "acme.api")])
def test_delegate_that_names_a_deeper_role_by_its_own_keys_takes_nothing_from_it(
    world: World, consumer: Consumer, victim: str, thief: str
) -> None:
    path = f"acme/{victim.removeprefix('acme.')}"
    delegate(world, "ci", f"{path}:dev-*", delegator=victim)
    world.sign("dev-1", path=path)
    forge_below(world, thief, "ci", f"acme/{thief.removeprefix('acme.')}:x*", keys=world.keys[thief])
    assert "ci" not in whole(consumer)
    assert owner(consumer, f"{path}:dev-1") == "ci"


@pytest.mark.parametrize("is_first", [True, False])
def test_delegate_that_copies_the_delegation_of_anothers_role_takes_nothing_from_it(
    world: World, consumer: Consumer, *, is_first: bool
) -> None:
    """Both delegate to ``ci`` by its own keys, at one depth: it answers under each for what that one covers."""
    delegate(world, "ci", "acme/api:dev-*", delegator="acme.api")
    digest = world.sign("dev-1", path="acme/api")
    forge_below(world, "evil", "ci", "acme/evil:x*", keys=world.keys["ci"])
    if is_first:
        turn_round(world)
    for _ in range(2):
        assert not whole(consumer)
        assert owner(consumer, "acme/api:dev-1") == "ci"
        assert consumer.allowed("registry.test/acme/api:dev-1", offline=True).digest == digest
        assert isinstance(served(consumer, "registry.test/acme/api:dev-1"), Allowed)
        assert consumer.denied("registry.test/acme/evil:x1", offline=True).reason is Reason.UNSIGNED
        world.sign("dev-2", path="acme/api")  # by the publisher, whichever of them he meets first
    assert consumer.allowed("registry.test/acme/api:dev-2").role == "ci"
    consumer.verify("registry.test/acme/evil:x1")
    assert consumer.allowed(API, offline=True).role == "acme.api"
    world.publish(lambda publisher: remove(publisher, "evil", keep_images=False))
    assert not whole(consumer)
    assert consumer.allowed("registry.test/acme/api:dev-1", offline=True).digest == digest


def test_thief_who_signs_anew_makes_no_role_stale_for_its_own_delegator(world: World, consumer: Consumer) -> None:
    """Of ``ci``, known under both, what is known under its own delegator holds while the thief's is stale."""
    delegate(world, "ci", "acme/api:dev-*", delegator="acme.api")
    digest = world.sign("dev-1", path="acme/api")
    forge_below(world, "evil", "ci", "acme/evil:x*", keys=world.keys["ci"])
    assert not whole(consumer)
    assert {row[1] for row in consumer.rows()["link"]} == {"ci"}
    world.attacker.forge_delegate("evil", lambda _said: None)
    consumer.allowed()  # asks for neither
    assert "link" not in consumer.rows()
    assert consumer.allowed("registry.test/acme/api:dev-1", offline=True).digest == digest
    assert consumer.denied("registry.test/acme/evil:x1", offline=True).reason is Reason.UNREACHABLE


def test_state_of_before_goes_on_and_an_odd_link_in_it_is_never_a_crash(world: World, consumer: Consumer) -> None:
    """How a role was verified under a further delegator stands in rows of its own, which older homes lack."""
    delegate(world, "ci", "acme/api:dev-*", delegator="acme.api")
    digest = world.sign("dev-1", path="acme/api")
    assert not whole(consumer)
    with closing(sqlite3.connect(consumer.home / DATABASE)) as connection, connection:
        connection.execute("DROP TABLE link")
    assert consumer.allowed("registry.test/acme/api:dev-1", offline=True).digest == digest
    forge_below(world, "evil", "ci", "acme/evil:x*", keys=world.keys["ci"])
    assert not whole(consumer)
    (row,) = consumer.rows()["link"]
    good = (consumer.home / DATABASE).read_bytes()
    world.sign("3", path="acme/api")  # so that who asks has something to verify
    with closing(sqlite3.connect(consumer.home / DATABASE)) as connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(link)")]
    assert len(columns) == len(row)
    for column in columns:
        for odd in ODD_CELLS:
            (consumer.home / DATABASE).write_bytes(good)
            with closing(sqlite3.connect(consumer.home / DATABASE)) as connection, connection:
                connection.execute(f"UPDATE OR IGNORE link SET {column} = ?", (odd,))  # noqa: S608
            for offline in (True, False):
                try:
                    verdict = consumer.verify("registry.test/acme/api:dev-1", offline=offline)
                except StateError:
                    continue
                assert isinstance(verdict, Denied) or verdict.digest == digest


def test_keys_that_a_thief_adds_to_anothers_role_sign_nothing_for_its_delegator(
    world: World, consumer: Consumer
) -> None:
    delegate(world, "ci", "acme/api:dev-*", delegator="acme.api")
    digest = world.sign("dev-1", path="acme/api")
    forge_below(world, "evil", "ci", "acme/evil:x*", keys=[*world.keys["ci"], *world.keys["evil"]])
    turn_round(world)
    assert not whole(consumer)
    assert consumer.allowed("registry.test/acme/api:dev-1", offline=True).digest == digest
    world.attacker.forge_delegate(
        "ci", lambda said: said.targets.update({"acme/api:dev-9": target_of(STOLEN)}), signers=world.keys["evil"]
    )
    whole(consumer)
    assert consumer.denied("registry.test/acme/api:dev-9").reason in {Reason.WRONG_SIGNER, Reason.BELOW_THRESHOLD}
    assert consumer.allowed(API).role == "acme.api"


def test_delegate_to_very_many_costs_nobody_else_his_images(world: World, consumer: Consumer) -> None:
    keys = world.keys["evil"]
    ids = list(spelled(keys))
    roles = {
        name: DelegatedRole(name, ids, 1, terminating=True, paths=["acme/evil:x*"])
        for name in (f"e{number:05}" for number in range(ROLES_MAX))
    }
    world.attacker.forge_delegate(
        "evil", lambda said: setattr(said, "delegations", Delegations(spelled(keys), roles))
    )
    turn_round(world)
    bins(world, 2, "acme.api")
    refused = whole(consumer)
    assert refused["evil"].reason == Reason.LIMIT_REACHED.value
    assert isinstance(served(consumer, API), Allowed)
    thiefs = served(consumer, "registry.test/acme/evil:1")
    assert isinstance(thiefs, Denied)
    assert thiefs.reason is Reason.LIMIT_REACHED
    assert owner(consumer, "acme/api:1") == "acme.api"
    assert consumer.allowed(API, offline=True).role == "acme.api"


def test_change_in_which_a_delegate_takes_anothers_name_is_published_by_nobody(
    world: World, consumer: Consumer
) -> None:
    """His own role needs his signature alone; the publisher with the online key looks at it all the same."""
    delegate(world, "ci", "acme/api:dev-*", delegator="acme.api")
    (key,) = world.keys["evil"]
    keyid = key.public_key.keyid
    entry = Delegation(name="ci", patterns=("acme/evil:x*",), keyids=(keyid,), threshold=1)
    keys = {keyid: {"keyid": keyid, **key.public_key.to_dict()}}

    def change(loaded: Loaded) -> Changes:
        said = loaded.find("evil").content
        return Changes(contents={"evil": value_replace(said, delegations=Named(roles=(entry,), keys=keys))})

    thief = Member(world=world, name="thief", keys=[key])
    assert thief.do(lambda publisher: publisher.publish(change)).waits is not None
    before = world.attacker.current("snapshot").signed.meta
    daemon = Member(world=world, name="daemon", keys=world.keys["snapshot"])
    settled = daemon.settle()
    assert not settled.published
    assert "a name that was used in this collection before" in str(settled.left[0].problem)
    assert world.attacker.current("snapshot").signed.meta == before
    assert not whole(consumer)


def test_bins_under_the_names_of_a_siblings_bins_take_nothing_from_them(world: World, consumer: Consumer) -> None:
    bins(world, 2, "acme.api")

    def edit(said: Targets) -> None:
        keys = world.keys["acme.api"]
        ids = list(spelled(keys))
        said.delegations = Delegations(spelled(keys), succinct_roles=SuccinctRoles(ids, 1, 1, "acme.api.g1"))
        said.targets.clear()

    world.attacker.forge_delegate("evil", edit)
    assert set(whole(consumer)) == {"evil"}
    assert consumer.allowed(API).role == "acme.api"
    assert owner(consumer, "acme/api:1") == "acme.api"


def test_chain_of_delegations_without_end_is_nobody_elses_fault(world: World, consumer: Consumer) -> None:
    keys, count = world.keys["evil"], 1_200

    def to(name: str) -> Delegations:
        role = DelegatedRole(name, list(spelled(keys)), 1, terminating=True, paths=["acme/evil:*"])
        return Delegations(spelled(keys), {name: role})

    names = [f"e{number:04}" for number in range(count, 0, -1)]  # in this order nothing is met after its delegator
    files = {
        name: new_role(world, name, keys, to(below) if below else None)
        for name, below in zip(names, [*names[1:], None], strict=True)
    }
    for name, data in files.items():
        world.attacker.put(f"1.{name}.json", data)
    world.attacker.forge(
        "snapshot",
        lambda said: said.meta.update({f"{name}.json": link_of(1, data) for name, data in files.items()}),
    )

    def edit(said: Targets) -> None:
        said.targets.clear()
        said.delegations = to(names[0])

    world.attacker.forge_delegate("evil", edit)
    whole(consumer)
    assert consumer.allowed(API).role == "acme.api"
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.LIMIT_REACHED
    world.sign("2", path="acme/api")
    assert consumer.allowed("registry.test/acme/api:2").role == "acme.api"


def test_role_that_was_refused_once_keeps_its_floor(world: World, consumer: Consumer) -> None:
    """A revocation that was seen stays seen, though the role was missing for a while."""
    digest = world.sign("2", path="acme/api")
    world.revoke(digest=digest)
    assert not whole(consumer)
    world.sign("3", path="acme/api")
    name = world.attacker.delegate_file("acme.api")
    data = (world.directory / name).read_bytes()
    (world.directory / name).unlink()
    assert set(whole(consumer)) == {"acme.api"}
    world.attacker.put(name, data)
    world.attacker.forge_delegate("acme.api", lambda said: said.unrecognized_fields.update({REVOKED_FIELD: {}}))
    assert whole(consumer)["acme.api"].reason == Reason.ROLLED_BACK.value
    assert consumer.denied(API).reason is Reason.ROLLED_BACK


def test_role_that_nobody_can_read_can_be_removed(world: World, consumer: Consumer) -> None:
    """A thief signs rubbish as his role: the owner of the collection is rid of it all the same."""
    world.attacker.forge_delegate("evil", lambda said: said.unrecognized_fields.update({REVOKED_FIELD: {"x": 1}}))
    assert consumer.allowed(API).role == "acme.api"
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.TAMPERED
    world.publish(lambda publisher: remove(publisher, "evil", keep_images=False))
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.UNSIGNED


def test_thief_who_delegates_further_cannot_keep_his_role_from_being_removed(
    world: World, consumer: Consumer
) -> None:
    forge_below(world, "evil", "ghost", "acme/evil:x*", keys=world.keys["evil"])
    del world.keys["evil"]
    with pytest.raises(InputError, match="role evil delegates to ghost"):
        world.publish(lambda publisher: remove(publisher, "evil", keep_images=True))
    world.publish(lambda publisher: remove(publisher, "evil", keep_images=False))
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.UNSIGNED
    assert consumer.allowed(API).role == "acme.api"


def _revoked(said: Targets) -> None:
    said.unrecognized_fields[REVOKED_FIELD] = {"x": 1}


def _no_table(said: Targets) -> None:
    said.unrecognized_fields[REVOKED_FIELD] = ["x"]


def _signers(said: Targets) -> None:
    said.unrecognized_fields[SIGNERS_FIELD] = 1


def _target(said: Targets) -> None:
    said.targets["acme/evil:1"].unrecognized_fields["custom"] = {"signed": "never"}


def _pattern(said: Targets) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    role = DelegatedRole("ghost", [key.keyid], 1, terminating=True, paths=["acme/evil:?"])
    said.delegations = Delegations({key.keyid: key}, {"ghost": role})


def _bins(said: Targets) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    said.targets.clear()
    said.delegations = Delegations({key.keyid: key}, succinct_roles=SuccinctRoles([key.keyid], 1, 1, "evil.g1"))


@pytest.mark.parametrize("edit", [_revoked, _no_table, _signers, _target, _pattern, _bins])
def test_role_that_nobody_can_read_keeps_nobody_from_revoking_listing_or_copying(
    world: World, consumer: Consumer, tmp_path: Path, edit: Edit
) -> None:
    digest = consumer.allowed(API).digest
    kept = world.sign("2", path="acme/api")
    world.attacker.forge_delegate("evil", edit)
    world.revoke(digest=digest)
    assert consumer.denied(API).reason is Reason.REVOKED

    view = world.store.view(known=None, deadline=soon())
    assert view is not None
    shown = shown_as_published(consumer.stanza, view, None)
    assert "acme/api:2" in shown.tables["acme.api"].targets
    assert len(shown.refused) == (2 if edit is _bins else 1)

    there = file_store(f"file:{tmp_path / 'there'}")
    move = plan_move(consumer.stanza, read_replica(consumer.stanza, view), there, deadline=soon())
    assert publish_replica(move, there, deadline=soon())
    other = world.consumer("behind the copy")
    assert other.allowed("registry.test/acme/api:2", store=there).digest == kept
    assert other.denied("registry.test/acme/evil:1", store=there).reason is Reason.TAMPERED

    world.publish(lambda publisher: remove(publisher, "evil", keep_images=False))
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.UNSIGNED
    assert not whole(consumer)


def test_image_that_was_revoked_while_its_role_could_not_be_read_stays_so_when_it_is_mended(
    world: World, consumer: Consumer
) -> None:
    digest = consumer.allowed("registry.test/acme/evil:1").digest
    held = dict(world.keys)
    world.attacker.forge_delegate("evil", _revoked)
    del world.keys["evil"]
    revocation = Revocation(path="acme/evil", tag=None, digest=digest)
    published = world.publish(lambda publisher: revoke(publisher, [revocation]))
    assert published.changed
    assert published.untrusted == ("evil",)
    assert not world.publish(lambda publisher: revoke(publisher, [revocation])).changed
    world.keys |= held
    world.attacker.forge_delegate("evil", lambda said: said.unrecognized_fields.pop(REVOKED_FIELD))
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.REVOKED
    assert consumer.denied(f"registry.test/acme/evil@{digest}").reason is Reason.REVOKED


def test_rubbish_and_delegations_to_nobody_stop_no_recovery_of_a_stolen_online_key(
    world: World, consumer: Consumer
) -> None:
    """The thief of a team's key has also the online key, and nobody can read what he left."""
    consumer.allowed(API)
    forge_below(world, "evil", "ghost", "acme/evil:x*", keys=world.keys["evil"])
    world.sign("2", path="acme/api")
    world.attacker.forge_delegate("acme.api", _revoked)  # a second team's, by its own fault
    world.attacker.forge("snapshot", lambda said: said.meta["evil.json"].__setattr__("version", 2**31 - 1))
    stolen = world.keys["timestamp"]
    change_keys(world, "online", add=strangers(), stolen=stolen)
    assert set(whole(consumer)) == {"acme.api", "ghost"}
    assert consumer.allowed("registry.test/acme/evil:1").role == "evil"
    assert consumer.denied(API).reason is Reason.TAMPERED
    world.publish(lambda publisher: remove(publisher, "acme.api", keep_images=False))
    assert consumer.denied(API).reason is Reason.UNSIGNED


def test_lost_store_is_rebuilt_though_a_delegate_left_rubbish(world: World, consumer: Consumer) -> None:
    forge_below(world, "evil", "ghost", "acme/evil:x*", keys=world.keys["evil"])
    world.attacker.forge_delegate("evil", _revoked)
    assert set(whole(consumer)) == {"evil"}
    there = file_store(f"file:{world.folder / 'rebuilt'}")
    state = TrustedState(consumer.home)
    try:
        rebuild(consumer.stanza, state, there, mirror=None, deadline=soon(), dry_run=False)
    finally:
        state.close()
    other = world.consumer("afterwards")
    assert other.allowed(API, store=there).role == "acme.api"
    assert isinstance(other.verify("registry.test/acme/evil:1", store=there), Denied)


def test_delegate_that_expired_keeps_nobody_from_noting_that_the_store_had_nothing_new(
    world: World, consumer: Consumer
) -> None:
    soon_over = world.now + timedelta(hours=1)
    world.attacker.forge_delegate("evil", lambda said: setattr(said, "expires", soon_over))
    assert not whole(consumer)
    world.later(hours=2)
    consumer.allowed(API)
    assert checked_at(consumer) == int(world.now.timestamp())
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.EXPIRED
    before = checked_at(consumer)
    world.later(days=30)  # past the timestamp: a clock that is set ahead is not noted
    assert consumer.denied(API).reason is Reason.EXPIRED
    assert checked_at(consumer) == before


def test_role_that_nobody_can_read_keeps_no_other_team_from_publishing(world: World, consumer: Consumer) -> None:
    world.attacker.forge_delegate("evil", lambda said: said.unrecognized_fields.update({REVOKED_FIELD: {"x": 1}}))
    digest = world.sign("2", path="acme/api")
    assert consumer.allowed("registry.test/acme/api:2").digest == digest
    world.revoke("1", path="acme/api")
    assert consumer.denied(API).reason is Reason.UNSIGNED
    world.publish(lambda publisher: remove(publisher, "acme.api", keep_images=True))
    assert consumer.allowed("registry.test/acme/api:2").role == "targets"


def test_delegation_to_nobody_keeps_no_digest_from_being_revoked(world: World, consumer: Consumer) -> None:
    digest = consumer.allowed(API).digest
    forge_below(world, "evil", "ghost", "acme/evil:x*", keys=world.keys["evil"])
    assert set(whole(consumer)) == {"ghost"}
    world.revoke(digest=digest)
    assert consumer.denied(API).reason is Reason.REVOKED
    assert consumer.allowed("registry.test/acme/evil:1").role == "evil"


def test_revocation_leaves_no_tombstone_of_an_index_that_a_thief_only_named(
    world: World, consumer: Consumer
) -> None:
    """He says that his image is in another team's: the tombstone of his is not theirs, and they sign on."""
    theirs = consumer.allowed(API).digest
    bad = target_of(STOLEN)
    bad.unrecognized_fields["custom"]["in"] = [str(theirs)]
    world.attacker.forge_delegate("evil", lambda said: said.targets.update({f"acme/evil@{sha256(STOLEN)}": bad}))
    del world.keys["evil"]
    world.revoke(digest=sha256(STOLEN))
    world.sign("again", path="acme/api", manifest=world.images[theirs])
    assert consumer.allowed("registry.test/acme/api:again").digest == theirs


@pytest.mark.parametrize("is_terminating", [True, False])
def test_role_without_an_image_lets_no_other_sign_it_unless_its_delegator_says_so(
    world: World, consumer: Consumer, *, is_terminating: bool
) -> None:
    """Paths that two roles share, by a publisher of other tools: the first one's "not here" ends the search."""

    def shared(said: Any) -> None:
        roles = said.delegations.roles
        roles["acme.api"].terminating = is_terminating
        roles["evil"].paths = ["acme/api:*"]
        said.delegations.roles = {name: roles[name] for name in ("acme.api", "evil")}

    world.attacker.forge("targets", shared)
    world.attacker.forge_delegate("evil", lambda said: said.targets.update({"acme/api:9": target_of(STOLEN)}))
    for offline in (False, True):
        if is_terminating:
            assert consumer.denied("registry.test/acme/api:9", offline=offline).reason is Reason.UNSIGNED
        else:
            assert consumer.allowed("registry.test/acme/api:9", offline=offline).role == "evil"


def test_two_patterns_of_many_stars_are_compared_in_no_time() -> None:
    before = time.monotonic()
    assert not list(overlapping((f"acme/web:{'*a' * 50}x",), (f"acme/web:{'*a' * 50}y",)))
    assert list(overlapping((f"acme/web:{'*a' * 50}*",), (f"acme/web:{'*b' * 50}*",)))
    assert time.monotonic() - before < 1


@pytest.mark.parametrize("pattern", ["acme/api:dev-*", "acme/*:x*"])
@pytest.mark.parametrize("is_first", [True, False])
def test_copied_delegation_of_a_role_without_images_does_not_make_the_thief_its_delegator(
    world: World, consumer: Consumer, pattern: str, *, is_first: bool
) -> None:
    """Its keys are the same: only that no look-up comes that way tells who delegates."""
    delegate(world, "ci", "acme/api:dev-*", delegator="acme.api")
    forge_below(world, "evil", "ci", pattern, keys=world.keys["ci"])
    if is_first:
        turn_round(world)
    new = strangers()
    assert change_keys(world, "ci", add=new, stolen=world.keys["ci"]).changed
    assert list(world.attacker.metadata(world.attacker.delegate_file("ci")).signatures) == [
        new[0].public_key.keyid
    ]
    world.sign("dev-1", path="acme/api")
    assert consumer.allowed("registry.test/acme/api:dev-1").role == "ci"
