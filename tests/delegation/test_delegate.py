"""A role for a part of a collection: what it covers is its own, and its fault is nobody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tuf.api.metadata import Targets

from tests.simulators.attacker import Keys, signed, strangers
from tests.simulators.world import START, Consumer, World
from trust.delegate import NewRole, add, remove
from trust.delegations import expanded
from trust.errors import InputError, TrustError, UnavailableError
from trust.published import Published
from trust.verdict import Reason

API = "registry.test/acme/api:1"


@pytest.fixture
def consumer(world: World) -> Consumer:
    return world.consumer()


def delegate(world: World, name: str, *paths: str, keys: Keys | None = None, **more: Any) -> Published:
    """Delegate ``paths``; the publisher holds the new role's keys too."""
    world.keys[name] = strangers() if keys is None else keys
    patterns = tuple(pattern for path in paths for pattern in expanded(path))
    role = NewRole(name=name, patterns=patterns, keys=tuple(key.public_key for key in world.keys[name]), **more)
    return world.publish(lambda publisher: add(publisher, [role]))


def role_of(world: World, name: str) -> Targets:
    """Return the newest file of a delegated role."""
    found = max(world.directory.glob(f"*.{name}.json"), key=lambda path: int(path.name.split(".")[0]))
    targets: Targets = world.attacker.metadata(found.name).signed
    return targets


def test_covered_targets_move_to_the_delegate_in_the_same_publish(world: World, consumer: Consumer) -> None:
    world.sign("1", path="acme/api")
    assert consumer.allowed().role == "targets"
    assert delegate(world, "acme.web", "acme/web").changed
    assert {path.partition("@")[0] for path in role_of(world, "acme.web").targets} == {"acme/web:1.4", "acme/web"}
    assert not any("acme/web" in path for path in world.attacker.current("targets").signed.targets)
    web, api = consumer.allowed(), consumer.allowed(API)
    assert (web.role, api.role) == ("acme.web", "targets")
    assert web.signers == (world.keys["acme.web"][0].public_key.keyid,)
    assert set(web.versions) == {"root", "timestamp", "snapshot", "targets", "acme.web"}


def test_what_is_covered_is_signed_by_the_delegate_alone(world: World, consumer: Consumer) -> None:
    delegate(world, "acme.web", "acme/web")
    before = world.attacker.current("targets").signed.version
    digest = world.sign("2")
    assert world.attacker.current("targets").signed.version == before
    allowed = consumer.allowed(f"registry.test/acme/web:2@{digest}")
    assert (allowed.role, allowed.digest) == ("acme.web", digest)


def test_delegate_without_its_key_at_hand_cannot_be_signed_for(world: World) -> None:
    delegate(world, "acme.web", "acme/web")
    del world.keys["acme.web"]
    with pytest.raises(UnavailableError, match=r"role acme\.web needs 1 signatures"):
        world.sign("2")


def test_target_left_in_the_parent_is_the_parents_fault_and_never_the_delegates(world: World) -> None:
    """Depth first: the parent wins. That is why a parent here never keeps what it delegates."""
    delegate(world, "acme.web", "acme/web")
    stray = role_of(world, "acme.web").targets["acme/web:1.4"]
    stray.unrecognized_fields["custom"]["by"] = []
    world.attacker.forge("targets", lambda targets: targets.targets.update({"acme/web:1.4": stray}))
    assert world.consumer("fresh").allowed().role == "targets"


@pytest.mark.parametrize(
    ("edit", "is_stranger", "reason"),
    [
        (lambda signed: signed.targets.clear(), True, Reason.WRONG_SIGNER),
        (lambda signed: signed.unrecognized_fields.update({"x-role": "acme.api"}), False, Reason.TAMPERED),
        (lambda signed: setattr(signed, "expires", START - timedelta(days=1)), False, Reason.EXPIRED),
    ],
    ids=["stranger", "name", "expired"],
)
def test_bad_delegate_is_a_refusal_of_what_it_covers_and_of_nothing_else(
    world: World, consumer: Consumer, edit: Any, *, is_stranger: bool, reason: Reason
) -> None:
    world.sign("1", path="acme/api")
    delegate(world, "acme.web", "acme/web")
    world.attacker.forge_delegate("acme.web", edit, signers=strangers() if is_stranger else None)
    assert consumer.refusal().reason is reason
    assert consumer.allowed(API).role == "targets"


