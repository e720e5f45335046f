"""Owns the publisher's view of a collection: its current metadata, verified, for an edit to build on.

It verifies as a consumer would, but for expiry: the publisher is the one who mends that.

  1. roots are walked from the pinned one
  2. timestamp, snapshot, targets: signatures, lengths and hashes
  3. each is bound to this collection and to its role
  4. nothing is older than what was published from here before
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from trust.errors import RefusedError, UnreachableError
from trust.metadata import (
    SNAPSHOT_MAX_BYTES,
    TARGETS_MAX_BYTES,
    TIMESTAMP_MAX_BYTES,
    identity_of,
    parse_metadata,
    require_binding,
    require_distinct_keys,
    table_of,
)
from trust.policy import Stanza
from trust.refresh import Known, Roots, walk_roots
from trust.roles import BASE_FIELD
from trust.stores.interface import TIMESTAMP, View
from trust.targets import Table
from trust.value import dataclass
from trust.verdict import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The verified current metadata of a collection, expired or not."""

    view: View
    identity: str
    roots: Roots
    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    timestamp_bytes: bytes
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    table: Table
    is_merged: bool = False  # the table has more than the targets role: a passed-over change

    def versions(self) -> dict[str, int]:
        """Return the current version of each top-level role."""
        return {
            role.signed.type: role.signed.version
            for role in (self.root, self.timestamp, self.snapshot, self.targets)
        }

    @property
    def base_version(self) -> object:
        """The version of the targets role that this one was made from, as it says itself."""
        return self.targets.signed.unrecognized_fields.get(BASE_FIELD)

    def files(self) -> tuple[str, ...]:
        """Return the names of the versioned files that are current; every root is."""
        return (
            *(f"{version}.root.json" for version in self.roots.bodies),
            f"{self.snapshot.signed.version}.snapshot.json",
            f"{self.targets.signed.version}.targets.json",
        )


def load(stanza: Stanza, view: View, *, floors: Mapping[str, int]) -> Loaded:
    """Return the current metadata that ``view`` shows, verified from the pinned root (steps 1 to 4).

    ``floors`` are the lowest versions that are still current.

    Raises:
        RefusedError: it is not trusted, or older than ``floors``, what was built upon here before.
        UnreachableError: it is not there or incomplete.
    """
    roots = walk_roots(stanza, Known(chain=None, roots={}, bodies={}), view)
    loaded = load_under(roots, view)
    for name, version in loaded.versions().items():
        if version < floors.get(name, 0):
            raise RefusedError(
                f"role {name} is older than what was published from here, or than the policy's floor: "
                f"expected at least version "
                f"{floors[name]}, got {version}",
                reason=Reason.ROLLED_BACK.value,
                hint="somebody set the store back; find out who before signing anything",
            )
    return loaded


def load_under(roots: Roots, view: View) -> Loaded:
    """Return what ``view`` shows below exactly these roots (steps 2 and 3); its own roots are not read.

    A change that was passed over is read so: by the keys that sign now, not by those of the day it was made.

    Raises:
        RefusedError: it is not trusted. UnreachableError: it is not there or incomplete.
    """
    root = roots.newest
    timestamp_bytes = _read(view, TIMESTAMP, TIMESTAMP_MAX_BYTES)
    timestamp = _verified(root.signed, "timestamp", timestamp_bytes)
    link = timestamp.signed.snapshot_meta
    snapshot = _linked(root.signed, "snapshot", link, view, SNAPSHOT_MAX_BYTES)
    targets_link = snapshot.signed.meta.get("targets.json")
    if targets_link is None:
        raise RefusedError("snapshot names no targets role", reason=Reason.TAMPERED.value)
    targets = _linked(root.signed, "targets", targets_link, view, TARGETS_MAX_BYTES)
    identity = identity_of(parse_metadata(roots.bodies[1], "root").signed)
    loaded = Loaded(
        view=view,
        identity=identity,
        roots=roots,
        root=root,
        timestamp=timestamp,
        timestamp_bytes=timestamp_bytes,
        snapshot=snapshot,
        targets=targets,
        table=table_of(targets.signed),
    )
    for name, metadata in (("root", root), ("timestamp", timestamp), ("snapshot", snapshot), ("targets", targets)):
        require_binding(metadata.signed, name, identity)
    return loaded


def _read(view: View, name: str, max_bytes: int) -> bytes:
    data = view.read(name, max_bytes)
    if data is None:
        raise UnreachableError(f"metadata has no {name}", hint="was the collection initialised there?")
    return data


def _linked(root: Root, name: str, link: MetaFile, view: View, max_bytes: int) -> Metadata[Any]:
    data = _read(view, f"{link.version}.{name}.json", min(max_bytes, link.length or max_bytes))
    try:
        link.verify_length_and_hashes(data)
    except RepositoryError as err:
        raise RefusedError(f"role {name} version {link.version}: {err}", reason=Reason.TAMPERED.value) from err
    metadata = _verified(root, name, data)
    if metadata.signed.version != link.version:  # a stolen online key could name old targets by a new number
        raise RefusedError(
            f"role {name} is of another version: expected {link.version}, got {metadata.signed.version}",
            reason=Reason.ROLLED_BACK.value,
        )
    return metadata


def _verified(root: Root, name: str, data: bytes) -> Metadata[Any]:
    metadata = parse_metadata(data, name)
    if metadata.signed.type != name:
        raise RefusedError(f"role {name} holds a {metadata.signed.type}", reason=Reason.TAMPERED.value)
    require_distinct_keys(root, metadata, name)
    return metadata
