"""Metadata that is set back, withheld, forged, expired or revoked while a shim runs on it.

What a shim has verified it serves until the metadata's own end and no longer; what it is shown later counts
at once. No test restarts a shim.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.simulators.attacker import Attacker, strangers
from tests.simulators.shim import Reply, policy_text, until
from tests.simulators.world import Consumer, Rows, World
from tests.simulators.yard import METADATA, Plot, Yard, yard
from trust.roles import DEFAULT_EXPIRY
from trust.value import replace

DAY = 86_400
FELT_WITHIN_SECONDS = 10.0  # max_age is one second; the machine may be busy


@dataclass(frozen=True, kw_only=True)
class Case:
    """A yard of one test, in which everything is legitimate and has been served."""

    yard: Yard
    plot: Plot

    @property
    def world(self) -> World:
        return self.yard.world

    @property
    def attacker(self) -> Attacker:
        return self.world.attacker

    def rows(self) -> Rows:
        """Return what the shim's trusted state holds of roles and targets."""
        consumer = Consumer(world=self.world, home=self.yard.shim.home, stanza=self.yard.stanza)
        return {name: rows for name, rows in consumer.rows().items() if name in {"role", "target", "root"}}

    def refused_for(self, *reasons: str, seconds: float = FELT_WITHIN_SECONDS) -> Reply:
        """Require that the image is refused soon, in every way that it can be asked for, and return the answer."""

        def refused() -> bool:
            reply = self.plot.through("1")
            return reply.status != 200 and reply.reason in reasons

        until(refused, f"refused for {reasons}, now {self.plot.through('1')}", seconds=seconds)
        for last, kind in (
            (self.plot.picture.digest, "manifests"), (self.plot.picture.digest, "blobs"),
            (self.plot.picture.layer, "blobs"),
        ):  # fmt: skip
            reply = self.plot.through(last, kind)
            assert reply.status in {403, 503}, reply
            assert reply.reason in {*reasons, "unsigned"}
            assert self.plot.picture.manifest not in reply.body
        return self.plot.through("1")

    def served(self) -> bool:
        """Tell whether the image is served whole."""
        manifest, layer = self.plot.through("1"), self.plot.through(self.plot.picture.layer, "blobs")
        return (manifest.body, layer.body) == (self.plot.picture.manifest, self.plot.picture.blobs[-1])


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """Give a yard whose shim's clock can be moved."""
    with yard(tmp_path, moves_clock=True) as own:
        case = Case(yard=own, plot=own.plot())
        assert case.served()
        yield case


def test_metadata_that_expires_under_a_running_shim_is_refused_that_second(case: Case) -> None:
    """python-tuf's ``Updater`` never notices; here the snapshot in memory is compared with the clock."""
    case.yard.shim.set_clock(7 * DAY - 60)
    assert case.served()
    case.yard.shim.set_clock(7 * DAY + 60)
    assert case.plot.through("1").reason == "expired"
    case.refused_for("expired")
    assert case.yard.shim.ask(case.plot.at("list", "tags")).reason == "expired"
    case.world.later(days=7)
    case.world.renew()
    until(case.served, "renewed metadata is felt", seconds=FELT_WITHIN_SECONDS + 5)


def test_metadata_that_is_withheld_is_served_until_it_ends_and_no_longer(case: Case) -> None:
    """A freeze: the store answers nothing, or the same for ever."""
    hidden = case.world.directory.with_name("hidden")
    case.world.directory.rename(hidden)
    before = case.rows()
    case.yard.shim.set_clock(6 * DAY)
    assert case.served(), "an outage is no refusal"
    case.yard.shim.set_clock(8 * DAY)
    case.refused_for("expired")
    assert case.rows() == before
    hidden.rename(case.world.directory)
    case.refused_for("expired")
    case.world.later(days=8)
    case.world.renew()
    until(case.served, "it recovers without a restart", seconds=20)


def test_metadata_that_is_set_back_is_refused(case: Case) -> None:
    old = case.attacker.files()
    case.world.sign("2", path=case.plot.path)
    case.yard.settle()
    before = case.rows()
    case.attacker.restore(old)
    reply = case.refused_for("rolled-back")
    assert reply.status == 403
    assert case.rows() == before
    metadata = case.yard.shim.ask(METADATA)
    assert metadata.reason == "rolled-back", "nor is it handed on"


