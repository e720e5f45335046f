"""The acts, in the keynote's order and on from there. Each is judged from outside: by page, exit code and log."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from shutil import copy2

from scripts.keynote.forger import Forger
from scripts.keynote.frozen import can_freeze, dolly, edited_memory
from scripts.keynote.image import Image
from scripts.keynote.lab import NotReadyError
from scripts.keynote.machine import TILL_KEY, Machine
from scripts.keynote.pages import BACK_DOOR
from scripts.keynote.registry import Asked, bytes_served
from scripts.keynote.shelf import Display
from scripts.keynote.stage import Stage
from scripts.keynote.story import Act, Outcome, Ran, Step, Who
from scripts.keynote.visitor import visit

_OK, _NOT_FOUND = 200, 404
_DENIED = 1
_REFUSED = 125  # `trust run` leaves a container its own codes: what it refuses itself is always this one
_LATER = "8 days"  # a day more than a timestamp lasts
_SPRING, _SUMMER, _AUTUMN, _WINTER = ("spring", "summer", "autumn", "winter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An act on its stage."""

    stage: Stage
    act: Act

    def verify(self, promise: str, *, word: str, code: int, names: tuple[Image, ...] = ()) -> None:
        """``trust verify`` on the host says ``word``, names the digests of ``names``, and exits with ``code``."""
        self.judge(
            promise, self.stage.trust_machine.person.trust("verify", self.stage.reference), word, code, names
        )

    def judge(self, promise: str, ran: Ran, word: str, code: int, names: tuple[Image, ...] = ()) -> None:
        """The command ``ran`` said so."""
        self.act.add(ran)
        said = word in ran.output and all(each.digest in ran.output for each in names)
        self.act.check(promise, kept=said and ran.exit_code == code)

    def update(self, machine: Machine) -> bool:
        """Whether ``machine`` updated; its commands are told."""
        return machine.update(self.stage.reference, self.act.add)

    def refused(self, word: str, *, serving: str) -> None:
        """The host's update is refused, ``word`` being why, and the shop still shows the menu of ``serving``."""
        ran: list[Ran] = []
        updated = self.stage.trust_machine.update(self.stage.reference, ran.append)
        for each in ran:
            self.act.add(each)
        kept = not updated and [(each.exit_code, word in each.output) for each in ran] == [(_REFUSED, True)]
        self.act.check("the update is refused", kept=kept)
        self.menu(serving)

    def menu(self, season: str) -> None:
        """A visitor of the host reads the menu of ``season``."""
        saw = visit(self.stage.trust_machine.door.url)
        self.act.add(saw)
        kept = saw.status == _OK and f"{season} menu" in " ".join(saw.excerpt)
        self.act.check(f"the visitor reads the {season} menu", kept=kept)

    def back_door(self, machine: Machine, *, is_open: bool) -> None:
        """The attacker knocks."""
        saw = visit(machine.door.url.rstrip("/") + BACK_DOOR, Who.ATTACKER)
        self.act.add(saw)
        promise = "the back door gives the till's key away" if is_open else "there is no back door"
        self.act.check(
            promise, kept=(TILL_KEY in saw.body) is is_open and saw.status == (_OK if is_open else _NOT_FOUND)
        )

    def bytes_kept_out(self, since: int, names: tuple[str, ...], promise: str) -> tuple[Asked, ...]:
        """Nothing under ``names`` was sent by the registry after the mark ``since``; returns what was asked."""
        registry = self.stage.registry
        asked = registry.asked_between(since, registry.mark())
        sent = bytes_served(asked, names)
        self.act.said(Who.REGISTRY, f"logged {len(asked)} requests meanwhile, {sent} of the attacker's bytes sent")
        self.act.check(promise, kept=bool(asked) and sent == 0)
        return asked


