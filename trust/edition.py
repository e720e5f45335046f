"""Owns the next edition of a collection: roles edited, numbered, dated and signed, ready for a store.

  1. the roles that change get the next free number, a new expiry, and signatures up to the threshold
  2. the snapshot names every role that consumers look for, the timestamp names the snapshot

A published (role, version) never has two contents: a number whose file exists is burnt and skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from trust.digest import sha256
from trust.errors import InputError, LimitError, UnavailableError
from trust.metadata import identity_of, parse_metadata, period_of
from trust.repository import Loaded
from trust.roles import BASE_FIELD, COLLECTION_FIELD, EXPIRY_FIELD, REVOKED_FIELD, ROLE_FIELD, VERSION_JUMP_MAX
from trust.stores.interface import Publication, View
from trust.targets import Table, target_custom, tombstone_json
from trust.value import dataclass

Signers = Mapping[str, Signer]
Keyring = Callable[[Collection[str]], Signers]
"""Takes the key ids that may sign, returns the signers of those that are at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who signs a role at the beginning of a collection, how many of them, and for how long."""

    keys: tuple[Key, ...]
    threshold: int
    period: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What a publish writes, and the versions that consumers will see."""

    publication: Publication
    versions: Mapping[str, int]


def first_root(*, identity: str, roles: Mapping[str, Role], signers: Signers, now: datetime) -> bytes:
    """Return root version 1, signed: what consumers pin.

    Raises:
        UnavailableError: the root's threshold cannot be met by ``signers``.
    """
    periods = {name: int(role.period.total_seconds()) for name, role in roles.items()}
    root = Root(
        version=1,
        expires=_expiry(now, roles["root"].period),
        consistent_snapshot=True,
        unrecognized_fields={**_binding(identity, "root"), EXPIRY_FIELD: periods},
    )
    for name, role in roles.items():
        for key in role.keys:
            root.add_key(key, name)
        root.roles[name].threshold = role.threshold
    return _signed(root, root, "root", signers)


def first_edition(root_bytes: bytes, *, signers: Signers, view: View, now: datetime) -> Edition:
    """Return the first edition of a collection under its first root: no target.

    Where an earlier attempt left files behind, their numbers are burnt and the root is the one that is there.

    Raises:
        UnavailableError: a role's threshold cannot be met by ``signers``.
    """
    root = parse_metadata(root_bytes, "root").signed
    identity = identity_of(root)
    versions = {
        "root": 1,
        "targets": _free(view, "targets", 0),
        "snapshot": _free(view, "snapshot", 0),
        "timestamp": 1,
    }
    targets = Targets(
        version=versions["targets"],
        expires=_expiry(now, period_of(root, "targets")),
        targets={},
        unrecognized_fields=_binding(identity, "targets"),
    )
    targets_bytes = _signed(targets, root, "targets", signers)
    files = {"1.root.json": root_bytes, f"{versions['targets']}.targets.json": targets_bytes}
    base = _Base(view=view, timestamp=None, kept=())
    return _sealed(root, identity, files, targets_bytes, versions=versions, base=base, signers=signers, now=now)