def test_delegate_that_is_not_there_is_unreachable_and_never_its_parent(world: World, consumer: Consumer) -> None:
    delegate(world, "acme.web", "acme/web")
    for path in world.directory.glob("*.acme.web.json"):
        path.unlink()
    assert consumer.refusal().reason is Reason.UNREACHABLE
    assert consumer.denied("registry.test/acme/api:nothing").reason is Reason.UNSIGNED


def test_delegate_that_expires_is_refused_offline_too(world: World, consumer: Consumer) -> None:
    world.sign("1", path="acme/api")
    delegate(world, "acme.web", "acme/web", period=timedelta(days=2))
    consumer.allowed()
    consumer.allowed(API)
    world.later(days=3)
    assert consumer.refusal(offline=True).reason is Reason.EXPIRED
    consumer.allowed(API, offline=True)
    assert consumer.refusal().reason is Reason.EXPIRED


def test_delegate_of_a_stolen_online_key_is_rolled_back_in_vain(world: World, consumer: Consumer) -> None:
    delegate(world, "acme.web", "acme/web")
    old = world.attacker.files()
    name = next(name for name in old if name.endswith(".acme.web.json"))
    world.sign("2")
    consumer.allowed("registry.test/acme/web:2")
    world.attacker.name_delegate("acme.web", int(name.split(".")[0]), old[name])
    assert consumer.refusal("registry.test/acme/web:2").reason is Reason.ROLLED_BACK


def test_warm_lookup_of_a_delegate_asks_the_store_as_little_as_of_its_parent(
    world: World, consumer: Consumer
) -> None:
    delegate(world, "acme.web", "acme/web")
    consumer.allowed()
    asked: list[str] = []

    def read(name: str, _max: int, honest: bytes | None) -> bytes | None:
        asked.append(name)
        return honest

    consumer.allowed(store=world.wire(read))
    assert asked == ["2.root.json", "timestamp.json"]


def test_change_of_one_role_leaves_the_others_verified(world: World, consumer: Consumer) -> None:
    world.sign("1", path="acme/api")
    delegate(world, "acme.web", "acme/web")
    delegate(world, "acme.api", "acme/api")
    consumer.allowed()
    consumer.allowed(API)
    world.sign("2", path="acme/api")
    asked: list[str] = []

    def read(name: str, _max: int, honest: bytes | None) -> bytes | None:
        asked.append(name)
        return honest

    consumer.allowed("registry.test/acme/web:1.4", store=world.wire(read))
    assert not [name for name in asked if ".acme." in name]
    consumer.allowed("registry.test/acme/api:2")
    consumer.allowed()


@pytest.mark.parametrize(
    ("paths", "hint"),
    [
        (("acme/team/**", "acme/team/web"), None),
        (("acme/web", "acme/web"), "--from"),
        (("acme/web", "acme/web:dev-*"), "--from"),
        (("acme/team/**", "acme/team/a/b"), "--from"),
    ],
)
def test_overlap_of_two_roles_is_refused(world: World, paths: tuple[str, str], hint: str | None) -> None:
    delegate(world, "one", paths[0])
    files = world.attacker.files()
    with pytest.raises(InputError, match="paths of two are those of role one already") as err:
        delegate(world, "two", paths[1])
    assert hint is None or hint in (err.value.hint or "")
    assert world.attacker.files() == files


def test_team_covers_every_repository_below_its_name_and_no_other(world: World, consumer: Consumer) -> None:
    for path in ("acme/team/a", "acme/team/a/b/c", "acme/teamwork", "acme/team"):
        world.sign("1", path=path)
    delegate(world, "acme.team", "acme/team/**")
    roles = {
        path: consumer.allowed(f"registry.test/{path}:1").role
        for path in ("acme/team/a", "acme/team/a/b/c", "acme/teamwork", "acme/team")
    }
    assert roles == {
        "acme/team/a": "acme.team",
        "acme/team/a/b/c": "acme.team",
        "acme/teamwork": "targets",
        "acme/team": "targets",
    }