def play(stage: Stage, begins: Callable[[Act], None], tell: Callable[[Step], None]) -> Iterator[Act]:
    """Play every act; each is yielded when it is over. ``begins`` hears of an act, ``tell`` of its steps."""

    def open_scene(title: str, premise: str, ends: Outcome = Outcome.HELD) -> Scene:
        act = Act(title=title, premise=premise, ends=ends, tell=tell)
        begins(act)
        return Scene(stage=stage, act=act)

    scene = open_scene("Before", "Acme sells tea. Its web shop is one signed image.", Outcome.PUBLISHED)
    old_days = _before(scene)
    yield scene.act
    scene = open_scene("Act one: without trust", "An attacker has the build job's password.", Outcome.DEFACED)
    _without_trust(scene)
    since = stage.registry.mark()
    yield scene.act
    scene = open_scene("Act two: with trust", "The same attack, the same moment, the other machine.")
    _with_trust(scene)
    yield scene.act
    scene = open_scene(
        "Act three: rollback", "Old images stay validly signed. He brings one back, metadata and all."
    )
    _rollback(scene, old_days)
    yield scene.act
    scene = open_scene("Act four: freeze", "He hides the news: the metadata stays as it is today.")
    _freeze(scene)
    yield scene.act
    if can_freeze(stage.lab):
        scene = open_scene("Act five: edited memory", "The shop is moved while it runs, by way of the registry.")
        edited_memory(scene)
        yield scene.act
        scene = open_scene("Act six: Dolly", "The snapshot arrives, is resumed, and cloned.", Outcome.CLONED)
        dolly(scene)
        yield scene.act
    scene = open_scene("Act seven: a stolen key", "He gets the online key and its passphrase.")
    _stolen_key(scene)
    names = stage.images.attackers.own_digests
    scene.bytes_kept_out(since, names, "not in any act did the attacker's image arrive")
    yield scene.act


def _before(scene: Scene) -> Display:
    """Version one, then version two, everywhere; returns what the registry showed in the days of version one."""
    stage, act = scene.stage, scene.act
    images, publisher = stage.images, stage.publisher
    founded = publisher.found()
    act.add(founded)
    if founded.exit_code != 0:
        raise NotReadyError("there is no play without a collection", founded.output)
    copy2(publisher.person.policy, stage.trust_machine.person.policy)
    act.said(Who.HOST, "gets Acme's policy, which pins the root")
    stage.shelf.push(images.spring)
    act.add(publisher.sign(images.spring))
    scene.update(stage.trust_machine)
    scene.menu(_SPRING)
    old_days = stage.shelf.display()
    stage.shelf.push(images.summer)
    act.add(publisher.sign(images.summer))
    scene.update(stage.trust_machine)
    scene.menu(_SUMMER)
    act.said(Who.PLAIN_HOST, "runs the same image, pulled by a client that asks for the tag and nothing else")
    stage.plain_machine.update(stage.reference, lambda _: None)
    saw = visit(stage.plain_machine.door.url)
    act.add(saw)
    act.check("its visitor reads the summer menu too", kept="summer menu" in saw.body)
    return old_days


def _without_trust(scene: Scene) -> None:
    stage, act = scene.stage, scene.act
    act.said(Who.ATTACKER, f"pushes an image of his own and moves the tag to it, {stage.images.attackers.digest}")
    stage.shelf.push(stage.images.attackers)
    updated = scene.update(stage.plain_machine)
    saw = visit(stage.plain_machine.door.url)
    act.add(saw)
    act.check("the update went through, and the page is defaced", kept=updated and "mine now" in saw.body)
    scene.back_door(stage.plain_machine, is_open=True)