def next_edition(
    loaded: Loaded,
    *,
    table: Table | None = None,
    renew_root: bool = False,
    renew_targets: bool = False,
    signers: Signers,
    now: datetime,
) -> Edition:
    """Return the edition after ``loaded``: targets as in ``table`` where given, snapshot and timestamp anew.

    Raises:
        UnavailableError: a threshold cannot be met by ``signers``.
        LimitError: no free version number within ``VERSION_JUMP_MAX``.
    """
    root, files = loaded.root.signed, {}
    versions = dict(loaded.versions())
    if renew_root:
        root = _next_root(loaded, now)
        versions["root"] = root.version
        files[f"{root.version}.root.json"] = _signed(root, loaded.root.signed, "root", signers)
    targets_bytes = None
    if table is not None or renew_targets or loaded.is_merged:
        versions["targets"] = _free(loaded.view, "targets", loaded.targets.signed.version)
        targets = _targets(loaded, table or loaded.table, versions["targets"], now)
        targets_bytes = _signed(targets, root, "targets", signers)
        files[f"{versions['targets']}.targets.json"] = targets_bytes
    versions["snapshot"] = _free(loaded.view, "snapshot", loaded.snapshot.signed.version)
    # In step with the snapshot, whose number is nobody else's: the timestamp's name has none that could be taken.
    versions["timestamp"] = max(loaded.timestamp.signed.version + 1, versions["snapshot"])
    replaced = {"snapshot", *(["targets"] if targets_bytes else [])}
    kept = tuple(name for name in loaded.files() if name.split(".")[1] not in replaced)
    base = _Base(view=loaded.view, timestamp=loaded.timestamp_bytes, kept=kept, settles=targets_bytes is not None)
    link = None if targets_bytes else loaded.snapshot.signed.meta["targets.json"]
    return _sealed(
        root, loaded.identity, files, targets_bytes, versions=versions, base=base, signers=signers, now=now,
        targets_link=link,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    view: View
    timestamp: bytes | None
    kept: tuple[str, ...]
    settles: bool = True


def _sealed(
    root: Root,
    identity: str,
    files: Mapping[str, bytes],
    targets_bytes: bytes | None,
    *,
    versions: Mapping[str, int],
    base: _Base,
    signers: Signers,
    now: datetime,
    targets_link: MetaFile | None = None,
) -> Edition:
    """Return the edition with a snapshot over the targets and a timestamp over the snapshot (step 3)."""
    if targets_bytes is not None:
        targets_link = _link(versions["targets"], targets_bytes)
    if targets_link is None:
        raise InputError("an edition needs its targets role")
    snapshot = Snapshot(
        version=versions["snapshot"],
        expires=_expiry(now, period_of(root, "snapshot")),
        meta={"targets.json": targets_link},
        unrecognized_fields=_binding(identity, "snapshot"),
    )
    snapshot_bytes = _signed(snapshot, root, "snapshot", signers)
    timestamp = Timestamp(
        version=versions["timestamp"],
        expires=_expiry(now, period_of(root, "timestamp")),
        snapshot_meta=_link(versions["snapshot"], snapshot_bytes),
        unrecognized_fields=_binding(identity, "timestamp"),
    )
    publication = Publication(
        base=base.view,
        base_timestamp=base.timestamp,
        files={**files, f"{versions['snapshot']}.snapshot.json": snapshot_bytes},
        kept=base.kept,
        timestamp=_signed(timestamp, root, "timestamp", signers),
        settles=base.settles,
    )
    return Edition(publication=publication, versions=versions)


def _next_root(loaded: Loaded, now: datetime) -> Root:
    root = Root.from_dict(loaded.root.signed.to_dict())
    root.version += 1
    root.expires = _expiry(now, period_of(root, "root"))
    return root


def _targets(loaded: Loaded, table: Table, version: int, now: datetime) -> Targets:
    fields: dict[str, Any] = {**_binding(loaded.identity, "targets"), BASE_FIELD: loaded.targets.signed.version}
    if table.revoked:
        fields[REVOKED_FIELD] = {digest: tombstone_json(tombstone) for digest, tombstone in table.revoked.items()}
    files = {
        path: TargetFile(target.size_bytes, {"sha256": target.digest.hex}, path, {"custom": target_custom(target)})
        for path, target in table.targets.items()
    }
    expires = _expiry(now, period_of(loaded.root.signed, "targets"))
    return Targets(version=version, expires=expires, targets=files, unrecognized_fields=fields)


def _signed(signed: Root | Snapshot | Targets | Timestamp, delegator: Root, name: str, signers: Signers) -> bytes:
    """Return ``signed`` with the signatures of every key of its role that is at hand."""
    metadata: Metadata[Any] = Metadata(signed)
    role = delegator.roles[name]
    for keyid in role.keyids:
        if keyid in signers:
            try:
                metadata.sign(signers[keyid], append=True)
            except UnsignedMetadataError as err:
                cause = err.__cause__ or err  # what a token or KMS said, without "Failed to sign"
                raise UnavailableError(
                    f"key {keyid[:12]} could not sign {name}: {cause}", hint=getattr(cause, "hint", None)
                ) from err
    if len(metadata.signatures) < role.threshold:
        raise UnavailableError(
            f"role {name} needs {role.threshold} signatures, {len(metadata.signatures)} of its keys are at hand",
            hint=f"bring a key of: {', '.join(keyid[:12] for keyid in role.keyids)}",
        )
    return metadata.to_bytes()


def _free(view: View, name: str, current: int) -> int:
    """Return the next version whose file nobody has used: a number is burnt by a crash or a loser."""
    for version in range(current + 1, current + VERSION_JUMP_MAX):
        if not view.taken(f"{version}.{name}.json"):
            return version
    raise LimitError(f"role {name} has no free version within {VERSION_JUMP_MAX} above {current}")


def _link(version: int, data: bytes) -> MetaFile:
    return MetaFile(version=version, length=len(data), hashes={"sha256": sha256(data).hex})


def _binding(identity: str, name: str) -> dict[str, str]:
    return {COLLECTION_FIELD: identity, ROLE_FIELD: name}


def _expiry(now: datetime, period: timedelta) -> datetime:
    return (now + period).replace(microsecond=0)
