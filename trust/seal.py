"""Owns the seal of an edition: the snapshot that names its roles, and the timestamp that names the snapshot.

A bin is named by its version alone: with hashes the snapshot of 4,096 bins would be four times as large.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Timestamp

from trust.canonical import metadata_bytes
from trust.chain import ONLINE_ROLES
from trust.digest import sha256
from trust.metadata import period_of
from trust.role_keys import role_keys
from trust.roles import PERIOD_FIELD
from trust.signatures import Signers, require_signed, sign_for
from trust.tuf_role import binding, expiry
from trust.value import dataclass

NO_PERIODS: Mapping[str, timedelta] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRole:
    """A role that is signed as far as it has to be."""

    metadata: Metadata[Any]

    @property
    def version(self) -> int:
        """Its number."""
        version: int = self.metadata.signed.version
        return version

    @property
    def body(self) -> bytes:
        """Its file."""
        return metadata_bytes(self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Signs snapshot and timestamp: for the first of ``delegators`` enough, for others what it can."""

    identity: str
    delegators: tuple[Root, ...]
    signers: Signers
    now: datetime
    periods: Mapping[str, timedelta] = NO_PERIODS

    def over(self, meta: Mapping[str, MetaFile], *, version: int, timestamp: int) -> tuple[SignedRole, SignedRole]:
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

    def above(self, snapshot: SignedRole, version: int) -> SignedRole:
        """Return a timestamp over ``snapshot``."""
        timestamp = Timestamp(
            version=version,
            expires=expiry(self.now, self._period("timestamp")),
            snapshot_meta=link_of(snapshot.version, snapshot.body, is_bin=False),
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

    def _signed(self, signed: Snapshot | Timestamp) -> SignedRole:
        metadata: Metadata[Any] = Metadata(signed)
        sign_for(self.delegators, metadata, signed.type, self.signers)
        require_signed(self.delegators[:1], metadata, signed.type)
        return SignedRole(metadata=metadata)


def can_seal(root: Root, signers: Signers) -> bool:
    """Tell whether ``signers`` are enough for a snapshot and a timestamp under ``root``."""
    return all(
        len(signers.keys() & set(role_keys(root, name).keyids)) >= role_keys(root, name).threshold
        for name in ONLINE_ROLES
    )


def link_of(version: int, body: bytes, *, is_bin: bool) -> MetaFile:
    """Return how the role above names the file ``body``."""
    if is_bin:
        return MetaFile(version=version)
    return MetaFile(version=version, length=len(body), hashes={"sha256": sha256(body).hex})
