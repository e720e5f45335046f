"""Owns the publisher's view of a collection: its current metadata, verified, for an edit to build on.

It verifies as a consumer would, but for expiry: the publisher is the one who mends that.

  1. roots are walked from the pinned one, or from the newest that was verified here, if the store still has it
  2. timestamp, snapshot, targets: signatures, lengths and hashes; delegated roles alike, when they are asked for
  3. each is bound to this collection and to its role
  4. nothing is older than what was published from here before

A rotation that was cut short leaves a root under which nothing is signed yet. The roles are then taken as they are
under the root before, if the new root was made over this very timestamp: its signers have vouched for what was
there. Whatever an old key signs after it, before or after the crash, is refused. ``Loaded.behind`` names what the
next change signs anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trust.chain import ONLINE_ROLES
from trust.delegations import TARGETS
from trust.digest import sha256
from trust.errors import RefusedError
from trust.floors import NOTHING, Roots
from trust.loaded import Loaded
from trust.loaded_role import TopLevel
from trust.metadata import (
    ROOT_MAX_BYTES,
    SNAPSHOT_MAX_BYTES,
    TIMESTAMP_MAX_BYTES,
    identity_of,
    parse_metadata,
    require_binding,
)
from trust.policy import Stanza
from trust.refresh import walk_roots
from trust.role_file import linked, read_file, require_floor, verified
from trust.roles import BASE_FIELD
from trust.stores.interface import TIMESTAMP, View
from trust.value import replace

_NO_ROOTS: Mapping[int, bytes] = MappingProxyType({})


def load(
    stanza: Stanza, view: View, *, floors: Mapping[str, int], known_roots: Mapping[int, bytes] = _NO_ROOTS
) -> Loaded:
    """Return the current metadata that ``view`` shows, verified from the pinned root (steps 1 to 4).

    ``floors`` are the lowest versions that are still current; ``known_roots`` were verified here before, all from
    the first: of hundreds of rotations only new ones are read.

    Raises:
        RefusedError: it is not trusted, or older than ``floors``, what was built upon here before.
        UnreachableError: it is not there or incomplete.
    """
    roots = walk_roots(stanza, replace(NOTHING, roots=_still_there(view, known_roots)), view)
    try:
        loaded = load_under(roots, view)
    except RefusedError as err:
        loaded = _load_behind(roots, view, err)
    loaded.floors = _floors_under(roots, floors)
    for name, version in loaded.versions().items():
        require_floor(name, version, loaded.floors)
    return loaded


def _still_there(view: View, known: Mapping[int, bytes]) -> Mapping[int, bytes]:
    """Return the roots from which the walk goes on; none where the store shows others, which is then found out."""
    newest = len(known)
    is_whole = newest > 0 and known.keys() == set(range(1, newest + 1))
    if is_whole and view.read(f"{newest}.root.json", ROOT_MAX_BYTES) == known[newest]:
        return known
    return _NO_ROOTS


def load_under(roots: Roots, view: View) -> Loaded:
    """Return what ``view`` shows below exactly these roots (steps 2 and 3); its own roots are not read.

    A change that was passed over is read so: by the keys that sign now, not by those of the day it was made.

    Raises:
        RefusedError: it is not trusted. UnreachableError: it is not there or incomplete.
    """
    root = roots.newest.signed
    timestamp_bytes = read_file(view, TIMESTAMP, TIMESTAMP_MAX_BYTES)
    timestamp = verified(root, "timestamp", timestamp_bytes, kind="timestamp")
    link = timestamp.signed.snapshot_meta
    snapshot, snapshot_bytes = linked(root, "snapshot", link, view, SNAPSHOT_MAX_BYTES, kind="snapshot")
    identity = identity_of(parse_metadata(roots.bodies[1], "root").signed)
    for name, metadata in (("root", roots.newest), ("timestamp", timestamp), ("snapshot", snapshot)):
        require_binding(metadata.signed, name, identity)
    top = TopLevel(
        identity=identity,
        roots=roots,
        root=roots.newest,
        timestamp=timestamp,
        timestamp_bytes=timestamp_bytes,
        snapshot=snapshot,
        snapshot_bytes=snapshot_bytes,
    )
    loaded = Loaded(view, top)
    loaded.role(TARGETS, "root")
    return loaded


def _load_behind(roots: Roots, view: View, refusal: RefusedError) -> Loaded:
    """Return what ``view`` shows where a rotation was cut short; see this module."""
    made_over = roots.newest.signed.unrecognized_fields.get(BASE_FIELD)
    if made_over != str(sha256(read_file(view, TIMESTAMP, TIMESTAMP_MAX_BYTES))):
        raise refusal
    for version in sorted(roots.bodies, reverse=True)[1:]:
        older = {number: body for number, body in roots.bodies.items() if number <= version}
        try:
            loaded = load_under(Roots(bodies=older, newest=parse_metadata(older[version], "root")), view)
        except RefusedError:
            continue  # two rotations that were cut short: an older root yet
        loaded.top = replace(loaded.top, roots=roots, root=roots.newest)
        loaded.behind = frozenset((*ONLINE_ROLES, TARGETS))
        return loaded
    raise refusal


def _floors_under(roots: Roots, floors: Mapping[str, int]) -> Mapping[str, int]:
    """Return ``floors`` without those of online roles whose keys a newer root changed (TUF 1.0 §5.3.11)."""
    body = roots.bodies.get(floors.get("root", 0))
    if body is None:
        return floors
    before, after = parse_metadata(body, "root").signed, roots.newest.signed
    if all(set(before.roles[name].keyids) == set(after.roles[name].keyids) for name in ONLINE_ROLES):
        return floors
    return {name: version for name, version in floors.items() if name not in ONLINE_ROLES}
