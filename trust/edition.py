"""Owns the next edition of a collection: a complete draft under a new snapshot and timestamp, ready for a store.

  1. the snapshot names every role that consumers look for, the timestamp names the snapshot
  2. where a root changes the keys of roles below it, these are signed by the old keys too and published first,
     so that no crash in between leaves consumers with a root under which nothing is signed
  3. where an old key cannot sign, or must not, the root is the last new file of the one publication: a crash
     before the timestamp leaves consumers refusing, and the next publisher completes it (``trust.repository``)

A bin is named by its version alone: with hashes the snapshot of 4,096 bins would be four times as large.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Timestamp

from trust.canonical import metadata_bytes
from trust.chain import ONLINE_ROLES
from trust.digest import sha256
from trust.draft import Draft, DraftRole, free
from trust.loaded import Loaded
from trust.metadata import identity_of, parse_metadata, period_of, role_keys
from trust.roles import EXPIRY_FIELD, PERIOD_FIELD
from trust.signatures import Signers, missing, require_signed, sign_for
from trust.stores.interface import Publication, View
from trust.targets import Content, Table
from trust.tuf_role import binding, expiry, targets_role
from trust.value import dataclass, field

NO_PERIODS: Mapping[str, timedelta] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who signs a role at the beginning of a collection, how many of them, and for how long."""

    keys: tuple[Key, ...]
    threshold: int
    period: timedelta


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


def first_root(*, identity: str, roles: Mapping[str, Role], signers: Signers, now: datetime) -> bytes:
    """Return root version 1, signed: what consumers pin.

    Raises:
        UnavailableError: the root's threshold cannot be met by ``signers``.
    """
    root = root_of(identity=identity, roles=roles, now=now)
    metadata: Metadata[Any] = Metadata(root)
    sign_for((root,), metadata, "root", signers)
    require_signed((root,), metadata, "root")
    return metadata_bytes(metadata)


def root_of(*, identity: str, roles: Mapping[str, Role], now: datetime) -> Root:
    """Return root version 1, not signed."""
    periods = {name: int(role.period.total_seconds()) for name, role in roles.items()}
    root = Root(
        version=1,
        expires=expiry(now, roles["root"].period),
        consistent_snapshot=True,
        unrecognized_fields={**binding(identity, "root"), EXPIRY_FIELD: periods},
    )
    for name, role in roles.items():
        for key in role.keys:
            root.add_key(key, name)
        root.roles[name].threshold = role.threshold
    return root


def first_edition(root_bytes: bytes, *, signers: Signers, view: View, now: datetime) -> Edition:
    """Return the first edition of a collection under its first root: no target.

    Where an earlier attempt left files behind, their numbers are burnt and the root is the one that is there.

    Raises:
        UnavailableError: a role's threshold cannot be met by ``signers``.
    """
    role = first_targets(parse_metadata(root_bytes, "root").signed, view=view, now=now)
    role.sign(signers)
    return first_sealed(root_bytes, role, signers=signers, view=view, now=now)


def first_targets(root: Root, *, view: View, now: datetime) -> DraftRole:
    """Return the first targets role under ``root``: it signs nothing yet, and is not signed."""
    targets = targets_role(
        Content(table=Table(targets={}, revoked={})),
        name="targets",
        identity=identity_of(root),
        version=free(view, "targets", 0),
        base_version=0,
        expires=expiry(now, period_of(root, "targets")),
    )
    return DraftRole(
        name="targets", delegator="root", metadata=Metadata(targets), delegators=(root,), base_version=0
    )


