"""Owns the next edition of a collection: a complete draft under a new snapshot and timestamp, ready for a store.

1. the snapshot names every role that consumers look for, the timestamp names the snapshot
2. where a root changes the keys of roles below it, these are signed by the old keys too and published first,
   so that no crash in between leaves consumers with a root under which nothing is signed
3. where an old key cannot sign, or must not, the root is the last new file of the one publication: a crash
   before the timestamp leaves consumers refusing, and the next publisher completes it (``trust.repository``)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from tuf.api.metadata import Root

from trust.canonical import metadata_bytes
from trust.chain import ONLINE_ROLES
from trust.draft import Draft, free
from trust.loaded import Loaded
from trust.role_keys import role_keys
from trust.seal import NO_PERIODS, Seal, SignedRole, link_of
from trust.signatures import Signers, missing
from trust.stores.interface import Publication, View
from trust.value import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What a publish writes, and the versions that consumers will see.

    ``roots_after`` are root files that go out once consumers see the rest, under a timestamp of their own: whoever
    built on the publication before must notice that the keys have changed.
    """

    publication: Publication
    versions: Mapping[str, int]
    roots_after: Mapping[str, bytes] = field(default_factory=dict)
    timestamp_after: bytes = b""

    def second(self, view: View) -> Publication:
        """Return the publication of ``roots_after``, over the first one as ``view`` shows it."""
        return Publication(
            base=view,
            base_timestamp=self.publication.timestamp,
            files=self.roots_after,
            kept=(*self.publication.kept, *self.publication.files),
            timestamp=self.timestamp_after,
            settles=False,
        )


def sealed(
    loaded: Loaded,
    draft: Draft,
    *,
    signers: Signers,
    now: datetime,
    settles: bool = True,
    periods: Mapping[str, timedelta] = NO_PERIODS,
) -> Edition:
    """Return the edition of a complete ``draft``; an empty one renews snapshot and timestamp alone.

    ``settles``: changes that were passed over are in it. ``periods`` shortens what the root says of snapshot and
    timestamp; it never extends it.

    Raises:
        UnavailableError: an online key is missing, or the draft is not complete.
        LimitError: no free version number within ``VERSION_JUMP_MAX``.
    """
    draft.require_complete()
    before = loaded.top.root.signed
    root = draft.root or before
    moved = {name for name in (*ONLINE_ROLES, "targets") if _keys(before, name) != _keys(root, name)}
    seal = Seal(
        identity=loaded.identity,
        delegators=(root, before) if moved & set(ONLINE_ROLES) else (root,),
        signers=signers,
        now=now,
        periods=periods,
    )
    bodies = {role.file_name: metadata_bytes(role.metadata) for role in draft.roles}
    below = [role for role in draft.roles if role.name != "root"]
    meta = dict(loaded.top.snapshot.signed.meta)
    for role in below:
        meta[f"{role.name}.json"] = link_of(role.version, bodies[role.file_name], is_bin=role.is_bin)
    current = loaded.top.snapshot.signed.version
    number = free(loaded.view, "snapshot", current)
    # In step with the snapshot, whose number is nobody else's: the timestamp's name has none that could be taken.
    snapshot, timestamp = seal.over(
        meta, version=number, timestamp=max(loaded.top.timestamp.signed.version + 1, number)
    )
    roots = {role.file_name: bodies[role.file_name] for role in draft.roles if role.name == "root"}
    # A stolen key signs nothing more: then the root goes out with the rest, and nothing is safe in between.
    is_safe = bool(moved) and all(_suffices(before, name, draft, snapshot, timestamp) for name in moved)
    files = {role.file_name: bodies[role.file_name] for role in below}
    files |= {f"{number}.snapshot.json": snapshot.body} | ({} if is_safe else roots)
    replaced = {"snapshot", *(role.name for role in below)}
    publication = Publication(
        base=loaded.view,
        base_timestamp=loaded.top.timestamp_bytes,
        files=files,
        kept=tuple(name for name in loaded.files() if role_of(name) not in replaced),
        timestamp=timestamp.body,
        settles=settles,
    )
    versions = loaded.versions() | {role.name: role.version for role in draft.roles}
    versions |= {"snapshot": number, "timestamp": timestamp.version + is_safe}
    return Edition(
        publication=publication,
        versions=versions,
        roots_after=roots if is_safe else {},
        timestamp_after=seal.above(snapshot, timestamp.version + 1).body if is_safe else b"",
    )


def role_of(file_name: str) -> str:
    """Return the role of ``3.acme.web.json``."""
    return file_name.split(".", 1)[1].removesuffix(".json")


def _suffices(before: Root, name: str, draft: Draft, snapshot: SignedRole, timestamp: SignedRole) -> bool:
    """Tell whether ``name``, as this edition has it, is trusted under the root ``before`` too."""
    metadata = {"snapshot": snapshot.metadata, "timestamp": timestamp.metadata}.get(name)
    if metadata is None:
        metadata = next((role.metadata for role in draft.roles if role.name == name), None)
    return metadata is not None and missing(before, metadata, name) == 0


def _keys(root: Root, name: str) -> tuple[frozenset[str], int]:
    role = role_keys(root, name)
    return frozenset(role.keyids), role.threshold
