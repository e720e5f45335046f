"""Owns the whole metadata of a collection on its way to another place: read, verified, compared, set down.

  1. every root, from the pinned one; then timestamp, snapshot, and each role that is reachable from targets
  2. all of it is verified as a consumer would, but for expiry: whoever reads it there judges that, by his clock
  3. what stands at the destination is read and verified likewise; another collection's is never written over,
     and this collection's never goes back
  4. versioned files first, the timestamp last, through the store's own publish

It holds no key and makes no signature: a replica is the publisher's bytes or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

from trust.chain import ONLINE_ROLES
from trust.deadline import Deadline
from trust.errors import ConflictError, UnreachableError
from trust.loaded import Loaded
from trust.loaded_role import Untrusted
from trust.metadata import ROOT_MAX_BYTES, TARGETS_MAX_BYTES, TIMESTAMP_MAX_BYTES
from trust.policy import Stanza
from trust.repository import load
from trust.role_file import read_file, require_linked
from trust.stores.interface import TIMESTAMP, MissingPlaceError, Publication, Store, View
from trust.value import dataclass


class Step(Enum):
    """What has to happen to the metadata at the destination."""

    NEW = "new"
    FORWARD = "forward"
    SAME = "same"
    AHEAD = "ahead"  # it is newer there than here, and stays so


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """The verified metadata of a collection: its versioned files by name, its timestamp, its versions by role."""

    files: Mapping[str, bytes]
    timestamp: bytes
    versions: Mapping[str, int]
    online_keys: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What ``publish_replica`` will do; ``there`` is what stands at the destination now."""

    step: Step
    replica: Replica
    base: View
    there: Replica | None


def read_replica(stanza: Stanza, view: View, *, absent: Collection[str] = ()) -> Replica:
    """Return everything that ``view`` shows of the collection, verified but for expiry (steps 1 and 2).

    What a delegate has made of his own role goes along as it was published, and is refused there as here.
    ``absent`` are delegated roles that may be missing.

    Raises:
        RefusedError: it is not trusted. UnreachableError: it is not there or incomplete.
        LimitError: more roots than a collection has.
    """
    loaded = load(stanza, view, floors={})
    top = loaded.top
    files = {f"{version}.root.json": body for version, body in top.roots.bodies.items()}
    files[f"{top.snapshot.signed.version}.snapshot.json"] = top.snapshot_bytes
    for named in loaded.named():  # no more than the snapshot names, whose size is limited
        for role in (named, *loaded.bins(named)):
            files[f"{role.version}.{role.name}.json"] = role.body
    for each in loaded.untrusted.values():
        if not (each.name in absent and isinstance(each.cause, UnreachableError)):
            files |= _as_published(loaded, each)
    keys = {role: tuple(loaded.root.roles[role].keyids) for role in ONLINE_ROLES}
    return Replica(files=files, timestamp=top.timestamp_bytes, versions=loaded.versions(), online_keys=keys)


def _as_published(loaded: Loaded, untrusted: Untrusted) -> Mapping[str, bytes]:
    """Return the file of a role that is not trusted; where the store is to blame for that, refuse everything."""
    name, link = untrusted.name, loaded.top.snapshot.signed.meta.get(f"{untrusted.name}.json")
    if not untrusted.is_of_delegates:
        raise untrusted.cause
    if link is None or not link.hashes:  # of bins nothing but their signatures tells whose they are
        return {}
    data = read_file(loaded.view, f"{link.version}.{name}.json", TARGETS_MAX_BYTES)
    require_linked(name, link, data)
    return {f"{link.version}.{name}.json": data}