def _with_trust(scene: Scene) -> None:
    stage, act = scene.stage, scene.act
    images = stage.images
    scene.verify(
        "verify says tag-moved and names both digests",
        word="tag-moved",
        code=_DENIED,
        names=(images.summer, images.attackers),
    )
    start = stage.registry.mark()
    act.check("the update goes through", kept=scene.update(stage.trust_machine))
    names = (*images.attackers.own_digests, stage.shelf.tag)
    scene.bytes_kept_out(start, names, "nothing of what the tag names was fetched")
    scene.menu(_SUMMER)
    scene.back_door(stage.trust_machine, is_open=False)

    act.said(Who.PUBLISHER, "pushes the autumn menu and signs it")
    stage.shelf.push(images.autumn)
    act.add(stage.publisher.sign(images.autumn))
    act.said(Who.ATTACKER, "deletes it and moves the tag to his own image again")
    stage.shelf.delete(images.autumn)
    stage.shelf.push(images.attackers)
    scene.refused(f"no manifest {images.autumn.digest}", serving=_SUMMER)
    act.said(Who.PUBLISHER, "pushes the same bytes again, which are still signed; the tag stays the attacker's")
    stage.shelf.put_back(images.autumn)
    start = stage.registry.mark()
    act.check("the update goes through", kept=scene.update(stage.trust_machine))
    asked = scene.bytes_kept_out(start, names, "nothing of what the tag names was fetched")
    fetched = bytes_served(asked, (images.autumn.digest, images.autumn.layers[-1].digest))
    act.check("what Acme signed was fetched by its digest", kept=fetched > 0)
    scene.menu(_AUTUMN)
    stage.shelf.push(images.autumn)


def _rollback(scene: Scene, old_days: Display) -> None:
    stage, act = scene.stage, scene.act
    today = stage.shelf.display()
    act.said(
        Who.ATTACKER, "puts the spring menu and the metadata of its day back; every signature on them is valid"
    )
    stage.shelf.show(old_days)
    scene.verify("verify says rolled-back", word="rolled-back", code=_DENIED)
    scene.refused("rolled-back", serving=_AUTUMN)
    stage.shelf.show(today)


def _freeze(scene: Scene) -> None:
    stage, act = scene.stage, scene.act
    yesterday = stage.shelf.display()
    act.said(Who.PUBLISHER, "pushes the winter menu and signs it")
    stage.shelf.push(stage.images.winter)
    act.add(stage.publisher.sign(stage.images.winter))
    news = stage.shelf.display()
    act.said(Who.ATTACKER, "puts yesterday's tag and metadata back before any machine has seen the news")
    stage.shelf.show(yesterday)
    still = "what Acme signed last is hidden, what it signed before still holds, for a week"
    scene.verify(still, word="allowed", code=0, names=(stage.images.autumn,))
    act.said(Who.HOST, "eight days later: a copy of its trusted state, on a clock that is set ahead")
    here = stage.trust_machine.person
    later = here.at(here.home / "later")
    later.trust_home.mkdir(parents=True)
    for file in (here.policy, here.home / "config.json", here.trust_home / "state.db"):
        copy2(file, later.home / file.relative_to(here.home))
    ran = later.trust_later(_LATER, "verify", stage.reference)
    scene.judge("then verify says expired", ran, "expired", _DENIED)
    ran = later.trust_later(_LATER, "run", "--rm", stage.reference)
    act.add(ran)
    act.check("and no update goes through", kept=ran.exit_code == _REFUSED and "expired" in ran.output)
    scene.menu(_AUTUMN)
    act.said(Who.PUBLISHER, "hears of it, and the news gets through")
    stage.shelf.show(news)
    scene.update(stage.trust_machine)
    scene.menu(_WINTER)


def _stolen_key(scene: Scene) -> None:
    stage, act = scene.stage, scene.act
    forger = Forger(shelf=stage.shelf, key=stage.publisher.lose_online_key())
    act.said(Who.ATTACKER, "signs a new snapshot and timestamp over what Acme signed; this key can do that")
    forger.sign_online_roles()
    scene.verify(
        "the image is still the one that Acme signed", word="allowed", code=0, names=(stage.images.winter,)
    )
    act.said(Who.ATTACKER, "signs the tag over to his own image, with the same key")
    forger.forge(stage.images.attackers)
    stage.shelf.push(stage.images.attackers)
    scene.verify("verify says wrong-signer", word="wrong-signer", code=_DENIED)
    scene.refused("wrong-signer", serving=_WINTER)
