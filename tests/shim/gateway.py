"""A gate in memory, over a legitimate world's metadata."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from registry_shim.gate import Gate, Ruling, Standing
from registry_shim.snapshot import load_snapshot
from tests.simulators.world import WEB, Consumer, World, soon
from trust.client import refresh
from trust.policy import Policy
from trust.reference import Repository, parse_reference
from trust.state import TrustedState
from trust.value import replace
from trust.verdict import Allowed, Denied, Reason

REPOSITORY = Repository(host="registry.test", path="acme/web")
BESIDE = Repository(host="registry.test", path="acme/trust-metadata")


@dataclass(kw_only=True)
class Gateway:
    """A gate whose clock is the world's."""

    world: World
    consumer: Consumer
    gate: Gate

    def read(self) -> Gateway:
        """Refresh the trusted state, and have the gate stand on it."""
        stanza = self.consumer.stanza
        state = TrustedState(self.consumer.home)
        try:
            refresh(stanza, state, self.world.store, paths=None, now=self.world.now, deadline=soon())
        finally:
            state.close()
        return self.stand_on_what_is_stored()

    def stand_on_what_is_stored(self) -> Gateway:
        """Have the gate stand on the trusted state as it is."""
        with closing(TrustedState(self.consumer.home)) as state:
            self.gate.stand(
                self.consumer.stanza.root, Standing(snapshot=load_snapshot(self.consumer.stanza, state))
            )
        return self

    def rule(self, image: str = WEB) -> Ruling:
        return self.gate.rule(parse_reference(image))

    def allowed(self, image: str = WEB) -> Allowed:
        verdict = self.rule(image).verdict
        assert isinstance(verdict, Allowed), verdict
        return verdict

    def refused(self, image: str = WEB) -> Reason:
        ruling = self.rule(image)
        assert isinstance(ruling.verdict, Denied), ruling
        assert not ruling.is_audited
        return ruling.verdict.reason


def gateway(world: World, policy: Policy | None = None, **rules: Any) -> Gateway:
    consumer = world.consumer(**rules)
    policy = policy or Policy()
    policy = replace(policy, stanzas=(consumer.stanza, *policy.stanzas))
    return Gateway(world=world, consumer=consumer, gate=Gate(policy, clock=lambda: world.now.timestamp()))  # noqa: PLW0108 - it moves
