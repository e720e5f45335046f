"""Owns the first edition of a collection: root version 1, which consumers pin, and roles that sign nothing yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root

from trust.canonical import metadata_bytes
from trust.draft import DraftRole, free
from trust.edition import Edition
from trust.metadata import identity_of, parse_metadata, period_of
from trust.roles import EXPIRY_FIELD
from trust.seal import Seal, link_of
from trust.signatures import Signers, require_signed, sign_for
from trust.stores.interface import Publication, View
from trust.targets import Content, Table
from trust.tuf_role import binding, expiry, targets_role
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who signs a role at the beginning of a collection, how many of them, and for how long."""

    keys: tuple[Key, ...]
    threshold: int
    period: timedelta


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
    seal = Seal(identity=identity_of(root), delegators=(root,), signers=signers, now=now)
    body = metadata_bytes(role.metadata)
    snapshot, timestamp = seal.over(
        {"targets.json": link_of(role.version, body, is_bin=False)},
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
