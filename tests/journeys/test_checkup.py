"""What verification rests on is examined: home, clock, metadata, and whether a registry's tag can be moved."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.delegation.test_delegate import delegate
from tests.simulators.attacker import strangers
from tests.simulators.registry import docker_registry
from tests.simulators.world import Consumer, World, file_store, soon
from trust.checkup import clock_finding, collection_finding, home_findings, policy_findings, probe_finding
from trust.finding import Finding
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.state import TrustedState
from trust.stores import open_store


def examined(consumer: Consumer) -> Finding:
    store = file_store(consumer.stanza.metadata)
    with closing(TrustedState(consumer.home)) as state:
        return collection_finding(consumer.stanza, state, store, now=consumer.world.now, deadline=soon())


def test_home_of_its_owner_alone_is_fine(consumer: Consumer) -> None:
    consumer.home.chmod(0o755)
    assert [finding.level for finding in home_findings(consumer.home)] == ["ok"]


@pytest.mark.parametrize(("mode", "level"), [(0o777, "error"), (0o775, "warning")])
@pytest.mark.parametrize("name", ["", "state.db"])
def test_home_that_others_can_write_decides_what_is_trusted(
    mode: int, level: str, name: str, consumer: Consumer
) -> None:
    consumer.home.chmod(0o755)
    (consumer.home / name).chmod(mode)
    assert [finding.level for finding in home_findings(consumer.home)] == [level]


@pytest.mark.parametrize(("mode", "level"), [(0o777, "error"), (0o775, "warning"), (0o755, None)])
@pytest.mark.parametrize("name", [".", "policy.toml", "policy.d", "policy.d/deny.toml"])
def test_policy_that_others_can_write_is_no_rule(mode: int, level: str | None, name: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "policy.d").mkdir(mode=0o755)
    files = [tmp_path / "policy.toml", tmp_path / "policy.d" / "deny.toml"]
    for file in files:
        file.write_text("schema = 1\n")
        file.chmod(0o644)
    (tmp_path / name).chmod(mode)
    assert [finding.level for finding in policy_findings(files)] == ([level] if level else [])


def test_policy_that_is_gone_is_not_called_fine(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert [finding.level for finding in policy_findings([tmp_path / "none"])] == ["unknown"]


def test_home_that_is_not_there_is_a_first_use_to_come(tmp_path: Path) -> None:
    (finding,) = home_findings(tmp_path / "none")
    assert (finding.level, "first use" in finding.what) == ("warning", True)


def test_clock_before_the_trusted_state_is_found(consumer: Consumer) -> None:
    with closing(TrustedState(consumer.home)) as state:
        now = consumer.world.now
        assert clock_finding([consumer.stanza], state, now=now).level == "ok"
        behind = clock_finding([consumer.stanza], state, now=now - timedelta(hours=1))
    assert (behind.level, "went back" in behind.what) == ("error", True)


def test_time_that_is_left_is_told_until_a_quarter_remains_and_then_none(consumer: Consumer) -> None:
    first = examined(consumer)
    assert (first.level, "is valid for" in first.what) == ("ok", True)
    consumer.world.later(days=6)
    assert examined(consumer).level == "warning"
    consumer.world.later(days=400)
    assert examined(consumer).level == "error"


def test_metadata_that_is_not_trusted_is_an_error_and_none_is_not_found_out(
    consumer: Consumer, world: World
) -> None:
    old = world.attacker.files()
    world.sign("2.0")
    consumer.verify()
    world.attacker.restore(old)
    rolled_back = examined(consumer)
    assert (rolled_back.level, "rolled-back" in rolled_back.what) == ("error", True)
    for path in Path(consumer.stanza.metadata.removeprefix("file:")).iterdir():
        path.unlink()
    assert examined(consumer).level in {"error", "unknown"}


def test_registry_that_moves_tags_is_told_from_one_that_cannot_be_asked(
    tmp_path: Path, consumer: Consumer
) -> None:
    with docker_registry(tmp_path / "registry") as found, Http(environ={}) as http:
        credentials = Credentials(environ={}, home=tmp_path)

        def registry(_host: str) -> Registry:
            return Registry(found.host, http=http, credentials=credentials)

        store = open_store(
            "registry:",
            consumer.stanza.collection,
            registry=registry,
            http=lambda: http,
            environ={},
            pause=lambda _: None,
        )
        assert probe_finding(consumer.stanza, store, deadline=soon()).level == "ok"
    gone = probe_finding(consumer.stanza, store, deadline=soon())
    assert (gone.level, "not found out" in gone.what) == ("warning", True)


def test_role_that_is_not_accepted_is_an_error_of_its_collection(world: World) -> None:
    delegate(world, "acme.web", "acme/web")
    world.attacker.forge_delegate("acme.web", lambda signed: signed.targets.clear(), signers=strangers())
    finding = examined(world.consumer())
    assert finding.level == "error"
    assert "role acme.web is not accepted: wrong-signer" in finding.what
