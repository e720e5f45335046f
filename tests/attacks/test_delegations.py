"""One team's key, or the store, is the attacker's: names, keys and images of others stay theirs."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, SuccinctRoles, Targets

from tests.attacks.test_state import ODD_CELLS
from tests.attacks.thief import (
    STOLEN,
    forge_below,
    new_role,
    owner,
    robbed,
    served,
    spelled,
    target_of,
    turn_round,
    whole,
)
from tests.delegation.test_bins import bins
from tests.delegation.test_delegate import API, delegate
from tests.simulators.attacker import link_of, signed, strangers
from tests.simulators.team import Member
from tests.simulators.teams import change_keys
from tests.simulators.world import Consumer, World
from trust.database import DATABASE
from trust.delegate import remove
from trust.delegations import Delegation
from trust.delegations import Delegations as Named
from trust.descent import ROLES_MAX
from trust.division import overlapping
from trust.draft import Changes
from trust.errors import StateError
from trust.loaded import Loaded
from trust.value import replace as value_replace
from trust.verdict import Allowed, Denied, Reason


@pytest.fixture
def consumer(world: World) -> Consumer:
    """Give a consumer of a collection with two teams, one of which is the thief's."""
    return robbed(world)


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


@pytest.mark.parametrize("is_removed", [True, False])
def test_thief_who_calls_a_role_of_his_own_as_another_team_is_called_signs_nothing_in_its_name(
    world: World, *, is_removed: bool
) -> None:
    """A policy that asks for a team means that of the owner's choosing, whoever else delegates to its name."""
    robbed(world)
    picky, image = world.consumer("picky", roles=("acme.api",)), "registry.test/acme/evil:7"
    picky.allowed("registry.test/acme/api:1")
    if is_removed:
        world.publish(lambda publisher: remove(publisher, "acme.api", keep_images=False))
    (key,) = strangers()
    forge_below(world, "evil", "acme.api", "acme/evil:*", keys=[key])
    said = Metadata.from_bytes(new_role(world, "acme.api", [key], targets={"acme/evil:7": target_of(STOLEN)}))
    said.signed.version = 5
    world.attacker.name_delegate("acme.api", 5, signed(said, [key]))
    anyone = world.consumer("anyone").verify(image)
    assert isinstance(anyone, Allowed), anyone
    for consumer in (picky, world.consumer("fresh", roles=("acme.api",))):
        verdict = consumer.denied(image)
        assert verdict.reason is Reason.WRONG_SIGNER
        assert "evil/acme.api" in verdict.detail
    world.consumer("of both", roles=("evil/acme.api",)).allowed(image)
