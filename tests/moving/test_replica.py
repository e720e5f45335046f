"""The whole metadata of a collection at another place: verified, whole, forward only, never over another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, SuccinctRoles, Targets

from tests.simulators.attacker import Keys, link_of, signed, strangers
from tests.simulators.world import START, World, file_store, soon
from trust.errors import ConflictError, RefusedError, UnreachableError
from trust.replica import Replica, Step, plan_move, publish_replica, read_replica
from trust.roles import COLLECTION_FIELD, ROLE_FIELD
from trust.stores.interface import Store, View

DELEGATED, BINS = "team", "team.g0"


def view_of(store: Store) -> View:
    view = store.view(known=None, deadline=soon())
    assert view is not None
    return view


def read(world: World) -> Replica:
    return read_replica(world.stanza, view_of(world.store))


def elsewhere(world: World) -> tuple[Store, Path]:
    directory = world.folder / "elsewhere"
    return file_store(f"file:{directory}"), directory


def moved(world: World) -> Step:
    """Have the world's metadata elsewhere; return what happened to it there."""
    store, _ = elsewhere(world)
    move = plan_move(world.stanza, read(world), store, deadline=soon())
    assert publish_replica(move, store, deadline=soon()) is (move.step in {Step.NEW, Step.FORWARD})
    return move.step


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*.json")}


def delegate(
    world: World, *, signers: Keys | None = None, edit: Callable[[Targets], object] | None = None
) -> Keys:
    """Have targets delegate to a role, and that to two bins, each signed by the keys that are returned.

    ``signers`` sign the role instead, and ``edit`` changes it first.
    """
    keys = strangers()
    identity = world.attacker.current("targets").signed.unrecognized_fields[COLLECTION_FIELD]
    keyids = [key.public_key.keyid for key in keys]
    succinct = SuccinctRoles(keyids, 1, 1, BINS)
    team = Targets(version=3, expires=START.replace(year=2033))
    team.delegations = Delegations({key.public_key.keyid: key.public_key for key in keys}, succinct_roles=succinct)
    roles: dict[str, Targets] = {DELEGATED: team}
    for name in succinct.get_roles():
        roles[name] = Targets(version=1, expires=START.replace(year=2033))
    if edit is not None:
        edit(team)
    links = {}
    for name, role in roles.items():
        role.unrecognized_fields |= {COLLECTION_FIELD: identity, ROLE_FIELD: name}
        data = signed(Metadata(role), signers if signers is not None and name == DELEGATED else keys)
        world.attacker.put(f"{role.version}.{name}.json", data)
        links[f"{name}.json"] = link_of(role.version, data)

    def change(targets: Any) -> None:
        named = {DELEGATED: DelegatedRole(DELEGATED, keyids, 1, terminating=True, paths=["acme/team:*"])}
        targets.delegations = Delegations({key.public_key.keyid: key.public_key for key in keys}, named)

    world.attacker.forge("targets", change)
    world.attacker.forge("snapshot", lambda snapshot: snapshot.meta.update(links))
    return keys


def test_consumer_of_the_replica_verifies_and_follows(world: World) -> None:
    assert moved(world) is Step.NEW
    store, directory = elsewhere(world)
    consumer = world.consumer()
    first = consumer.allowed(store=store)
    world.sign("2.0")
    world.renew("root")
    consumer.refusal("registry.test/acme/web:2.0", store=store)
    assert moved(world) is Step.FORWARD
    assert consumer.allowed("registry.test/acme/web:2.0", store=store).versions["root"] == 2
    assert consumer.versions()["targets"] > first.versions["targets"]
    assert files(directory).keys() >= {"1.root.json", "2.root.json"}


def test_replica_has_every_role_that_is_delegated_to_and_every_bin(world: World) -> None:
    delegate(world)
    replica = read(world)
    bins = {f"1.{BINS}-{number}.json" for number in (0, 1)}
    assert replica.files.keys() >= {f"3.{DELEGATED}.json", *bins}
    assert replica.versions[DELEGATED] == 3
    assert moved(world) is Step.NEW
    assert files(elsewhere(world)[1]) == {**replica.files, "timestamp.json": replica.timestamp}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"signers": strangers()}, "below-threshold"),
        ({"signers": []}, "below-threshold"),
        ({"edit": lambda team: setattr(team, "version", 2)}, None),
    ],
    ids=["foreign key", "no signature", "fine"],
)
def test_delegated_role_is_verified_by_its_delegator(
    world: World, how: dict[str, Any], reason: str | None
) -> None:
    delegate(world, **how)
    if reason is None:
        read(world)
        return
    with pytest.raises(RefusedError) as refused:
        read(world)
    assert refused.value.reason == reason


