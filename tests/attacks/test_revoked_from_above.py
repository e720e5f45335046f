"""An owner without a team's keys revokes what its thief signed: it ends, whatever else the thief wrote."""

from __future__ import annotations

from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations

from tests.attacks.thief import STOLEN, new_role, robbed, served, spelled, stone, target_of, whole
from tests.delegation.test_delegate import API, delegate
from tests.simulators.attacker import strangers
from tests.simulators.world import Consumer, World, index_bytes
from trust.digest import sha256
from trust.errors import RefusedError
from trust.policy import Policy
from trust.roles import REVOKED_FIELD
from trust.verdict import Denied, Reason

BAD = "registry.test/acme/evil:2"
DIGEST = sha256(STOLEN)


@pytest.fixture
def consumer(world: World) -> Consumer:
    """Give a consumer of a collection with two teams, one of which is the thief's."""
    return robbed(world)


def revoke_from_above(world: World, consumer: Consumer) -> None:
    """Have the owner revoke the thief's digest without the thief's keys; nothing but that is refused then."""
    consumer.allowed(BAD)
    keys = world.keys.pop("evil")
    assert world.revoke(digest=DIGEST).changed
    assert consumer.denied(BAD).reason is Reason.REVOKED
    consumer.allowed("registry.test/acme/evil:1")
    consumer.allowed(API)
    assert not world.revoke(digest=DIGEST).changed
    world.keys["evil"] = keys


def test_tombstone_of_the_thiefs_own_hides_nothing_from_the_owner(world: World, consumer: Consumer) -> None:
    world.sign("2", path="acme/evil", manifest=STOLEN)
    world.attacker.forge_delegate(
        "evil", lambda said: said.unrecognized_fields.update({REVOKED_FIELD: {str(DIGEST): stone("acme/evil:2")}})
    )
    revoke_from_above(world, consumer)


def test_digest_that_was_revoked_elsewhere_is_revoked_here_too(world: World, consumer: Consumer) -> None:
    world.sign("bad", manifest=STOLEN)
    world.revoke(digest=DIGEST)
    world.attacker.forge_delegate("evil", lambda said: said.targets.update({"acme/evil:2": target_of(STOLEN)}))
    revoke_from_above(world, consumer)
    assert consumer.denied("registry.test/acme/web:bad").reason is Reason.REVOKED


def test_tag_that_is_signed_without_its_digest_ends_under_every_tag(world: World, consumer: Consumer) -> None:
    world.attacker.forge_delegate("evil", lambda said: said.targets.update({"acme/evil:2": target_of(STOLEN)}))
    revoke_from_above(world, consumer)
    world.attacker.forge_delegate("evil", lambda said: said.targets.update({"acme/evil:3": target_of(STOLEN)}))
    assert consumer.denied("registry.test/acme/evil:3").reason is Reason.REVOKED


def delegate_further(
    world: World, *names: str, patterns: dict[str, list[str]], above: str = "evil"
) -> CryptoSigner:
    """Have ``above`` delegate to new roles of the thief's, not written yet, by the key that is returned."""
    (key,) = strangers()
    keyid = key.public_key.keyid
    roles = {name: DelegatedRole(name, [keyid], 1, terminating=False, paths=patterns[name]) for name in names}
    world.attacker.forge_delegate(
        above, lambda said: setattr(said, "delegations", Delegations(spelled([key]), dict(roles)))
    )
    return key


def lay(world: World, name: str, data: bytes) -> None:
    world.attacker.name_delegate(name, 1, data)


def test_thief_who_delegates_further_keeps_no_image_from_being_revoked(world: World, consumer: Consumer) -> None:
    key = delegate_further(world, "deeper", patterns={"deeper": ["acme/evil:*", "acme/evil@*"]})
    lay(world, "deeper", new_role(world, "deeper", [key], targets={"acme/evil:2": target_of(STOLEN)}))
    assert not whole(consumer)
    revoke_from_above(world, consumer)


def test_thief_who_delegates_in_a_diamond_keeps_no_image_from_being_revoked(
    world: World, consumer: Consumer
) -> None:
    """By one way some of his images are found, by the other the rest: the publisher came by one of them."""
    world.sign("1", path="acme/many/a")
    delegate(world, "many", "acme/many/**")
    ways = {name: [f"acme/many/{name}:*", f"acme/many/{name}@*"] for name in ("a", "b")}
    key = delegate_further(world, "deeper", "by", above="many", patterns={"deeper": ways["a"], "by": ways["b"]})
    again = DelegatedRole("deeper", [key.public_key.keyid], 1, terminating=False, paths=ways["b"])
    images = {f"acme/many/{name}:2": target_of(STOLEN) for name in ways}
    lay(world, "deeper", new_role(world, "deeper", [key], targets=images))
    lay(world, "by", new_role(world, "by", [key], Delegations(spelled([key]), {"deeper": again})))
    for name in ways:
        consumer.allowed(f"registry.test/acme/many/{name}:2")
    world.keys.pop("many")
    assert world.revoke(digest=DIGEST).changed
    for name in ways:
        assert consumer.denied(f"registry.test/acme/many/{name}:2").reason is Reason.REVOKED


def test_thief_who_names_an_image_below_keeps_no_other_from_being_revoked(
    world: World, consumer: Consumer
) -> None:
    """What his role says of it counts for nobody, and asks for none of his keys."""
    good = world.sign("bad", manifest=STOLEN)
    key = delegate_further(world, "deeper", patterns={"deeper": ["acme/evil:*", "acme/evil@*"]})
    lay(world, "deeper", new_role(world, "deeper", [key], targets={"acme/web:bad": target_of(STOLEN)}))
    world.keys.pop("evil")
    assert world.revoke(digest=good).changed
    assert consumer.denied("registry.test/acme/web:bad").reason is Reason.REVOKED
    consumer.allowed("registry.test/acme/evil:1")