def test_metadata_of_a_stranger_is_refused_and_the_state_stays(case: Case) -> None:
    before = case.rows()
    case.attacker.forge("timestamp", signers=strangers())
    reply = case.refused_for("below-threshold", "wrong-signer", "tampered")
    assert reply.status == 403
    assert case.rows() == before


def test_garbage_for_metadata_is_refused_and_forgotten_once_it_is_gone(case: Case) -> None:
    honest = case.attacker.files()
    case.attacker.put("timestamp.json", b"{" * 1000)
    case.refused_for("tampered")
    case.attacker.restore(honest)
    until(case.served, "the honest store is believed again", seconds=20)


def test_revoked_image_is_refused_within_max_age(case: Case) -> None:
    case.world.revoke(path=case.plot.path, digest=case.plot.picture.digest)
    assert case.plot.unprotected("1").status == 200
    reply = case.refused_for("revoked")
    assert reply.status == 403
    assert case.plot.picture.manifest not in reply.body


def test_revoked_tag_is_refused_and_its_digest_with_it(case: Case) -> None:
    case.world.revoke("1", path=case.plot.path)
    case.refused_for("revoked", "unsigned")


def test_tag_that_moves_is_followed_within_max_age(case: Case) -> None:
    case.plot.push(None, case.plot.stranger)
    case.yard.sign(case.plot.path, "1", case.plot.stranger.manifest)
    assert case.plot.through("1").body == case.plot.stranger.manifest
    assert case.plot.through(case.plot.picture.digest).status == 200, "a signed digest is, until it is revoked"


def test_revoked_online_key_is_felt_though_the_timestamp_is_unchanged(case: Case) -> None:
    """The stolen key still signs: only the new root says that it no longer counts."""
    stolen = case.world.replace_keys("snapshot", "timestamp")
    thief = Attacker(case.world.directory, {**case.world.keys, "snapshot": stolen, "timestamp": stolen})
    thief.forge("timestamp", signers=stolen)
    reply = case.refused_for("below-threshold", "wrong-signer", "tampered")
    assert reply.status == 403
    case.attacker.forge("snapshot")  # by the owner, who has the new keys
    until(case.served, "the new key's metadata is believed", seconds=20)


def test_root_that_expired_is_refused(case: Case) -> None:
    case.yard.shim.set_clock(DEFAULT_EXPIRY["root"].total_seconds() + DAY)
    case.refused_for("expired")


def test_clock_that_is_set_back_a_day_serves_nothing_that_is_older(case: Case) -> None:
    case.yard.shim.set_clock(-2 * DAY)
    reply = case.plot.through("1")
    assert reply.status == 200 or reply.reason == "clock"
    case.world.revoke(path=case.plot.path, digest=case.plot.picture.digest)
    until(
        lambda: case.plot.through("1").status != 200, "what is revoked is not served", seconds=FELT_WITHIN_SECONDS
    )


def test_denied_digest_is_felt_without_a_restart(case: Case) -> None:
    """Also a layer's and, through ``/blobs/``, a manifest's."""
    stanza = case.yard.stanza
    shim = case.yard.shim
    port = shim.port
    shim.write_policy(policy_text(stanza, deny={"digests": [str(case.plot.picture.digest)]}))
    case.refused_for("revoked", seconds=10)
    shim.write_policy(policy_text(stanza))
    until(case.served, "it is allowed again", seconds=10)
    shim.write_policy(policy_text(stanza, deny={"digests": [str(case.plot.picture.layer)]}))
    until(
        lambda: case.plot.through(case.plot.picture.layer, "blobs").status == 403,
        "the layer is denied",
        seconds=10,
    )
    assert case.plot.through(case.plot.picture.layer, "blobs").reason == "revoked"
    assert case.plot.through("1").status == 200
    keyid = case.world.keys["targets"][0].public_key.keyid
    shim.write_policy(policy_text(stanza, deny={"keys": [keyid]}))
    case.refused_for("wrong-signer", seconds=10)
    assert shim.port == port


def test_policy_that_is_wrong_changes_nothing(case: Case) -> None:
    case.yard.shim.write_policy("schema = 1\n[[collection]]\n")
    until(lambda: "stay as they were" in case.yard.shim.said, "it is said", seconds=10)
    assert case.served()


