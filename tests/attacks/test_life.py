"""Random histories of a collection with consumers of every kind: each says what its publisher last acknowledged.

The oracle is a few dictionaries: which digest each tag has, which digests were revoked, which role owns which
repository; and the store of each publication, to be shown again. It knows nothing of metadata.
No thief lives beside these: that is ``test_thief_life``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.attacks.lives import Counted, live
from tests.attacks.thief import whole
from tests.delegation.test_bins import bins
from tests.delegation.test_delegate import delegate
from tests.simulators.world import Consumer, World, file_store, manifest_bytes
from trust.delegate import remove
from trust.digest import Digest
from trust.roles import DEFAULT_EXPIRY
from trust.verdict import Allowed, Denied, Reason, Verdict

PATHS = ("acme/web", "acme/api", "acme/team/a", "acme/team/b")
TAGS = ("1", "2", "dev-1")
TEAMS = {"web": ("acme/web",), "api": ("acme/api",), "team": ("acme/team/**",)}
CONSUMERS = ("by paths", "whole", "mixed")
ONLINE_PERIOD = DEFAULT_EXPIRY["timestamp"]
REPLAYED = {Reason.ROLLED_BACK, Reason.WRONG_SIGNER}  # the latter where the online keys are others since


@dataclass(frozen=True)
class Edition:
    """A publication as it was acknowledged: the store in its own folder, and the oracle of that moment."""

    store: Path
    at: datetime
    tags: dict[tuple[str, str], Digest]
    revoked: frozenset[tuple[str, str]]
    roles: dict[str, str]

    def owner(self, path: str) -> str:
        team = next((team for team in self.roles if path.startswith(f"acme/{team}")), None)
        return self.roles[team] if team is not None else "targets"


class Life(Counted):
    """One collection's life."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.world = World(self.folder)
        self.consumers = {name: self.world.consumer(name) for name in CONSUMERS}
        self.tags: dict[tuple[str, str], Digest] = {}
        self.revoked: set[tuple[str, str]] = set()
        self.dead: set[Digest] = set()
        self.roles: dict[str, str] = {}  # team: the name of its role
        self.binned: set[str] = set()
        self.number = 0
        self.step = 0
        self.version = 0  # of the timestamp that was published last
        self.fresh: set[str] = set()  # who has seen the newest publication, whole
        self.past: list[Edition] = []
        self.seen = dict.fromkeys(CONSUMERS, -1)  # the newest publication that each has seen
        self.published()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def published(self) -> None:
        """Keep what was acknowledged; where there was nothing to do, nothing new was."""
        version = self.world.attacker.current("timestamp").signed.version
        if version == self.version:
            return
        self.version = version
        self.fresh.clear()
        kept = self.folder / f"past-{len(self.past)}"
        shutil.copytree(self.world.directory, kept)
        self.past.append(
            Edition(
                store=kept, at=self.world.now, tags=dict(self.tags), revoked=frozenset(self.revoked),
                roles=dict(self.roles),
            )
        )  # fmt: skip

    def owner(self, path: str) -> str:
        team = next((team for team in self.roles if path.startswith(f"acme/{team}")), None)
        return self.roles[team] if team is not None else "targets"

    @rule(path=st.sampled_from(PATHS), tag=st.sampled_from(TAGS), is_shared=st.booleans())
    def sign(self, path: str, tag: str, *, is_shared: bool) -> None:
        self.number += not is_shared
        manifest = manifest_bytes(f"shared {path}" if is_shared else f"{path} {self.number}")
        digest = self.world.push(manifest)
        if digest in self.dead:
            return
        self.world.sign(tag, path=path, manifest=manifest)
        self.tags[path, tag] = digest
        self.published()

    @precondition(lambda self: self.tags)
    @rule(data=st.data())
    def revoke_tag(self, data: st.DataObject) -> None:
        path, tag = data.draw(st.sampled_from(sorted(self.tags)))
        self.world.revoke(tag, path=path)
        del self.tags[path, tag]
        self.published()

    @precondition(lambda self: self.tags)
    @rule(data=st.data(), is_from_above=st.booleans())
    def revoke_digest(self, data: st.DataObject, *, is_from_above: bool) -> None:
        path, tag = data.draw(st.sampled_from(sorted(self.tags)))
        digest = self.tags[path, tag]
        owner = self.owner(path)
        keys = self.world.keys.pop(owner) if is_from_above and owner != "targets" else None
        self.world.revoke(digest=digest)
        if keys is not None:
            self.world.keys[owner] = keys
        self.dead.add(digest)
        for place in [place for place, each in self.tags.items() if each == digest]:
            del self.tags[place]
            self.revoked.add(place)
        self.published()

    @rule(team=st.sampled_from(sorted(TEAMS)))
    def delegate(self, team: str) -> None:
        if team in self.roles or "targets" in self.binned:
            return
        self.number += 1
        name = f"acme.{team}{self.number}"
        delegate(self.world, name, *TEAMS[team])
        self.roles[team] = name
        self.published()

    @precondition(lambda self: self.roles)
    @rule(data=st.data(), keep_images=st.booleans())
    def remove(self, data: st.DataObject, *, keep_images: bool) -> None:
        team = data.draw(st.sampled_from(sorted(self.roles)))
        name = self.roles[team]
        self.world.publish(lambda publisher: remove(publisher, name, keep_images=keep_images))
        if not keep_images:
            for place in [place for place in self.tags if self.owner(place[0]) == name]:
                del self.tags[place]
        del self.roles[team]
        self.binned.discard(name)
        self.published()

    @rule(data=st.data(), count=st.sampled_from((0, 2, 4)))
    def rebin(self, data: st.DataObject, count: int) -> None:
        name = data.draw(st.sampled_from(["targets", *sorted(self.roles.values())]))
        if name == "targets" and self.roles:
            return
        bins(self.world, count, name)
        (self.binned.add if count else self.binned.discard)(name)
        self.published()

    @rule(days=st.sampled_from((0, 1, 3)))
    def renew(self, days: int) -> None:
        self.world.later(days=days)
        self.world.renew(*(["targets", *self.roles.values()] if not self.binned else []))
        self.published()

    @rule()
    def rotate_online_keys(self) -> None:
        self.world.replace_keys("snapshot", "timestamp")
        self.world.attacker.forge("snapshot")  # as `trust rotate` has it: signed anew, by the new key
        self.published()

    @rule(name=st.sampled_from(("whole", "mixed")))
    def see_all(self, name: str) -> None:
        assert not whole(self.consumers[name])
        self.fresh.add(name)
        self.seen[name] = len(self.past) - 1

    @rule(name=st.sampled_from(CONSUMERS))
    def forget(self, name: str) -> None:
        shutil.rmtree(self.consumers[name].home, ignore_errors=True)
        self.fresh.discard(name)
        self.seen[name] = -1

    @rule(name=st.sampled_from(CONSUMERS), path=st.sampled_from(PATHS), tag=st.sampled_from(TAGS))
    def ask(self, name: str, path: str, tag: str) -> None:
        self.require(self.consumers[name], path, tag)

    @rule(path=st.sampled_from(PATHS), tag=st.sampled_from(TAGS))
    def ask_by_all(self, path: str, tag: str) -> None:
        for consumer in self.consumers.values():
            self.require(consumer, path, tag)

    @rule(data=st.data(), name=st.sampled_from(CONSUMERS), path=st.sampled_from(PATHS), tag=st.sampled_from(TAGS))
    def ask_a_store_of_the_past(self, data: st.DataObject, name: str, path: str, tag: str) -> None:
        """Replay: what was replaced before something that he has seen is nothing to a consumer any more."""
        number = data.draw(st.integers(0, len(self.past) - 1))
        consumer, edition = self.consumers[name], self.past[number]
        before = consumer.rows()
        verdict = consumer.verify(f"registry.test/{path}:{tag}", store=file_store(f"file:{edition.store}"))
        note(f"{name} has seen {self.seen[name]}, is shown {number}: {verdict}")
        if number < self.seen[name]:
            assert isinstance(verdict, Denied), verdict
            assert verdict.reason in REPLAYED
            assert consumer.rows() == before
        elif self.world.now - edition.at >= ONLINE_PERIOD:
            assert isinstance(verdict, Denied), verdict
            assert verdict.reason is Reason.EXPIRED
        else:  # he cannot know better: nothing newer than this was ever shown to him
            self.seen[name] = number
            require_said(verdict, edition.tags.get((path, tag)), edition.owner(path), edition.revoked, (path, tag))

    @precondition(lambda self: self.fresh)
    @rule(data=st.data(), path=st.sampled_from(PATHS), tag=st.sampled_from(TAGS))
    def ask_offline(self, data: st.DataObject, path: str, tag: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.fresh)))
        self.require(self.consumers[name], path, tag, offline=True)

    @invariant()
    def one_who_asks_on_and_on_is_never_told_wrong(self) -> None:
        self.step += 1
        places = sorted({*self.tags, *self.revoked}) or [(PATHS[0], TAGS[0])]
        self.require(self.consumers["by paths"], *places[self.step * 5 % len(places)])

    def require(self, consumer: Consumer, path: str, tag: str, *, offline: bool = False) -> None:
        Life.asked += 1
        verdict = consumer.verify(f"registry.test/{path}:{tag}", offline=offline)
        wanted = self.tags.get((path, tag))
        note(f"{consumer.home.name}: {path}:{tag}: {verdict}, wanted {wanted}")
        require_said(verdict, wanted, self.owner(path), self.revoked, (path, tag))
        if not offline:  # what was published last is seen at the next look, and not before or after
            self.seen[consumer.home.name] = len(self.past) - 1
            assert consumer.versions()["timestamp"] == self.world.attacker.current("timestamp").signed.version
        for dead in self.dead:
            assert not isinstance(verdict, Allowed) or dead != verdict.digest


def require_said(
    verdict: Verdict,
    wanted: Digest | None,
    owner: str,
    revoked: Collection[tuple[str, str]],
    place: tuple[str, str],
) -> None:
    """Require that ``verdict`` on ``place`` is what was acknowledged: ``wanted``, signed by ``owner``."""
    if wanted is None:
        assert not isinstance(verdict, Allowed)
        assert verdict.reason in ({Reason.UNSIGNED, Reason.REVOKED} if place in revoked else {Reason.UNSIGNED})
        return
    assert isinstance(verdict, Allowed), verdict
    assert (verdict.digest, verdict.role) == (wanted, owner)


def test_whatever_was_published_every_consumer_says_what_was_acknowledged(
    record_property: Callable[[str, object], None],
) -> None:
    live(Life, record_property)
