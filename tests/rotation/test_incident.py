"""A key is stolen: what it signed since then goes, everywhere, and consumers know it at their next look."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from registry_shim.snapshot import load_snapshot
from tests.simulators.attacker import strangers
from tests.simulators.teams import WEB_ROLE, change_keys, delegate, ids
from tests.simulators.world import Consumer, World, index_bytes, manifest_bytes, soon
from trust.client import refresh
from trust.delegate import remove
from trust.digest import sha256
from trust.errors import InputError
from trust.incident import Gone, Suspect, prune, revoke_signed
from trust.judge import match_or_verdict
from trust.policy import Match, Policy
from trust.publish import Publisher
from trust.published import Published
from trust.reference import parse_reference
from trust.state import TrustedState
from trust.value import replace
from trust.verdict import Allowed, Denied, Reason, Verdict

WEB = "registry.test/acme/web"
OTHER = "registry.test/acme/other"


@pytest.fixture
def teams(tmp_path: Path) -> World:
    """Give a collection in which a team signs ``acme/web``, and the owner the rest; each has one image."""
    world = World(tmp_path)
    delegate(world)
    world.sign()
    world.sign(path="acme/other")
    return world


def _shim(consumer: Consumer, image: str) -> Verdict:
    """Return what the shim of ``consumer`` says after it looked: by its snapshot in memory, not from disk."""
    world = consumer.world
    state = TrustedState(consumer.home.with_name(f"{consumer.home.name}-shim"))
    try:
        refresh(consumer.stanza, state, world.store, paths=None, now=world.now, deadline=soon())
        snapshot = load_snapshot(consumer.stanza, state)
    finally:
        state.close()
    assert snapshot is not None
    policy = replace(consumer.policy, stanzas=(consumer.stanza,))
    match = match_or_verdict(policy, parse_reference(image), world.now)
    assert isinstance(match, Match)
    return snapshot.verdict(policy, match, parse_reference(image), world.now.timestamp())


def _reason(verdict: Verdict) -> Reason | None:
    return verdict.reason if isinstance(verdict, Denied) else None


def _both(consumer: Consumer, image: str) -> Reason | None:
    """Return why ``image`` is denied, by the verifier on disk and by the shim alike; None: it is allowed."""
    said = {_reason(consumer.verify(image)), _reason(_shim(consumer, image))}
    (reason,) = said
    return reason


def _revoke(
    world: World, role: str, since: datetime, *, dry_run: bool = False
) -> tuple[Published, tuple[Gone, ...]]:
    found = []
    suspect = Suspect(keyid=ids(world.keys[role])[0][:12], since=since)

    def journey(publisher: Publisher) -> Published:
        found.append(revoke_signed(replace(publisher, dry_run=dry_run), suspect))
        return found[0][0]

    world.publish(journey)
    return found[0]


def _paths(gone: tuple[Gone, ...]) -> set[str]:
    return {each.path for each in gone if "@" not in each.path}


def test_everything_that_a_key_signed_since_a_moment_goes(world: World, consumer: Consumer) -> None:
    theft = world.later(days=1).now
    bad = world.sign("2.0", manifest=manifest_bytes("the thief's"))
    child = manifest_bytes("child")
    world.push(child)
    world.sign("multi", manifest=index_bytes(child), path="acme/other")
    published, gone = _revoke(world, "targets", theft)
    assert published.changed
    assert _paths(gone) == {"acme/web:2.0", "acme/other:multi"}
    assert _both(consumer, f"{WEB}:1.4") is None
    assert _both(consumer, f"{WEB}:2.0") is Reason.REVOKED
    assert _both(consumer, f"{WEB}@{bad}") is Reason.REVOKED
    assert _both(consumer, f"{OTHER}@{sha256(child)}") is Reason.REVOKED
    with pytest.raises(InputError, match="digest was revoked"):
        world.sign("3.0", manifest=manifest_bytes("the thief's"))


def test_tag_that_the_thief_moved_goes_with_its_image(world: World, consumer: Consumer) -> None:
    theft = world.later(days=1).now
    world.sign("1.4", manifest=manifest_bytes("the thief's"))
    _revoke(world, "targets", theft)
    assert _both(consumer, f"{WEB}:1.4") is Reason.REVOKED


def test_revocation_by_key_goes_through_every_role(teams: World) -> None:
    consumer = teams.consumer()
    delegate(teams, "acme.db", "acme/db", teams.keys[WEB_ROLE])  # one person, two teams
    theft = teams.later(days=1).now
    teams.sign("2.0")
    teams.sign("2.0", path="acme/db")
    teams.sign("2.0", path="acme/other")
    _, gone = _revoke(teams, WEB_ROLE, theft)
    assert {(each.role, each.path) for each in gone if "@" not in each.path} == {
        (WEB_ROLE, "acme/web:2.0"), ("acme.db", "acme/db:2.0"),
    }  # fmt: skip
    for image, reason in {f"{WEB}:2.0": Reason.REVOKED, f"{WEB}:1.4": None, f"{OTHER}:2.0": None}.items():
        assert _both(consumer, image) is reason


def test_team_whose_keys_are_not_here_is_revoked_from_above(teams: World) -> None:
    consumer = teams.consumer()
    theft = teams.later(days=1).now
    bad = teams.sign("2.0")
    keyid = ids(teams.keys[WEB_ROLE])[0]
    lost = teams.keys.pop(WEB_ROLE)
    teams.keys["nobody"] = []
    assert _both(consumer, f"{WEB}:2.0") is None
    suspect = Suspect(keyid=keyid, since=theft)
    assert teams.publish(lambda publisher: revoke_signed(publisher, suspect)[0]).changed
    assert _both(consumer, f"{WEB}:2.0") is Reason.REVOKED
    assert _both(consumer, f"{WEB}@{bad}") is Reason.REVOKED
    assert _both(consumer, f"{WEB}:1.4") is None
    files = teams.attacker.files()
    assert not teams.publish(lambda publisher: revoke_signed(publisher, suspect)[0]).changed
    assert teams.attacker.files() == files
    assert lost


def test_what_was_revoked_from_above_stays_so_when_the_team_is_removed(teams: World) -> None:
    """The owner ends what a thief signed, then the team itself, and vouches for its good images from then on."""
    consumer = teams.consumer()
    bad = teams.sign("2.0")
    teams.keys.pop(WEB_ROLE)
    teams.keys["nobody"] = []
    teams.revoke(digest=bad)
    assert _both(consumer, f"{WEB}:2.0") is Reason.REVOKED
    teams.publish(lambda publisher: remove(publisher, WEB_ROLE, keep_images=True))
    assert _both(consumer, f"{WEB}:2.0") is Reason.REVOKED
    assert _both(consumer, f"{WEB}@{bad}") is Reason.REVOKED
    assert consumer.allowed(f"{WEB}:1.4").role == "targets"


def test_dry_run_and_a_moment_too_late_revoke_nothing(teams: World) -> None:
    files = teams.attacker.files()
    published, gone = _revoke(teams, "targets", teams.now, dry_run=True)
    assert (published.changed, _paths(gone)) == (True, {"acme/other:1.4"})
    published, gone = _revoke(teams, "targets", teams.later(seconds=1).now)
    assert (published.changed, gone) == (False, ())
    assert teams.attacker.files() == files


@pytest.mark.parametrize("role", [WEB_ROLE, "targets"])
def test_revoked_key_is_worth_nothing_at_the_next_look(teams: World, role: str) -> None:
    """Rotated away: what only it has signed is refused at once, what the new key took over is allowed."""
    consumer, stolen = teams.consumer(), teams.keys[role]
    assert _both(consumer, f"{WEB}:1.4") is None
    new = strangers()
    change_keys(teams, role, add=new, stolen=stolen)
    denied = replace(consumer.policy, denied_keys=frozenset(ids(stolen)))
    assert _both(consumer, f"{WEB}:1.4") is None
    consumer.policy = denied
    assert _both(consumer, f"{WEB}:1.4") is None


@pytest.mark.parametrize("bins", [0, 4])
def test_key_that_is_denied_locally_is_refused_for_what_its_role_covers(tmp_path: Path, bins: int) -> None:
    world = World(tmp_path)
    delegate(world, bins=bins)
    world.sign()
    world.sign(path="acme/other")
    consumer = world.consumer()
    consumer.policy = Policy(denied_keys=frozenset(ids(world.keys[WEB_ROLE])))
    assert _both(consumer, f"{WEB}:1.4") is Reason.WRONG_SIGNER
    assert _both(consumer, f"{OTHER}:1.4") is None
    consumer.policy = Policy(denied_keys=frozenset(ids(world.keys["targets"])))
    assert _both(consumer, f"{WEB}:1.4") is _both(consumer, f"{OTHER}:1.4") is Reason.WRONG_SIGNER


def test_denied_key_of_several_leaves_what_the_others_reach_the_threshold_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    delegate(world, keys=strangers(2))
    world.sign()
    consumer = world.consumer()
    consumer.policy = Policy(denied_keys=frozenset(ids(world.keys[WEB_ROLE][:1])))
    assert _both(consumer, f"{WEB}:1.4") is None
    change_keys(world, WEB_ROLE, threshold=2)
    assert _both(consumer, f"{WEB}:1.4") is Reason.WRONG_SIGNER


def test_revoked_image_is_refused_at_the_next_look(teams: World) -> None:
    consumer = teams.consumer()
    for path, image in (("acme/web", WEB), ("acme/other", OTHER)):
        verdict = consumer.allowed(f"{image}:1.4")
        assert isinstance(_shim(consumer, f"{image}:1.4"), Allowed)
        teams.revoke(path=path, digest=verdict.digest)
        assert _both(consumer, f"{image}@{verdict.digest}") is Reason.REVOKED
        assert _both(consumer, f"{image}:1.4") is Reason.REVOKED


def _prune(world: World, keep: int) -> tuple[Published, tuple[Gone, ...], tuple[str, ...]]:
    found = []

    def journey(publisher: Publisher) -> Published:
        found.append(prune(publisher, keep=keep))
        return found[0][0]

    world.publish(journey)
    return found[0]


def test_newest_tags_of_each_repository_are_kept(teams: World) -> None:
    consumer = teams.consumer()
    for number in (2, 3, 4):
        teams.later(hours=1)
        teams.sign(f"{number}.0")
        teams.sign(f"{number}.0", path="acme/other")
    published, gone, left = _prune(teams, 2)
    assert (published.changed, left) == (True, ())
    assert _paths(gone) == {f"acme/{name}:{tag}" for name in ("web", "other") for tag in ("1.4", "2.0")}
    for image in (WEB, OTHER):
        assert [_both(consumer, f"{image}:{tag}") for tag in ("1.4", "2.0", "3.0", "4.0")] == [
            Reason.UNSIGNED, Reason.UNSIGNED, None, None,
        ]  # fmt: skip
    files = teams.attacker.files()
    published, gone, _ = _prune(teams, 2)
    assert (published.changed, gone) == (False, ())
    assert teams.attacker.files() == files


def test_pruned_image_is_unsigned_and_not_revoked_and_can_be_signed_again(teams: World) -> None:
    consumer, old = teams.consumer(), sha256(manifest_bytes("acme/other:1.4"))
    shared = teams.sign("kept", path="acme/other", manifest=manifest_bytes("shared"))
    teams.later(hours=1)
    teams.sign("2.0", path="acme/other")
    teams.sign("3.0", path="acme/other", manifest=manifest_bytes("shared"))
    _prune(teams, 2)
    assert _both(consumer, f"{OTHER}@{old}") is Reason.UNSIGNED
    assert _both(consumer, f"{OTHER}:kept") is Reason.UNSIGNED
    assert _both(consumer, f"{OTHER}@{shared}") is None  # another tag names it
    teams.sign("1.4", path="acme/other")
    assert _both(consumer, f"{OTHER}@{old}") is None


def test_role_whose_keys_are_not_here_keeps_its_tags(teams: World) -> None:
    for number in (2, 3):
        teams.later(hours=1)
        teams.sign(f"{number}.0")
        teams.sign(f"{number}.0", path="acme/other")
    teams.keys[WEB_ROLE] = strangers()
    _, gone, left = _prune(teams, 1)
    assert left == (WEB_ROLE,)
    assert _paths(gone) == {"acme/other:1.4", "acme/other:2.0"}
    teams.consumer().allowed(f"{WEB}:1.4")