def test_pipeline_of_some_tags_moves_no_other_tag(world: World, consumer: Consumer) -> None:
    shared = world.sign("dev-1")
    world.sign("stable", manifest=world.images[shared])
    delegate(world, "ci", "acme/web:dev-*")
    dev, stable = (
        consumer.allowed("registry.test/acme/web:dev-1"),
        consumer.allowed("registry.test/acme/web:stable"),
    )
    assert (dev.role, stable.role) == ("ci", "targets")
    assert consumer.allowed(f"registry.test/acme/web@{shared}").role == "targets"
    fresh = world.sign("dev-2")
    assert consumer.allowed("registry.test/acme/web:dev-2").role == "ci"
    assert consumer.allowed(f"registry.test/acme/web@{fresh}").role == "ci"
    own = world.sign(None)
    assert consumer.allowed(f"registry.test/acme/web@{own}").role == "targets"


def test_role_can_delegate_further(world: World, consumer: Consumer) -> None:
    delegate(world, "acme.web", "acme/web")
    delegate(world, "ci", "acme/web:dev-*", delegator="acme.web")
    digest = world.sign("dev-1")
    allowed = consumer.allowed("registry.test/acme/web:dev-1")
    assert (allowed.role, allowed.digest) == ("ci", digest)
    assert consumer.allowed().role == "acme.web"
    with pytest.raises(InputError, match="cannot delegate what it does not cover"):
        delegate(world, "more", "acme/api", delegator="acme.web")


@pytest.mark.parametrize("keep_images", [True, False])
def test_removed_role_gives_its_images_back_or_drops_them(
    world: World, consumer: Consumer, *, keep_images: bool
) -> None:
    delegate(world, "acme.web", "acme/web")
    consumer.allowed()
    world.publish(lambda publisher: remove(publisher, "acme.web", keep_images=keep_images))
    if keep_images:
        assert consumer.allowed().role == "targets"
    else:
        assert consumer.denied().reason is Reason.UNSIGNED
    with pytest.raises(InputError, match="was used in this collection before"):
        delegate(world, "acme.web", "acme/web")


def test_many_roles_are_delegated_under_one_signature(world: World, consumer: Consumer) -> None:
    for number in range(40):
        world.sign("1", path=f"acme/r{number}")
    before = world.attacker.current("targets").signed.version
    names = [f"acme.r{number}" for number in range(40)]
    world.keys |= {name: strangers() for name in names}
    roles = [
        NewRole(name=name, patterns=expanded(name.replace(".", "/")), keys=(world.keys[name][0].public_key,))
        for name in names
    ]
    assert world.publish(lambda publisher: add(publisher, roles)).changed
    assert world.attacker.current("targets").signed.version == before + 1
    assert consumer.allowed("registry.test/acme/r39:1").role == "acme.r39"
    assert not world.publish(lambda publisher: add(publisher, roles)).changed


def test_revocation_in_the_parent_ends_what_a_delegate_signed(world: World, consumer: Consumer) -> None:
    delegate(world, "acme.web", "acme/web")
    digest = world.sign("2")
    consumer.allowed("registry.test/acme/web:2")
    keys = world.keys.pop("acme.web")
    world.revoke(digest=digest)
    assert consumer.denied("registry.test/acme/web:2").reason is Reason.REVOKED
    assert consumer.denied(f"registry.test/acme/web@{digest}").reason is Reason.REVOKED
    consumer.allowed()
    world.keys["acme.web"] = keys
    with pytest.raises(TrustError, match="revoked"):
        world.sign("3", manifest=world.images[digest])


def test_policy_may_ask_for_the_delegate(world: World) -> None:
    delegate(world, "acme.web", "acme/web")
    world.consumer("one", roles=("acme.web",)).allowed()
    assert world.consumer("two", roles=("targets",)).denied().reason is Reason.WRONG_SIGNER


def test_denied_key_of_a_delegate_is_refused(world: World, consumer: Consumer) -> None:
    delegate(world, "acme.web", "acme/web")
    keyid = world.keys["acme.web"][0].public_key.keyid
    consumer.policy = replace(consumer.policy, denied_keys=frozenset({keyid}))
    assert consumer.denied().reason is Reason.WRONG_SIGNER


def test_delegate_with_two_contents_of_one_version_is_refused(world: World, consumer: Consumer) -> None:
    delegate(world, "acme.web", "acme/web")
    consumer.allowed()
    name = world.attacker.delegate_file("acme.web")
    metadata = world.attacker.metadata(name)
    metadata.signed.expires += timedelta(days=1)
    world.attacker.name_delegate("acme.web", metadata.signed.version, signed(metadata, world.keys["acme.web"]))
    denied = consumer.refusal()
    assert denied.reason is Reason.TAMPERED
    assert "has two contents" in denied.detail
