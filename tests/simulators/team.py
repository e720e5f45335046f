"""Several people who publish one collection, each with keys and a home of his own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer

from tests.simulators.attacker import Keys
from tests.simulators.world import World, manifest_bytes, soon
from trust.approve import Listed, Settled, approve, listed, reject, settle
from trust.difference import Difference
from trust.pending import Pending, parse_pending, pending_bytes
from trust.proposal import Waiting
from trust.publish import Publisher
from trust.published import Published
from trust.sign import Order, read_image, sign
from trust.state import TrustedState
from trust.stores.interface import Store
from trust.value import replace


@dataclass
class Member:
    """One of a team: ``keys`` are those at hand; ``shown`` is what was shown before a signature."""

    world: World
    name: str
    keys: Keys
    stage: bool = False
    store: Store | None = None
    review: Callable[[Waiting, tuple[Difference, ...]], None] | None = None
    opened: set[str] = field(default_factory=set)
    shown: list[Listed] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None  # what somebody else does while this one reads, once

    @property
    def home(self) -> Path:
        return self.world.folder / self.name

    def keyring(self, keyids: Collection[str]) -> dict[str, Signer]:
        self.opened |= set(keyids)
        every = {key.public_key.keyid: key for key in self.keys}
        return {keyid: every[keyid] for keyid in keyids if keyid in every}

    def do(self, journey: Callable[[Publisher], Any], **how: Any) -> Any:
        """Return what ``journey`` returns, run from the home of this member."""
        state = TrustedState(self.home)
        try:
            publisher = self.world.publisher(state, store=self.store)
            return journey(replace(publisher, keyring=self.keyring, stage=self.stage, review=self.review, **how))
        finally:
            state.close()

    def sign(self, tag: str, *, path: str = "acme/web", manifest: bytes | None = None, **notes: str) -> Published:
        digest = self.world.push(manifest or manifest_bytes(f"{path}:{tag}"))
        order = Order(
            path=path, tag=tag, image=read_image(digest, self.world.images.__getitem__), annotations=notes
        )
        published: Published = self.do(lambda publisher: sign(publisher, [order]))
        return published

    def renew(self, *roles: str) -> Published:
        published: Published = self.do(lambda publisher: publisher.renew(frozenset(roles)))
        return published

    def approve(self, change: object, *, brought: Pending | None = None, **how: Any) -> Published:
        published: Published = self.do(
            lambda publisher: approve(publisher, str(change), consent=self.consent, brought=brought), **how
        )
        return published

    def consent(self, shown: Listed) -> None:
        self.shown.append(shown)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()

    def reject(self, change: object) -> Listed:
        rejected: Listed = self.do(lambda publisher: reject(publisher, str(change)))
        return rejected

    def pending(self) -> tuple[Listed, ...]:
        found: tuple[Listed, ...] = self.do(listed)
        return found

    def settle(self) -> Settled:
        settled: Settled = self.do(settle)
        return settled


def team(world: World, role: str = "targets", *, online: bool = True) -> list[Member]:
    """Return a member for each key of ``role``; ``online``: each has the online keys as well."""
    shared = world.keys["snapshot"] if online else []
    return [
        Member(world=world, name=f"member-{number}", keys=[key, *shared])
        for number, key in enumerate(world.keys[role])
    ]


def waiting(world: World) -> dict[str, bytes]:
    """Return what waits in the store, by the name under which it waits."""
    return dict(world.store.pending(deadline=soon()))


def unsigned(data: bytes) -> bytes:
    """Return a change that waits without any signature, as whoever can write to the store makes it."""
    pending = parse_pending(data)
    for role in pending.roles:
        role.metadata.signatures.clear()
    return pending_bytes(pending)


def words(shown: Listed) -> str:
    """Return all that was shown of a change, line by line."""
    return "\n".join(line for each in shown.differences for line in each.words)
