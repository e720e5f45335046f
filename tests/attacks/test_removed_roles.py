"""A team whose key was stolen is removed, or revoked from above: it ends, and nothing that it did not cover."""

from __future__ import annotations

import pytest

from tests.attacks.thief import STOLEN, forge_below, robbed, stone, target_of, whole
from tests.delegation.test_delegate import API
from tests.simulators.world import Consumer, World
from trust.delegate import remove
from trust.digest import sha256
from trust.errors import InputError
from trust.roles import REVOKED_FIELD
from trust.verdict import Reason


@pytest.fixture
def consumer(world: World) -> Consumer:
    """Give a consumer of a collection with two teams, one of which is the thief's."""
    return robbed(world)


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