def first_sealed(root_bytes: bytes, role: DraftRole, *, signers: Signers, view: View, now: datetime) -> Edition:
    """Return the first edition over a signed root and its signed targets ``role``.

    Raises:
        UnavailableError: ``role`` is below its threshold, or an online key is missing.
    """
    root = parse_metadata(root_bytes, "root").signed
    require_signed(role.delegators, role.metadata, role.name)
    seal = _Seal(identity=identity_of(root), delegators=(root,), signers=signers, now=now)
    body = metadata_bytes(role.metadata)
    snapshot, timestamp = seal.over(
        {"targets.json": _link(role.version, body, is_bin=False)},
        version=free(view, "snapshot", 0),
        timestamp=1,
    )
    files = {"1.root.json": root_bytes, role.file_name: body, f"{snapshot.version}.snapshot.json": snapshot.body}
    publication = Publication(base=view, base_timestamp=None, files=files, kept=(), timestamp=timestamp.body)
    versions = {
        "root": 1,
        "targets": role.version,
        "snapshot": snapshot.version,
        "timestamp": timestamp.version,
    }
    return Edition(publication=publication, versions=versions)


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
    seal = _Seal(
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
        meta[f"{role.name}.json"] = _link(role.version, bodies[role.file_name], is_bin=role.is_bin)
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


def can_seal(root: Root, signers: Signers) -> bool:
    """Tell whether ``signers`` are enough for a snapshot and a timestamp under ``root``."""
    return all(
        len(signers.keys() & set(role_keys(root, name).keyids)) >= role_keys(root, name).threshold
        for name in ONLINE_ROLES
    )


def role_of(file_name: str) -> str:
    """Return the role of ``3.acme.web.json``."""
    return file_name.split(".", 1)[1].removesuffix(".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    metadata: Metadata[Any]

    @property
    def version(self) -> int:
        version: int = self.metadata.signed.version
        return version

    @property
    def body(self) -> bytes:
        return metadata_bytes(self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seal:
    """Signs snapshot and timestamp: for the first of ``delegators`` enough, for others what it can."""

    identity: str
    delegators: tuple[Root, ...]
    signers: Signers
    now: datetime
    periods: Mapping[str, timedelta] = NO_PERIODS

    def over(self, meta: Mapping[str, MetaFile], *, version: int, timestamp: int) -> tuple[_Signed, _Signed]:
        """Return a snapshot over the roles ``meta`` and a timestamp over the snapshot (step 1)."""
        snapshot = self._signed(
            Snapshot(
                version=version,
                expires=expiry(self.now, self._period("snapshot")),
                meta=dict(meta),
                unrecognized_fields=self._fields("snapshot"),
            )
        )
        return snapshot, self.above(snapshot, timestamp)

    def above(self, snapshot: _Signed, version: int) -> _Signed:
        """Return a timestamp over ``snapshot``."""
        timestamp = Timestamp(
            version=version,
            expires=expiry(self.now, self._period("timestamp")),
            snapshot_meta=_link(snapshot.version, snapshot.body, is_bin=False),
            unrecognized_fields=self._fields("timestamp"),
        )
        return self._signed(timestamp)

    def _period(self, name: str) -> timedelta:
        said = period_of(self.delegators[0], name)
        return min(said, self.periods.get(name, said))

    def _fields(self, name: str) -> dict[str, Any]:
        """Return the signed fields that are ours, the period only where the root says another."""
        period = self._period(name)
        is_own = period != period_of(self.delegators[0], name)
        return binding(self.identity, name) | ({PERIOD_FIELD: int(period.total_seconds())} if is_own else {})

    def _signed(self, signed: Snapshot | Timestamp) -> _Signed:
        metadata: Metadata[Any] = Metadata(signed)
        sign_for(self.delegators, metadata, signed.type, self.signers)
        require_signed(self.delegators[:1], metadata, signed.type)
        return _Signed(metadata=metadata)


def _suffices(before: Root, name: str, draft: Draft, snapshot: _Signed, timestamp: _Signed) -> bool:
    """Tell whether ``name``, as this edition has it, is trusted under the root ``before`` too."""
    metadata = {"snapshot": snapshot.metadata, "timestamp": timestamp.metadata}.get(name)
    if metadata is None:
        metadata = next((role.metadata for role in draft.roles if role.name == name), None)
    return metadata is not None and missing(before, metadata, name) == 0


def _keys(root: Root, name: str) -> tuple[frozenset[str], int]:
    role = role_keys(root, name)
    return frozenset(role.keyids), role.threshold


def _link(version: int, body: bytes, *, is_bin: bool) -> MetaFile:
    if is_bin:
        return MetaFile(version=version)
    return MetaFile(version=version, length=len(body), hashes={"sha256": sha256(body).hex})
