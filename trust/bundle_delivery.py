"""Owns what is done with a bundle that was verified: what can be refused comes first.

1. no two go to one place; the metadata at each destination is looked at: another collection's there ends it, with
   nothing written
2. the trusted state goes forward to what the bundle shows
3. content, then the metadata, then tags, as a copy does
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trust.bundle_import import Arrival, Unpacked, accept
from trust.copy import Destination, set_tag, tag_for
from trust.errors import InputError
from trust.oci.image_copy import Sent, send
from trust.oci.repositories import RegistryRepository, Soon
from trust.policy import Stanza
from trust.reference import Repository
from trust.replica import Move, Step, plan_move, publish_replica, read_replica
from trust.value import dataclass
from trust.verdict import Denied, Verdict
from trust.verify import Verifier

NOTHING_SENT = Sent(manifests=0, manifests_sent=0, blobs=0, blobs_sent=0, bytes_sent=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """One image and what was done with it; ``step`` is that of its collection's metadata at the destination."""

    image: Unpacked
    sent: Sent
    step: Step | None
    tagged: bool

    @property
    def changed(self) -> bool:
        """Tell whether the destination is, or would be, other than before."""
        return self.sent.changed or self.tagged or self.step in {Step.NEW, Step.FORWARD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a whole bundle; ``versions`` are the trusted ones after it, by collection."""

    images: tuple[Delivered, ...]
    versions: Mapping[str, Mapping[str, int]]
    state_changed: bool

    @property
    def changed(self) -> bool:
        """Tell whether anything here, or there, is or would be other than before."""
        return self.state_changed or any(image.changed for image in self.images)


def deliver(
    verifier: Verifier,
    arrival: Arrival,
    *,
    destination: Callable[[Unpacked], Destination | None],
    soon: Soon,
    dry_run: bool,
) -> Delivery | list[Verdict]:
    """Return what was done with what arrived, or the verdicts where the trusted state has moved on meanwhile.

    Raises:
        InputError: two of the bundle would go to one place.
        ConflictError: another collection's metadata is at the destination. UnavailableError: it could not be done.
    """
    goals = [(image, destination(image)) for image in arrival.images]
    _require_apart(goals)
    moves = _planned(arrival, goals, soon)
    before = _versions(verifier, arrival)
    if not dry_run:
        verdicts = accept(verifier, arrival)
        if any(isinstance(verdict, Denied) for verdict in verdicts):
            return verdicts
    sent = [
        send(image.pieces, arrival.content, goal.sink, dry_run=dry_run) if goal else NOTHING_SENT
        for image, goal in goals
    ]
    for move, place in moves.values():
        if place.store is not None and not dry_run:
            publish_replica(move, place.store, deadline=soon())
    images = []
    for (image, goal), done in zip(goals, sent, strict=True):
        key = _key(image, goal)
        step, tagged = moves[key][0].step if key in moves else None, False
        if goal is not None:
            tagged = set_tag(image.pieces, image.allowed, goal.sink, tag_for(goal, step), dry_run=dry_run)
        images.append(Delivered(image=image, sent=done, step=step, tagged=tagged))
    shown = _shown(arrival)
    return Delivery(
        images=tuple(images), versions=shown, state_changed=any(before.get(n) != v for n, v in shown.items())
    )


def _require_apart(goals: list[tuple[Unpacked, Destination | None]]) -> None:
    """Refuse two collections for one store and two images for one tag: the second took the first's place."""
    stores: dict[str, Stanza] = {}
    tags: dict[tuple[Repository, str], Unpacked] = {}
    for image, goal in goals:
        if goal is None:
            continue
        if image.match is not None and goal.store is not None:
            stanza = stores.setdefault(goal.store.url, image.match.stanza)
            if stanza.root != image.match.stanza.root:
                raise _claimed_twice(goal.store.url, stanza.collection, image.match.stanza.collection)
        if goal.tag is not None and isinstance(goal.sink, RegistryRepository):
            first = tags.setdefault((goal.sink.repository, goal.tag), image)
            if first.allowed.digest != image.allowed.digest:
                place = f"{goal.sink.repository}:{goal.tag}"
                raise _claimed_twice(place, first.reference, image.reference)


def _claimed_twice(place: str, one: object, other: object) -> InputError:
    return InputError(
        f"two of the bundle would go to one place: {place}: {one} and {other}",
        hint="make a bundle of each, and import it below a prefix of its own: --to HOST/PREFIX",
    )


def _planned(
    arrival: Arrival, goals: list[tuple[Unpacked, Destination | None]], soon: Soon
) -> dict[tuple[str, str], tuple[Move, Destination]]:
    """Return what happens to the metadata of each collection at each store."""
    moves: dict[tuple[str, str], tuple[Move, Destination]] = {}
    for image, goal in goals:
        key = _key(image, goal)
        if image.match is None or goal is None or goal.store is None or key in moves:
            continue
        stanza = image.match.stanza
        replica = read_replica(stanza, arrival.store(stanza).view(known=None, deadline=soon()))
        moves[key] = plan_move(stanza, replica, goal.store, deadline=soon()), goal
    return moves


def _key(image: Unpacked, goal: Destination | None) -> tuple[str, str]:
    return (
        image.match.stanza.root.hex if image.match else "",
        goal.store.url if goal is not None and goal.store is not None else "",
    )


def _shown(arrival: Arrival) -> dict[str, dict[str, int]]:
    """Return the versions of each collection that the bundle shows."""
    return {
        str(image.match.stanza.collection): dict(image.allowed.versions)
        for image in arrival.images
        if image.match is not None
    }


def _versions(verifier: Verifier, arrival: Arrival) -> dict[str, dict[str, int]]:
    """Return the trusted versions of each collection before the bundle."""
    found = {}
    for image in arrival.images:
        chain = verifier.state.chain(image.match.stanza.root) if image.match else None
        if chain is not None and image.match is not None:
            names = image.allowed.versions
            found[str(image.match.stanza.collection)] = {
                name: chain.roles[name].facts.version for name in names if name in chain.roles
            }
    return found
