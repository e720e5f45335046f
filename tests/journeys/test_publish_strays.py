"""A change that a registry passed over is a stray: merged if it is somebody's change, and never a replay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.simulators.attacker import strangers
from tests.simulators.relay import Relay
from tests.simulators.world import World, file_store, manifest_bytes, soon
from trust.deadline import Deadline
from trust.digest import sha256
from trust.publish import Publisher
from trust.rotate import Rotation, rotate
from trust.sign import Order, read_image, sign
from trust.stores.interface import View
from trust.verdict import Allowed

REPOSITORY = "registry.test/acme/web"


@dataclass(kw_only=True)
class Strayed(Relay):
    """A store whose views show strays."""

    strays: tuple[tuple[View, View], ...]

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        view = self.honest.view(known=known, deadline=deadline)
        return None if view is None else _View(view, self.strays)


class _View:
    token = None

    def __init__(self, view: View, strays: tuple[tuple[View, View], ...]) -> None:
        self._view = view
        self._strays = strays
        self.read = view.read
        self.taken = view.taken

    def strays(self) -> tuple[tuple[View, View], ...]:
        return self._strays


@dataclass(kw_only=True)
class Scene:
    """``world`` as it was, its twin where another publisher changed something, and copies of both in between."""

    world: World
    shown: list[tuple[str, str]] = field(default_factory=list)

    def keep(self, name: str) -> str:
        """Keep the store as it is now under ``name``."""
        shutil.copytree(self.world.attacker.directory, self.world.folder / name)
        return name

    def passed_over(self, change: Callable[[World], object], name: str) -> str:
        """Keep under ``name`` the store that ``change`` makes of this one, and leave this one as it is."""
        before = self.keep(f"before {name}")
        home = self.world.home
        self.world.home = self.world.folder / f"home of {name}"
        for role in ("targets", "snapshot"):  # numbers that the others will have used
            newest = self.world.attacker.current(role).signed.version
            for version in range(newest + 1, newest + 4):
                self.world.attacker.put(f"{version}.{role}.json", b"taken")
        change(self.world)
        self.keep(name)
        self.world.home = home
        shutil.rmtree(self.world.attacker.directory)
        shutil.copytree(self.world.folder / before, self.world.attacker.directory)
        return name

    def store(self) -> Strayed:
        """Return the store with what is ``shown`` as strays, each with the base it claims."""
        views = tuple((self._view(stray), self._view(base)) for stray, base in self.shown)
        return Strayed(honest=self.world.store, strays=views)

    def _view(self, name: str) -> View:
        view = file_store(f"file:{self.world.folder / name}").view(known=None, deadline=soon())
        assert view is not None
        return view

    def sign(self, tag: str) -> None:
        """Sign ``tag`` as a publisher who sees the strays."""
        image = read_image(self.world.push(manifest_bytes(tag)), self.world.images.__getitem__)
        order = Order(path="acme/web", tag=tag, image=image, annotations={})

        def journey(publisher: Publisher) -> object:
            return sign(publisher, [order])

        self.world.publish(journey, store=self.store())  # type: ignore[arg-type]

    def signed(self, *tags: str) -> set[str]:
        """Return which of ``tags`` a fresh consumer is allowed."""
        consumer = self.world.consumer("of " + " ".join(tags))
        return {tag for tag in tags if isinstance(consumer.verify(f"{REPOSITORY}:{tag}"), Allowed)}


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world=world)


def test_change_that_was_passed_over_is_merged_by_the_next_publisher(scene: Scene) -> None:
    base = scene.keep("base")
    stray = scene.passed_over(lambda world: world.sign("theirs"), "theirs")
    scene.world.sign("ours")
    scene.shown = [(stray, base)]
    scene.sign("next")
    assert scene.signed("1.4", "ours", "theirs", "next") == {"1.4", "ours", "theirs", "next"}


def test_revocation_that_was_passed_over_is_merged_too(scene: Scene) -> None:
    digest = scene.world.sign("bad")
    base = scene.keep("base")
    stray = scene.passed_over(lambda world: world.revoke(digest=digest), "theirs")
    scene.world.sign("ours")
    scene.shown = [(stray, base)]
    scene.sign("next")
    assert scene.signed("1.4", "ours", "bad", "next") == {"1.4", "ours", "next"}


def test_old_edition_replayed_as_a_stray_changes_nothing(scene: Scene) -> None:
    base = scene.keep("base")
    scene.world.sign("old")
    old = scene.keep("old")
    scene.world.revoke("old")
    scene.shown = [(old, base)]
    scene.sign("next")
    assert scene.signed("1.4", "old", "next") == {"1.4", "next"}


def test_stray_shown_beside_another_base_changes_nothing(scene: Scene) -> None:
    """Between a base that was not theirs and their change stands what others did: it would come back."""
    older = scene.keep("older")
    scene.world.sign("gone")
    scene.keep("base")
    stray = scene.passed_over(lambda world: world.sign("theirs"), "theirs")
    scene.world.revoke("gone")
    scene.shown = [(stray, older)]
    scene.sign("next")
    assert scene.signed("1.4", "gone", "theirs", "next") == {"1.4", "next"}
    scene.shown = [(stray, "base")]
    scene.sign("last")
    assert scene.signed("1.4", "gone", "theirs", "next", "last") <= {"1.4", "theirs", "next", "last"}


@pytest.mark.parametrize("role", ["targets", "snapshot"])
def test_stray_of_a_removed_key_changes_nothing(scene: Scene, role: str) -> None:
    world = scene.world
    base, stolen = scene.keep("base"), world.keys[role]
    stray = scene.passed_over(lambda changed: changed.sign("theirs"), "theirs")
    roles = ("targets",) if role == "targets" else ("snapshot", "timestamp")
    world.replace_keys(*roles)
    world.attacker.forge(role)
    assert world.keys[role] != stolen
    scene.shown = [(stray, base)]
    scene.sign("next")
    assert scene.signed("1.4", "theirs", "next") == {"1.4", "next"}


def test_stray_that_a_stolen_key_has_signed_is_dropped_when_it_is_rotated_away(scene: Scene) -> None:
    base, (old,), (new,) = scene.keep("base"), scene.world.keys["targets"], strangers()
    stray = scene.passed_over(lambda world: world.sign("1.4", manifest=manifest_bytes("evil")), "theirs")
    scene.world.sign("ours")
    scene.shown = [(stray, base)]
    scene.world.keys["added"] = [new]
    rotation = Rotation(role="targets", add=(new.public_key,), stolen=(old.public_key.keyid,))
    done = scene.world.publish(lambda publisher: rotate(publisher, rotation), store=scene.store())
    assert [(each.role, each.id) for each in done.dropped] == [("targets", None)]
    assert scene.world.consumer().allowed().digest == sha256(manifest_bytes("acme/web:1.4"))
    assert scene.signed("1.4", "ours") == {"1.4", "ours"}


def test_rubbish_shown_as_a_stray_changes_nothing(scene: Scene) -> None:
    base = scene.keep("base")
    for path in (scene.world.folder / scene.keep("rubbish")).glob("timestamp.json"):
        path.write_bytes(b"{}")
    foreign = World(scene.world.folder / "foreign", keys={role: strangers() for role in scene.world.keys})
    foreign.sign("theirs")
    shutil.copytree(foreign.attacker.directory, scene.world.folder / "of another collection")
    scene.shown = [("rubbish", base), ("of another collection", base), ("rubbish", "rubbish")]
    scene.sign("next")
    assert scene.signed("1.4", "theirs", "next") == {"1.4", "next"}


def test_renewal_by_the_online_key_alone_takes_no_stray_up(scene: Scene) -> None:
    base = scene.keep("base")
    stray = scene.passed_over(lambda world: world.sign("theirs"), "theirs")
    scene.world.sign("ours")
    scene.shown = [(stray, base)]
    keys, scene.world.keys = scene.world.keys, {**scene.world.keys, "targets": strangers()}
    scene.world.publish(lambda publisher: publisher.renew(frozenset()), store=scene.store())
    assert scene.signed("ours", "theirs") == {"ours"}
    scene.world.keys = keys
    scene.sign("next")
    assert scene.signed("ours", "theirs", "next") == {"ours", "theirs", "next"}
