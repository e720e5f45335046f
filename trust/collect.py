"""Owns which old metadata goes: what no timestamp that is still valid can name any more.

A consumer may hold a timestamp of some days ago, valid until it expires, and go on from there. So there stay

  * every root: consumers walk from the one they pinned
  * what is current, and whatever is above it: another publisher may be in the middle of a publish
  * a snapshot that was superseded, until it has expired and ``GRACE`` has passed
  * the versions of roles that such a snapshot names
  * names that are no version of a role of this collection: they are somebody else's business

All else goes: snapshots that have expired, and the role versions that only those named, or nobody; so what a dead
publisher left below the current version goes too. Nothing here is believed: a forged snapshot can make files stay,
never go. Roots, timestamps and the current roles were verified by whoever loaded them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from trust.deadline import Deadline
from trust.errors import LimitError, RefusedError
from trust.loaded import Loaded
from trust.metadata import SNAPSHOT_MAX_BYTES, parse_metadata
from trust.stores.interface import Store, View
from trust.value import dataclass

GRACE = timedelta(hours=1)  # for clocks that are slow, and refreshes under way
_VERSION = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)  # 01 is no spelling of 1
READ_MAX = 500  # superseded snapshots read in one run, the oldest first; the next run goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """A snapshot below the current one: until when it counts, and the version of each role that it names."""

    version: int
    expires: datetime
    roles: Mapping[str, int]


def collect(store: Store, loaded: Loaded, *, now: datetime, deadline: Deadline) -> tuple[str, ...]:
    """Remove from ``store`` what no valid timestamp can name, ``loaded`` being current; return the names.

    Raises:
        UnavailableError: the store did not list, show or remove them; consumers see no difference.
    """
    names, snapshot = store.names(deadline=deadline), loaded.top.snapshot.signed
    current = _named(snapshot.meta) | {"snapshot": snapshot.version}
    below = sorted(
        version for version, role in _versions(names) if role == "snapshot" and version < current["snapshot"]
    )
    read = [_superseded(loaded.view, version, deadline) for version in below[:READ_MAX]]
    doomed = superfluous(
        names, current=current, superseded=[each for each in read if each is not None],
        unread=tuple(below[READ_MAX:]), now=now,
    )  # fmt: skip
    if doomed:
        store.remove(doomed, deadline=deadline)
    return doomed


def superfluous(
    names: Iterable[str],
    *,
    current: Mapping[str, int],
    superseded: Collection[Superseded],
    unread: tuple[int, ...] = (),
    now: datetime,
) -> tuple[str, ...]:
    """Return those of ``names`` that can go, in order, by the rules of this module.

    ``current`` has the version of each role, the snapshot's included. A snapshot below it that is neither in
    ``superseded`` nor in ``unread`` is no snapshot. What is ``unread`` stays, and with it all versions of roles
    from the newest that was read on: role versions never fall from one snapshot to the next.
    """
    living = [each for each in superseded if now - GRACE < each.expires]
    wanted = {(version, role) for each in living for role, version in each.roles.items()}
    wanted |= {(each.version, "snapshot") for each in living} | {(version, "snapshot") for version in unread}
    newest = max(superseded, key=lambda each: each.version, default=None) if unread else None
    ceiling = dict(current) if not unread else {**dict(newest.roles if newest else {}), "snapshot": min(unread)}
    return tuple(
        f"{version}.{role}.json"
        for version, role in sorted(_versions(names), key=lambda pair: (pair[1], pair[0]))
        if role != "root" and role in current
        and version < min(ceiling.get(role, 0), current[role]) and (version, role) not in wanted
    )  # fmt: skip


def _versions(names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Return version and role of each name that is ``VERSION.ROLE.json``."""
    for name in names:
        version, _, rest = name.partition(".")
        role = rest.removesuffix(".json")
        if role and f"{version}.{role}.json" == name and _VERSION.fullmatch(version):
            yield int(version), role


def _superseded(view: View, version: int, deadline: Deadline) -> Superseded | None:
    """Return the snapshot of ``version``; None where there is none to be read by anybody."""
    name = f"{version}.snapshot.json"
    try:
        data = view.read(name, SNAPSHOT_MAX_BYTES)
        signed = parse_metadata(data, name).signed if data is not None else None
        if signed is None or signed.type != "snapshot":
            return None
    except (RefusedError, LimitError):
        deadline.remaining_seconds()  # too large for consumers as well, or is it only too late for us?
        return None
    return Superseded(version=version, expires=signed.expires, roles=_named(signed.meta))


def _named(meta: Mapping[str, object]) -> dict[str, int]:
    return {
        name.removesuffix(".json"): version
        for name, link in meta.items()
        if isinstance(version := getattr(link, "version", None), int)
    }