def test_delegated_role_of_another_name_is_refused(world: World) -> None:
    delegate(world)
    world.attacker.put(f"3.{DELEGATED}.json", (world.directory / f"1.{BINS}-0.json").read_bytes())
    with pytest.raises(RefusedError):
        read(world)


def test_repeated_move_changes_no_byte(world: World) -> None:
    moved(world)
    before = files(elsewhere(world)[1])
    assert moved(world) is Step.SAME
    assert files(elsewhere(world)[1]) == before


def test_destination_that_is_ahead_stays(world: World) -> None:
    old = world.attacker.files()
    world.sign("2.0")
    moved(world)
    before = files(elsewhere(world)[1])
    world.attacker.restore(old)
    assert moved(world) is Step.AHEAD
    assert files(elsewhere(world)[1]) == before


def test_fork_is_a_conflict_and_nothing_is_written(world: World) -> None:
    base = world.attacker.files()
    world.sign("2.0")
    moved(world)
    before = files(elsewhere(world)[1])
    world.attacker.restore(base)
    for _ in range(3):
        world.attacker.forge("timestamp")  # a newer timestamp over older targets: signed on an old state
    with pytest.raises(ConflictError, match="different ways"):
        moved(world)
    assert files(elsewhere(world)[1]) == before


def test_newer_timestamp_over_other_targets_of_the_same_version_is_a_conflict(world: World) -> None:
    """Two publishers signed at two places; the one whose timestamp was renewed since is no step forward."""
    base = world.attacker.files()
    world.sign("2.0")
    moved(world)
    before, there = files(elsewhere(world)[1]), read(world)
    world.attacker.restore(base)
    world.attacker.forge("targets", lambda targets: setattr(targets, "expires", START.replace(year=2032)))
    world.attacker.forge("timestamp")
    newer = {role for role, version in read(world).versions.items() if version != there.versions[role]}
    assert newer == {"timestamp"}
    with pytest.raises(ConflictError, match=r"different ways: \d+\.[a-z]+\.json has other contents"):
        moved(world)
    assert files(elsewhere(world)[1]) == before


def test_same_version_with_other_content_is_a_conflict(world: World) -> None:
    moved(world)
    before = files(elsewhere(world)[1])
    world.attacker.forge(
        "timestamp", lambda timestamp: setattr(timestamp, "expires", START.replace(year=2032)), bump=False
    )
    with pytest.raises(ConflictError, match="other contents"):
        moved(world)
    assert files(elsewhere(world)[1]) == before


def test_metadata_of_another_collection_is_a_conflict_and_stays(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    _, directory = elsewhere(world)
    directory.mkdir()
    for name, data in other.attacker.files().items():
        (directory / name).write_bytes(data)
    before = files(directory)
    with pytest.raises(ConflictError, match="another collection"):
        moved(world)
    assert files(directory) == before


def test_snapshot_that_went_back_under_new_keys_is_a_step_forward(world: World) -> None:
    """Recovery from a fast-forward (TUF 1.0 §5.3.11): consumers reset these floors, and so does a mirror."""
    honest = world.attacker.files()
    world.attacker.forge("snapshot", lambda snapshot: setattr(snapshot, "version", 2**31))
    moved(world)
    world.attacker.restore(honest)
    world.replace_keys("snapshot", "timestamp")
    world.attacker.forge("snapshot")  # as the owner would, who has the new keys
    assert read(world).versions["snapshot"] < 2**31
    assert moved(world) is Step.FORWARD
    assert read_replica(world.stanza, view_of(elsewhere(world)[0])) == read(world)


def test_damaged_metadata_at_the_destination_is_not_ours_to_mend(world: World) -> None:
    moved(world)
    _, directory = elsewhere(world)
    (directory / "timestamp.json").write_bytes(b"{}")
    before = files(directory)
    with pytest.raises(RefusedError):
        moved(world)
    assert files(directory) == before


def test_copy_that_was_cut_short_before_its_timestamp_is_completed(world: World) -> None:
    moved(world)
    _, directory = elsewhere(world)
    (directory / "timestamp.json").unlink()
    assert moved(world) is Step.NEW
    assert read_replica(world.stanza, view_of(file_store(f"file:{directory}"))) == read(world)


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_incomplete_source_gives_no_replica(world: World, role: str) -> None:
    (world.directory / world.attacker.file_of(role)).unlink()
    with pytest.raises(UnreachableError):
        read(world)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_forged_source_gives_no_replica(world: World, role: str) -> None:
    world.attacker.forge(role, signers=strangers())
    with pytest.raises(RefusedError):
        read(world)


def test_expired_metadata_is_carried_and_its_readers_judge_it(world: World) -> None:
    world.later(days=30)
    assert moved(world) is Step.NEW
    store, _ = elsewhere(world)
    assert world.consumer().refusal(store=store).reason.value == "expired"