def test_worker_that_dies_under_a_wrong_policy_comes_back_under_the_old_one(case: Case) -> None:
    case.yard.shim.write_policy("schema = 1\n[[collection]]\n")
    until(lambda: "stay as they were" in case.yard.shim.said, "it is said", seconds=10)
    (worker,) = case.yard.shim.workers
    os.kill(worker, signal.SIGKILL)

    def is_back() -> bool:
        try:
            return case.served()
        except OSError:
            return False

    until(is_back, "the worker is replaced", seconds=15)


def test_emptied_policy_refuses_everything(case: Case) -> None:
    before = set(case.yard.shim.workers)
    case.yard.shim.write_policy("schema = 1\n")
    until(lambda: not before & set(case.yard.shim.workers), "workers that read the old policy end", seconds=10)
    case.refused_for("no-policy")


def test_state_that_is_deleted_under_a_running_shim_lets_nothing_older_in(case: Case) -> None:
    old = case.attacker.files()
    case.world.revoke(path=case.plot.path, digest=case.plot.picture.digest)
    case.refused_for("revoked")
    case.attacker.restore(old)
    case.refused_for("rolled-back")


def test_audit_serves_with_a_warning_and_only_what_the_policy_watches(tmp_path: Path) -> None:
    with yard(tmp_path, rules={"mode": "audit"}) as own:
        plot = own.plot()
        plot.push("evil", plot.stranger)
        for last in ("evil", plot.stranger.digest):
            reply = plot.through(last)
            assert (reply.status, reply.body) == (200, plot.stranger.manifest)
            assert reply.headers["warning"].startswith('299 trust-shim "unsigned: ')
            assert reply.headers["cache-control"] == "no-store"
        layer = plot.through(plot.stranger.layer, "blobs")
        assert (layer.status, layer.body) == (200, plot.stranger.blobs[-1])
        assert "unsigned" in layer.headers["warning"]
        signed = plot.through("1")
        assert (signed.status, "warning" in signed.headers) == (200, False)
        assert json.loads(own.shim.ask(plot.at("list", "tags")).body)["tags"] == ["1"]
        assert own.shim.ask("/v2/_catalog").status == 404
        plot.push("_trust", plot.stranger)
        assert plot.through("_trust").status == 403
        own.registry.push("other/web", "1", plot.stranger)
        assert own.shim.ask("/v2/other/web/manifests/1").reason == "no-policy"
        audited = {"audited", "unsigned"}
        until(
            lambda: any({one["outcome"], one["reason"]} == audited for one in own.shim.decisions), "it is logged"
        )


def test_shim_that_starts_while_the_store_is_away_serves_what_it_verified(tmp_path: Path) -> None:
    with yard(tmp_path) as own:
        plot = own.plot()
        assert plot.through("1").status == 200
        own.shim.stop()
        own.world.directory.rename(own.world.directory.with_name("hidden"))
        own.shim.start()
        assert plot.through("1").status == 200


def test_shim_that_never_verified_anything_says_that_it_cannot_decide(tmp_path: Path) -> None:
    with yard(tmp_path, starts=False) as own:
        plot = own.plot()
        shutil.rmtree(own.world.directory)
        with own.shim as shim:
            reply = plot.through("1")
            assert (reply.status, reply.reason) == (503, "unreachable")
            assert int(reply.headers["retry-after"]) > 0
            assert shim.ask(METADATA).status in {403, 503}


def test_image_of_another_collection_is_not_let_in_by_this_one(tmp_path: Path) -> None:
    """The longest matching collection decides, and if it fails no shorter one is asked."""
    with yard(tmp_path, starts=False) as own:
        plot = own.plot()
        inner = World(tmp_path / "inner", name=f"registry.test/{plot.path}", now=own.world.now)
        inner.sign("2", path=plot.path, manifest=plot.stranger.manifest)
        plot.push("2", plot.stranger)
        own.shim.policy_file.write_text(
            policy_text(own.stanza, replace(inner.stanza, max_age=timedelta(seconds=1)))
        )
        with own.shim:
            assert plot.through("1").reason == "unsigned"
            assert plot.through("2").body == plot.stranger.manifest