@pytest.mark.parametrize("patterns", [["acme/evil:*", "acme/evil@*"], ["acme/evil:*"], ["acme/*:2"], ["*/evil:2"]])
def test_role_that_a_thief_made_unreadable_keeps_no_digest_from_being_revoked(
    world: World, consumer: Consumer, patterns: list[str]
) -> None:
    """Nor by tags alone, under which it could sign the digest."""
    key = delegate_further(world, "deeper", patterns={"deeper": patterns})
    lay(world, "deeper", b"rubbish")
    keys = world.keys.pop("evil")
    assert world.revoke(digest=DIGEST, path="acme/evil").changed
    world.keys["evil"] = keys
    mended = new_role(world, "deeper", [key], targets={"acme/evil:2": target_of(STOLEN)})
    lay(world, "deeper", mended)
    assert consumer.denied(BAD).reason is Reason.REVOKED


def test_team_revokes_below_itself_what_was_revoked_above_it_elsewhere(world: World) -> None:
    consumer = world.consumer()
    delegate(world, "acme.web", "acme/web")
    delegate(world, "ci", "acme/web:dev-*", delegator="acme.web")
    world.sign("bad", path="acme/other", manifest=STOLEN)
    world.revoke(digest=DIGEST)
    world.attacker.forge_delegate("ci", lambda said: said.targets.update({"acme/web:dev-2": target_of(STOLEN)}))
    consumer.allowed("registry.test/acme/web:dev-2")
    world.keys.pop("ci")
    before = world.attacker.current("targets").signed.version
    world.revoke(digest=DIGEST)
    assert consumer.denied("registry.test/acme/web:dev-2").reason is Reason.REVOKED
    assert world.attacker.current("targets").signed.version == before, "by the keys of the team that delegates"


@pytest.mark.parametrize("left", [[], ["acme/evil:2"]])
def test_tombstone_that_loses_paths_is_a_revocation_that_has_gone(
    world: World, consumer: Consumer, left: list[str]
) -> None:
    """By what is left of it the image would be signed again, though its digest is among what was revoked."""
    world.sign("2", path="acme/evil", manifest=STOLEN)
    revoke_from_above(world, consumer)

    def shorten(said: Any) -> None:
        (stone,) = said.unrecognized_fields[REVOKED_FIELD].values()
        stone["paths"] = left

    world.attacker.forge("targets", shorten)
    assert consumer.refusal(BAD).reason is Reason.ROLLED_BACK


@pytest.mark.parametrize("role", ["targets", "evil"])
def test_role_that_signs_anew_what_it_revoked_itself_is_believed_in_the_revocation(
    world: World, consumer: Consumer, role: str
) -> None:
    path = "acme/web" if role == "targets" else "acme/evil"
    world.sign("2", path=path, manifest=STOLEN)
    image = f"registry.test/{path}:2"
    consumer.allowed(image)
    world.revoke(path=path, digest=DIGEST)
    again = dict.fromkeys((f"{path}:2", f"{path}:3", f"{path}@{DIGEST}"), target_of(STOLEN))
    forge = world.attacker.forge if role == "targets" else world.attacker.forge_delegate
    forge(role, lambda said: said.targets.update(again))
    for name in (image, f"registry.test/{path}:3", f"registry.test/{path}@{DIGEST}"):
        assert consumer.denied(name).reason is Reason.REVOKED
    whole(consumer)
    assert isinstance(verdict := served(consumer, image), Denied)
    assert verdict.reason is Reason.REVOKED


def test_index_over_what_was_revoked_from_above_brings_nothing_of_it_back(
    world: World, consumer: Consumer
) -> None:
    world.sign("2", path="acme/evil", manifest=STOLEN)
    revoke_from_above(world, consumer)
    index = index_bytes(STOLEN)
    image, fine = "registry.test/acme/evil:3", world.sign("4", path="acme/evil")
    world.attacker.forge_delegate("evil", lambda said: said.targets.update({"acme/evil:3": target_of(index)}))
    consumer.allowed(image)
    consumer.vet(image, fine)
    with pytest.raises(RefusedError, match="in the allowed index is denied") as caught:
        consumer.vet(image, DIGEST)
    assert caught.value.reason == "revoked"


def test_attestation_that_was_revoked_from_above_or_is_denied_here_speaks_for_nothing(
    world: World, consumer: Consumer
) -> None:
    image = "registry.test/acme/evil:1"
    digest = consumer.allowed(image).digest
    attestation, other = (world.attest(kind, digest, path="acme/evil") for kind in ("slsa", "spdx"))
    picky, careless = world.consumer("picky", attestations=("slsa",)), world.consumer("careless")
    assert picky.allowed(image).attestations == {"slsa": (attestation,), "spdx": (other,)}
    picky.policy = careless.policy = Policy(denied_digests=frozenset({attestation}))
    assert picky.denied(image).reason is Reason.ATTESTATION_MISSING
    assert careless.allowed(image).attestations == {"spdx": (other,)}
    picky.policy = careless.policy = Policy()
    picky.allowed(image)
    keys = world.keys.pop("evil")
    world.revoke(path="acme/evil", digest=attestation)
    world.keys["evil"] = keys
    assert picky.denied(image).reason is Reason.ATTESTATION_MISSING
    assert careless.allowed(image).attestations == {"spdx": (other,)}