def plan_move(stanza: Stanza, replica: Replica, store: Store, *, deadline: Deadline) -> Move:
    """Return what has to happen at ``store`` so that it shows ``replica`` (step 3); nothing is written.

    Raises:
        ConflictError: metadata of another collection is there, or a fork of this one.
        RefusedError: what is there is not trusted: it is not ours to mend.
    """
    base = _view(store, deadline)
    if base is None:
        return Move(step=Step.NEW, replica=replica, base=_Nothing(), there=None)
    first, timestamp = base.read("1.root.json", ROOT_MAX_BYTES), base.read(TIMESTAMP, TIMESTAMP_MAX_BYTES)
    if first is None and timestamp is None:
        return Move(step=Step.NEW, replica=replica, base=base, there=None)
    if first is None or not stanza.root.matches(first):
        raise ConflictError(
            f"trust metadata of another collection is there: {store.url}: its first root is not {stanza.root}",
            hint="trust promote signs the image in the destination's own collection",
        )
    if timestamp is None:  # a copy that was cut short before its commit point
        return Move(step=Step.NEW, replica=replica, base=base, there=None)
    there = read_replica(stanza, base)
    return Move(step=_step(replica, there, store.url), replica=replica, base=base, there=there)


def publish_replica(move: Move, store: Store, *, deadline: Deadline) -> bool:
    """Return whether the destination shows anything new after this (step 4).

    Raises:
        ConflictError: somebody else wrote there meanwhile.
    """
    if move.step in {Step.SAME, Step.AHEAD}:
        return False
    base = move.base
    if isinstance(base, _Nothing):
        store.probe(deadline=deadline)
        found = store.view(known=None, deadline=deadline)
        if found is None:
            raise UnreachableError(f"the store answered 'not modified' to nobody's question: {store.url}")
        if found.read(TIMESTAMP, TIMESTAMP_MAX_BYTES) is not None:
            raise ConflictError(f"another publisher was first: {store.url} was empty a moment ago")
        base = found
    old = move.there.files if move.there else {}
    kept = tuple(name for name, data in move.replica.files.items() if old.get(name) == data)
    publication = Publication(
        base=base,
        base_timestamp=move.there.timestamp if move.there else None,
        files={name: data for name, data in move.replica.files.items() if name not in kept},
        kept=kept,
        timestamp=move.replica.timestamp,
        settles=not base.strays(),  # a change that was passed over there is its publisher's to merge
    )
    store.publish(publication, deadline=deadline)
    return True


class _Nothing:
    """A place that is not made yet."""

    token = None

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return that there is nothing."""
        del name, max_bytes
        return None

    def taken(self, name: str) -> bool:
        """Return that nothing is."""
        del name
        return False

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return none."""
        return ()


def _view(store: Store, deadline: Deadline) -> View | None:
    try:
        view = store.view(known=None, deadline=deadline)
        if view is not None:
            view.read(TIMESTAMP, TIMESTAMP_MAX_BYTES)
    except MissingPlaceError:
        return None
    return view


def _step(replica: Replica, there: Replica, url: str) -> Step:
    """Return how ``replica`` stands to what is there.

    Snapshot and timestamp may go back where a newer root changed their keys (TUF 1.0 §5.3.11).
    """
    reset = replica.online_keys != there.online_keys
    other = _other_contents(replica, there, may_reset=reset)
    if other:
        raise _fork(url, f"{other[0]} has other contents")
    if replica.timestamp == there.timestamp and replica.files.keys() <= there.files.keys():
        return Step.SAME
    both = [name for name in replica.versions if name in there.versions and not (reset and name in ONLINE_ROLES)]
    newer = [name for name in both if replica.versions[name] > there.versions[name]]
    older = [name for name in both if replica.versions[name] < there.versions[name]]
    if newer and not older:
        return Step.FORWARD
    if older and not newer:
        return Step.AHEAD
    raise _fork(url, f"{older[0]} is older" if older else "the same versions have other contents")


def _other_contents(replica: Replica, there: Replica, *, may_reset: bool) -> list[str]:
    """Return the versioned files that both have, each with bytes of its own: of two signatures one would be lost.

    Where new keys reset the snapshot, a number that a thief has used there may come again.
    """
    both = sorted(replica.files.keys() & there.files.keys())
    return [
        name
        for name in both
        if replica.files[name] != there.files[name] and not (may_reset and name.endswith(".snapshot.json"))
    ]


def _fork(url: str, detail: str) -> ConflictError:
    return ConflictError(
        f"the metadata at {url} and this one have gone different ways: {detail}",
        hint="somebody published at both places; find out which one consumers should follow",
    )
