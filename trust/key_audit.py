"""Owns the judgement on where keys live: which key signs what, and what one theft would be enough for. Pure.

Wrong is: enough root keys for its threshold in one place with an online key (or one key that is both), one key in
two collections, a role that has expired. A key that is not at hand is ``elsewhere``: of its place nothing is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from trust.finding import Finding, error, warning
from trust.instant import format_utc
from trust.value import dataclass

ELSEWHERE = "elsewhere"
_ONLINE = ("snapshot", "timestamp")
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """A key that has a name here: where its private half lives, and since when the name is there."""

    name: str
    keyid: str
    uri: str
    place: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What a key signs: a role of a collection, until when that is valid, since which root it may."""

    collection: str
    role: str
    expires: datetime | None
    since_root: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionKeys:
    """The keys of one collection: those of each role, thresholds, expiry, and the first root that names each."""

    name: str
    keyids: Mapping[str, tuple[str, ...]]
    thresholds: Mapping[str, int]
    expires: Mapping[str, datetime]
    since_root: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedKey:
    """One key, with all that is known of it; ``held`` is None where it is elsewhere."""

    keyid: str
    held: HeldKey | None
    duties: tuple[Duty, ...]


def collection_keys(
    name: str, *, roots: Mapping[int, bytes], bodies: Mapping[str, bytes], expires: Mapping[str, datetime]
) -> CollectionKeys:
    """Return the keys of a collection from its trusted metadata: root chain by version, bytes of each role."""
    signed = {version: _signed(body) for version, body in roots.items()}
    newest = signed[max(signed)]
    entries: dict[str, Any] = dict(newest["roles"])
    for body in bodies.values():
        delegations = _signed(body).get("delegations") or {}
        entries |= {entry["name"]: entry for entry in delegations.get("roles") or ()}
    since: dict[str, int] = {}
    for version in sorted(signed, reverse=True):
        since |= dict.fromkeys(signed[version]["keys"], version)
    return CollectionKeys(
        name=name,
        keyids={role: tuple(entry["keyids"]) for role, entry in entries.items()},
        thresholds={role: int(entry["threshold"]) for role, entry in entries.items()},
        expires=expires,
        since_root=since,
    )


def audited(held: Iterable[HeldKey], collections: Sequence[CollectionKeys]) -> list[AuditedKey]:
    """Return every key, those with a name here first; one that has two names is there twice."""
    at_hand: dict[str, list[HeldKey]] = {}
    for key in held:
        at_hand.setdefault(key.keyid, []).append(key)
    duties: dict[str, list[Duty]] = {keyid: [] for keyid in at_hand}
    for collection in collections:
        for role, keyids in collection.keyids.items():
            for keyid in keyids:
                duty = Duty(
                    collection=collection.name,
                    role=role,
                    expires=collection.expires.get(role),
                    since_root=collection.since_root.get(keyid),
                )
                duties.setdefault(keyid, []).append(duty)
    return [
        AuditedKey(keyid=keyid, held=name, duties=tuple(each))
        for keyid, each in duties.items()
        for name in at_hand.get(keyid) or (None,)
    ]


def findings(keys: Sequence[AuditedKey], collections: Sequence[CollectionKeys], *, now: datetime) -> list[Finding]:
    """Return what is wrong, the worst first."""
    places = places_of(key.held for key in keys if key.held is not None)
    found = [finding for collection in collections for finding in shared_places(collection, places)]
    for key in {key.keyid: key for key in keys}.values():
        names = sorted({duty.collection for duty in key.duties})
        if len(names) > 1:
            hint = "give each its own: metadata of collections that share a key can be swapped"
            found.append(error(f"key {_shown(key)} signs for {len(names)} collections: {', '.join(names)}", hint))
    for collection in collections:
        for role, moment in sorted(collection.expires.items()):
            if moment <= now:
                hint = f"trust renew {collection.name}; where others publish, ask them"
                found.append(error(f"{role} of {collection.name} expired on {format_utc(moment)}", hint))
    unused = [key for key in keys if not key.duties]
    return [*found, *(warning(f"key {_shown(key)} signs nothing that is known here") for key in unused)]


def places_of(held: Iterable[HeldKey]) -> dict[str, set[str]]:
    """Return the places of each key at hand, by its key id."""
    places: dict[str, set[str]] = {}
    for key in held:
        places.setdefault(key.keyid, set()).add(key.place)
    return places


def shared_places(collection: CollectionKeys, places: Mapping[str, set[str]]) -> list[Finding]:
    """Return where one theft gives both the root and an online key; ``places`` as ``places_of`` gives them."""
    root = collection.keyids.get("root", ())
    online = {keyid for role in _ONLINE for keyid in collection.keyids.get(role, ())}
    both = sorted(online.intersection(root))
    if both:
        return [
            error(f"root and an online role of {collection.name} are signed by one key {both[0][:_SHOWN]}", _APART)
        ]
    found = []
    for place in sorted({place for keyid in online for place in places.get(keyid, ())}):
        here = [keyid for keyid in root if place in places.get(keyid, ())]
        if len(here) >= collection.thresholds.get("root", 1):
            found.append(
                error(f"root and online keys of {collection.name} live in the same place: {place}", _APART)
            )
    return found


_APART = "keep the root key on a token, or on a machine without a network: who takes the online key takes both"


def _signed(body: bytes) -> dict[str, Any]:
    signed: dict[str, Any] = json.loads(body)["signed"]  # of the trusted state: verified when it came in
    return signed


def _shown(key: AuditedKey) -> str:
    return key.held.name if key.held is not None else key.keyid[:_SHOWN]
