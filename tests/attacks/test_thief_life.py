"""Random lives of a collection, one of whose teams has lost its key: the thief signs, delegates, spoils at will.

He writes whatever he likes in that team's role and below it, and has it published. Meanwhile the owner goes on:
he signs, revokes, rotates, removes the role and keeps its images, and delegates anew: to the next lost key.
Nobody else's image is ever another or refused, no publication of the owner's fails by what the thief wrote, and
what the owner ended from above stays so for ever.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets
from tuf.api.serialization import DeserializationError

from tests.attacks.lives import Counted, live
from tests.attacks.thief import new_role, spelled, stone, target_of, whole
from tests.delegation.test_delegate import delegate
from tests.simulators.attacker import Keys, signed, strangers
from tests.simulators.world import World, manifest_bytes
from trust.delegate import remove
from trust.digest import Digest, sha256
from trust.errors import TrustError
from trust.roles import REVOKED_FIELD, ROLE_FIELD
from trust.rotate import Rotation, rotate
from trust.targets import digest_path
from trust.verdict import Allowed, Denied, Reason, Verdict

LOST = ("acme/lost/a", "acme/lost/b")
OTHERS = {"acme/web": "targets", "acme/api": "acme.api"}  # of the owner, and of a team that keeps its key
TAGS = ("1", "2")
PLACES = tuple((path, tag) for path in LOST for tag in TAGS)
ANYWHERE = st.sampled_from((*LOST, *OTHERS))
LOOT = {sha256(manifest): manifest for manifest in (manifest_bytes(f"loot {number}") for number in range(3))}
IMAGES = st.sampled_from(sorted(LOOT))
REACHES = ("acme/lost/*:*", "acme/lost/a:*", "acme/lost/a@*", "acme/lost/*@*", "acme/api:*", "acme/*@*", "*:*")
NOT_SIGNED = {Reason.UNSIGNED, Reason.REVOKED}
ROLE_REFUSED = {Reason.EXPIRED, Reason.ROLLED_BACK}  # by consumers, with all it says; its owner can read it


class Life(Counted):
    """One collection's life beside a thief."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.world = World(self.folder)
        self.consumers = [self.world.consumer(name) for name in ("by paths", "whole")]
        self.number = 0
        self.step = 0
        self.tags: dict[tuple[str, str], Digest] = {}  # what is signed of the others'
        self.name = ""  # of the thief's role: it has been removed where the world has no key of that name
        self.names: set[str] = set()  # of all roles that ever were his
        self.is_spoilt = False  # nobody can read the thief's role as it was written last
        self.stolen: Keys = []
        self.ended: set[tuple[str, Digest]] = set()  # by repository
        delegate(self.world, "acme.api", "acme/api")

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize()
    def lose_a_key(self) -> None:
        self.number += 1
        self.name = f"lost{self.number}"
        self.names.add(self.name)
        self.is_spoilt = False
        delegate(self.world, self.name, "acme/lost/**")
        self.stolen = self.world.keys[self.name]

    @property
    def is_delegated(self) -> bool:
        return self.name in self.world.keys

    @property
    def has_power(self) -> bool:
        """Whether what the thief signs counts: his key is the role's still."""
        return self.world.keys.get(self.name) == self.stolen

    # what the thief does

    def write(self, edit: Callable[[Targets], object]) -> None:
        """Publish the thief's role after ``edit``, as one that is read if his key counts."""
        self.publish(signed(self.said(edit), self.stolen), spoils=False)

    def publish(self, data: bytes, *, spoils: bool) -> None:
        """Publish the thief's role; where his key is the role's no more, nobody gets anything else by it."""
        before = None if self.has_power else self.told()
        self.world.attacker.name_delegate(self.name, self.next_version(), data)
        self.is_spoilt = self.is_delegated and (spoils or not self.has_power)
        if before is not None:
            assert all(digest in {None, before[place]} for place, digest in self.told().items())

    def said(self, edit: Callable[[Targets], object]) -> Metadata[Targets]:
        """Return the newest version that can be read, mended, after ``edit``."""
        for version in range(self.next_version() - 1, 0, -1):
            try:
                metadata = self.world.attacker.metadata(f"{version}.{self.name}.json")
            except DeserializationError:
                continue
            metadata.signed.version = self.next_version()
            metadata.signed.expires = self.world.now + timedelta(days=90)
            metadata.signed.unrecognized_fields[ROLE_FIELD] = self.name
            edit(metadata.signed)
            return metadata
        raise AssertionError(self.name)

    def next_version(self) -> int:
        version: int = self.world.attacker.current("snapshot").signed.meta[f"{self.name}.json"].version
        return version + 1

    @rule(path=ANYWHERE, tag=st.sampled_from(TAGS), digest=IMAGES, ways=st.integers(1, 3))
    def steal(self, path: str, tag: str, digest: Digest, ways: int) -> None:
        """Sign an image under a tag, under its digest, or under both."""
        places = [f"{path}:{tag}"] * (ways & 1) + [digest_path(path, digest)] * (ways >> 1)
        self.write(lambda said: said.targets.update(dict.fromkeys(places, target_of(LOOT[digest]))))

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), tag=st.sampled_from(TAGS), ways=st.integers(1, 3))
    def steal_again(self, data: st.DataObject, tag: str, ways: int) -> None:
        """Sign once more what was ended."""
        path, digest = data.draw(st.sampled_from(sorted(self.ended)))
        self.steal(path=path, tag=tag, digest=digest, ways=ways)

    @rule(data=st.data(), path=ANYWHERE, tag=st.sampled_from(TAGS), is_by_digest=st.booleans())
    def lay_a_stone(self, data: st.DataObject, path: str, tag: str, *, is_by_digest: bool) -> None:
        """Say of a digest, of whosever, that it was revoked."""
        digest = data.draw(st.sampled_from(sorted({*LOOT, *self.tags.values()})))
        said = {str(digest): stone(f"{path}@{digest}" if is_by_digest else f"{path}:{tag}")}
        self.write(lambda role: role.unrecognized_fields.setdefault(REVOKED_FIELD, {}).update(said))

    @rule(what=st.sampled_from(("targets", "stones", "delegations")))
    def take_back(self, what: str) -> None:
        """Drop all images, all tombstones, or all roles below."""
        if what == "targets":
            self.write(lambda said: said.targets.clear())
        elif what == "stones":
            self.write(lambda said: said.unrecognized_fields.pop(REVOKED_FIELD, None))
        else:
            self.write(lambda said: setattr(said, "delegations", None))

    @rule(how=st.sampled_from(("rubbish", "stranger", "name", "expired")))
    def spoil(self, how: str) -> None:
        """Have the role be one that no consumer takes; what has expired can be read by its owner."""
        if how == "rubbish":
            self.publish(b"rubbish", spoils=True)
        elif how == "stranger":
            self.publish(signed(self.said(lambda said: said.targets.clear()), strangers()), spoils=True)
        elif how == "name":
            renamed = self.said(lambda said: said.unrecognized_fields.update({ROLE_FIELD: "acme.api"}))
            self.publish(signed(renamed, self.stolen), spoils=True)
        else:
            self.write(lambda said: setattr(said, "expires", self.world.now - timedelta(days=1)))

    @rule(
        patterns=st.lists(st.sampled_from(REACHES), min_size=1, max_size=3, unique=True),
        place=st.tuples(ANYWHERE, st.sampled_from(TAGS), IMAGES),
        whose=st.sampled_from(("new", "new", "the honest team's", "his own")),
        ends=st.booleans(),
        is_there=st.booleans(),
    )
    def delegate_further(
        self, patterns: list[str], place: tuple[str, str, Digest], whose: str, *, ends: bool, is_there: bool
    ) -> None:
        """Delegate to a role, under a key of his own: a new one, with or without a file, or one that is there."""
        self.number += 1
        name = {"new": f"deeper{self.number}", "the honest team's": "acme.api", "his own": self.name}[whose]
        keys, (path, tag, digest) = strangers(), place
        role = DelegatedRole(name, [keys[0].public_key.keyid], 1, terminating=ends, paths=patterns)

        def edit(said: Targets) -> None:
            known = said.delegations or Delegations({}, {})
            said.delegations = Delegations({**known.keys, **spelled(keys)}, {**(known.roles or {}), name: role})

        if is_there and whose == "new":
            below = dict.fromkeys([f"{path}:{tag}", digest_path(path, digest)], target_of(LOOT[digest]))
            self.world.attacker.name_delegate(name, 1, new_role(self.world, name, keys, targets=below))
        self.write(edit)

    # what the owner does

    @rule(path=st.sampled_from(sorted(OTHERS)), tag=st.sampled_from(TAGS))
    def sign(self, path: str, tag: str) -> None:
        self.number += 1
        self.tags[path, tag] = self.world.sign(tag, path=path, manifest=manifest_bytes(f"{path} {self.number}"))

    @precondition(lambda self: self.tags)
    @rule(data=st.data(), is_by_digest=st.booleans())
    def revoke(self, data: st.DataObject, *, is_by_digest: bool) -> None:
        path, tag = data.draw(st.sampled_from(sorted(self.tags)))
        digest = self.tags.pop((path, tag))
        self.world.revoke(None if is_by_digest else tag, path=path, digest=digest if is_by_digest else None)

    @rule(data=st.data(), path=st.sampled_from(LOST))
    def end_from_above(self, data: st.DataObject, path: str) -> None:
        """Without a key of the team's, end one of the thief's images wherever somebody would get it."""
        digest = data.draw(st.sampled_from(sorted({each for each in self.told().values() if each} or LOOT)))
        found = {each for each in LOST if self.is_told(each, digest)} | ({path} if self.is_spoilt else set())
        keys = self.world.keys.pop(self.name, None)
        self.world.revoke(digest=digest, path=path)
        self.world.keys |= {self.name: keys} if keys is not None else {}
        self.ended |= {(each, digest) for each in found}

    @precondition(lambda self: self.has_power)
    @rule()
    def replace_the_key(self) -> None:
        """Nothing that the thief signs from now on counts; what he wrote before is signed anew."""
        new = strangers()
        stolen = tuple(key.public_key.keyid for key in self.stolen)
        rotation = Rotation(role=self.name, add=(new[0].public_key,), stolen=stolen)
        self.world.keys["new"] = new
        try:
            self.world.publish(lambda publisher: rotate(publisher, rotation))
            self.world.keys[self.name] = new
            assert not self.is_spoilt
        except TrustError:
            if not self.is_spoilt:  # what cannot be read is not signed anew, only removed
                raise
        finally:
            del self.world.keys["new"]

    @precondition(lambda self: self.is_delegated)
    @rule(keep_images=st.booleans())
    def remove(self, *, keep_images: bool) -> None:
        before, verdict = self.told(), self.ask(f"{LOST[0]}:{TAGS[0]}")
        is_refused = isinstance(verdict, Denied) and verdict.reason in ROLE_REFUSED
        try:
            self.world.publish(lambda publisher: remove(publisher, self.name, keep_images=keep_images))
        except TrustError:
            if not keep_images:  # of what cannot be read, or delegates further, nothing can be kept
                raise
            return
        del self.world.keys[self.name]
        self.is_spoilt = False
        if not (keep_images and is_refused):  # else the owner vouches for what nobody got any more
            assert self.told() == (before if keep_images else dict.fromkeys(PLACES))

    @precondition(lambda self: not self.is_delegated)
    @rule()
    def delegate_anew(self) -> None:
        self.lose_a_key()

    @rule(days=st.sampled_from((0, 1, 3)))
    def renew(self, days: int) -> None:
        self.world.later(days=days)
        self.world.renew("targets", "acme.api")

    # what everybody is told

    @invariant()
    def others_are_told_what_was_acknowledged(self) -> None:
        self.step += 1
        for path, role in OTHERS.items():
            for tag in TAGS:
                verdict, wanted = self.ask(f"{path}:{tag}", self.step % 2), self.tags.get((path, tag))
                if wanted is None:
                    assert isinstance(verdict, Denied), verdict
                    assert verdict.reason in NOT_SIGNED, verdict
                else:
                    assert isinstance(verdict, Allowed), verdict
                    assert (verdict.digest, verdict.role) == (wanted, role)

    @invariant()
    def what_was_ended_is_never_told_again(self) -> None:
        for (path, tag), digest in self.told().items():
            assert digest is None or (path, digest) not in self.ended, tag
        for path, digest in self.ended:
            assert isinstance(self.ask(f"{path}@{digest}"), Denied), digest

    @rule()
    def see_all(self) -> None:
        """A shim's keeper, who reads every role, refuses those of the thief's alone."""
        refused = whole(self.consumers[1])
        assert all(name in self.names or name.startswith("deeper") for name in refused), refused

    def ask(self, image: str, consumer: int = 0) -> Verdict:
        Life.asked += 1
        return self.consumers[consumer].verify(f"registry.test/{image}")

    def told(self) -> dict[tuple[str, str], Digest | None]:
        """Return what somebody gets under each tag of the lost team."""
        verdicts = {(path, tag): self.ask(f"{path}:{tag}") for path, tag in PLACES}
        return {place: each.digest if isinstance(each, Allowed) else None for place, each in verdicts.items()}

    def is_told(self, path: str, digest: Digest) -> bool:
        by_tag = any(place[0] == path and each == digest for place, each in self.told().items())
        return by_tag or isinstance(self.ask(f"{path}@{digest}"), Allowed)


def test_no_thief_of_a_teams_key_touches_others_or_brings_back_what_was_ended(
    record_property: Callable[[str, object], None],
) -> None:
    live(Life, record_property)
