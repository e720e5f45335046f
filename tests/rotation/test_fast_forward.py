"""An online key is stolen, and every version counted up to 2^31-1 (Notary audit 15-3): the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuf.api.metadata import MetaFile, Snapshot

from tests.simulators.attacker import Attacker, Keys, strangers
from tests.simulators.teams import WEB_ROLE, change_keys, delegate
from tests.simulators.world import World
from trust.errors import InputError, RefusedError, TrustError
from trust.verdict import Denied, Reason

LAST = 2**31 - 1
WEB = "registry.test/acme/web:1.4"
OTHER = "registry.test/acme/other:1.4"


@pytest.fixture
def teams(tmp_path: Path) -> World:
    """Give a collection in which a team signs ``acme/web``, and the owner ``acme/other``."""
    world = World(tmp_path)
    delegate(world)
    world.sign()
    world.sign(path="acme/other")
    return world


def _count_up(world: World, **named: int) -> None:
    """Have a thief of the online key publish snapshot and timestamp in their last version, naming roles so."""

    def snapshot(signed: Snapshot) -> None:
        signed.version = LAST
        for name, version in named.items():
            signed.meta[f"{name.replace('_', '.')}.json"] = MetaFile(version=version)

    world.attacker.forge("snapshot", snapshot, bump=False)
    world.attacker.forge("timestamp", lambda signed: setattr(signed, "version", LAST), bump=False)


def _recover(world: World) -> Keys:
    stolen = world.keys["timestamp"]
    change_keys(world, "online", add=strangers(), stolen=stolen)
    return stolen


def test_recovery_builds_on_nothing_from_before_what_was_published_from_here(teams: World) -> None:
    """The thief takes the newest file away: what is left would bring back what was revoked since."""
    digest = teams.sign("2.0", path="acme/other")
    teams.revoke(digest=digest, path="acme/other")
    newest = teams.attacker.current("targets").signed.version
    (teams.directory / f"{newest}.targets.json").unlink()
    _count_up(teams, targets=newest - 1)
    files = teams.attacker.files()
    with pytest.raises(RefusedError, match="not there in any version that its keys have signed"):
        _recover(teams)
    assert teams.attacker.files() == files


def test_counted_up_versions_are_reset_at_a_warm_consumer(teams: World) -> None:
    consumer = teams.consumer()
    consumer.allowed()
    _count_up(teams)
    consumer.allowed()
    assert consumer.versions()["timestamp"] == consumer.versions()["snapshot"] == LAST
    stolen = _recover(teams)
    consumer.allowed()
    consumer.allowed(offline=True)
    assert consumer.versions()["snapshot"] < 100
    assert consumer.versions()["timestamp"] < 100
    Attacker(teams.directory, {"timestamp": stolen}).forge("timestamp")
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


@pytest.mark.parametrize("named", [{"acme_web": LAST}, {"targets": LAST}, {"acme_web": 1}, {"targets": 1}])
def test_role_that_the_thief_named_by_another_version_is_found_again(teams: World, named: dict[str, int]) -> None:
    consumer = teams.consumer()
    consumer.allowed()
    consumer.allowed(OTHER)
    versions = consumer.versions()
    _count_up(teams, **named)
    assert any(isinstance(consumer.verify(image), Denied) for image in (WEB, OTHER))
    with pytest.raises(TrustError):  # whose role is named wrongly says so; nothing is built on it
        teams.sign("2.0", path="acme/web" if "acme_web" in named else "acme/other")
    _recover(teams)
    consumer.allowed()
    consumer.allowed(OTHER)
    teams.sign("3.0")
    consumer.allowed("registry.test/acme/web:3.0")
    teams.consumer("fresh").allowed()
    assert versions["targets"] <= consumer.versions()["targets"] < 100
    assert versions[WEB_ROLE] <= consumer.versions()[WEB_ROLE] < 100


def test_recovery_that_was_cut_short_is_completed_by_its_repetition(teams: World) -> None:
    consumer = teams.consumer()
    consumer.allowed()
    _count_up(teams, acme_web=LAST)
    before = teams.attacker.files()["timestamp.json"]
    stolen = _recover(teams)
    teams.attacker.put("timestamp.json", before)
    assert isinstance(consumer.verify(), Denied)
    with pytest.raises(TrustError):  # nobody vouches for what the thief left
        teams.sign("2.0")
    new = teams.keys["timestamp"]
    assert change_keys(teams, "online", add=new, stolen=stolen).changed
    consumer.allowed()
    assert not change_keys(teams, "online", add=new, stolen=stolen).changed


def test_publisher_who_built_on_the_counted_up_versions_goes_on(teams: World) -> None:
    """What was published from here is no floor once the keys that counted it are gone."""
    honest = teams.home
    teams.home = teams.folder / "another home"
    _count_up(teams)
    teams.renew()
    other, teams.home = teams.home, honest
    _recover(teams)
    teams.home = other
    teams.sign("2.0")
    assert teams.consumer().allowed("registry.test/acme/web:2.0").versions["snapshot"] < 100


def test_home_that_never_published_cannot_tell_the_current_versions(teams: World) -> None:
    _count_up(teams, acme_web=LAST)
    teams.home = teams.folder / "another home"
    files = teams.attacker.files()
    with pytest.raises(InputError, match="nothing was published from here that could tell more"):
        _recover(teams)
    assert teams.attacker.files() == files


def test_rotation_does_not_reset_what_the_thief_did_not_touch(teams: World) -> None:
    """Versions go on counting where they can be believed: consumers of before need no reset."""
    before = teams.attacker.current("snapshot").signed.version
    _recover(teams)
    assert teams.attacker.current("snapshot").signed.version == before + 1
