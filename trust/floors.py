"""Owns what is trusted before a refresh, and what follows: nothing goes back, no version has two contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root

from trust.canonical import signed_bytes
from trust.chain import TrustedChain, TrustedRole
from trust.delegations import TARGETS, Roles
from trust.errors import InputError, RefusedError, StateError
from trust.metadata import parse_metadata, require_binding
from trust.policy import Stanza
from trust.role_keys import Delegator, require_distinct_keys, require_single_ids
from trust.roles import REVOKED_FIELD
from trust.targets import Tombstone, parse_tombstones, taken_back
from trust.value import dataclass
from trust.verdict import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is trusted already: the chain, the roots by version, the raw bytes of each role, what it says."""

    chain: TrustedChain | None
    roots: Mapping[int, bytes]
    body: Callable[[str], bytes | None]
    stored: Roles | None

    def role(self, name: str) -> TrustedRole | None:
        """Return what is known of a role, or None."""
        return self.chain.roles.get(name) if self.chain is not None else None

    def under(self, name: str, delegator: str) -> TrustedRole | None:
        """Return what is known of a role as a delegate of ``delegator``, or None."""
        return self.chain.under(name, delegator) if self.chain is not None else None


NOTHING = Known(chain=None, roots={}, body=lambda _role: None, stored=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """The verified chain of roots; the newest is the last."""

    bodies: Mapping[int, bytes]
    newest: Metadata[Root]


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """The checks of a newly verified role that python-tuf lacks, against what is known and the policy."""

    stanza: Stanza
    known: Known
    roots: Roots
    identity: str

    def require(
        self, delegator: Delegator, name: str, metadata: Metadata[Any], body: bytes, *, has_floor: bool
    ) -> None:
        """Refuse a role that is not of this collection, not by enough keys, or goes back."""
        require_binding(metadata.signed, name, self.identity)
        require_distinct_keys(delegator, metadata, name)
        require_single_ids(delegator, name)
        version = metadata.signed.version
        floor = self.stanza.floors.get(name, 0)
        if version < floor:
            raise RefusedError(
                f"role {name} is older than the policy's floor: expected at least version {floor}, got {version}",
                reason=Reason.ROLLED_BACK.value,
            )
        if has_floor:
            self._require_one_content(name, version, body)
            self._require_tombstones(name, metadata)

    def _require_one_content(self, name: str, version: int, body: bytes) -> None:
        before = self.known.role(name)
        if before is None or before.facts.version != version or self.known.body(name) == body:
            return
        if before.delegator == "root":
            require_sound(self.known, self.roots, name)
        raise RefusedError(f"role {name} version {version} has two contents", reason=Reason.TAMPERED.value)

    def _require_tombstones(self, name: str, metadata: Metadata[Any]) -> None:
        """Refuse targets in which a revocation that was seen here has gone.

        A publisher without state can be shown a store from before it, and sign on; nobody takes a revocation back.
        """
        before = self.known.body(name)
        if metadata.signed.type != TARGETS or before is None:
            return
        try:
            seen = _tombstones(parse_metadata(before, name))
        except (RefusedError, InputError) as err:
            raise damaged(name, str(err)) from err
        try:
            gone = taken_back(seen, _tombstones(metadata))
        except InputError as err:
            raise RefusedError(str(err), reason=Reason.TAMPERED.value) from err
        if gone is not None:
            raise RefusedError(
                f"a revocation has gone: {gone} was revoked when this was last verified",
                reason=Reason.ROLLED_BACK.value,
                hint="the publisher signed on an old state of the store",
            )


def _tombstones(metadata: Metadata[Any]) -> Mapping[str, Tombstone]:
    return parse_tombstones(metadata.signed.unrecognized_fields.get(REVOKED_FIELD, {}))


def usable_bodies(known: Known, roots: Roots) -> dict[str, bytes]:
    """Return the stored bodies that count as floors, without those whose keys a newer root changed.

    Raises:
        StateError: a floor is not what was stored; ngclient would pass over it, and take a rollback for news.
    """
    if known.chain is None:
        return {}
    for name in ("timestamp", "snapshot"):
        require_sound(known, roots, name)
    after = roots.newest.signed
    changed = any(
        _root_of(known, roots, name).roles[name].keyids != after.roles[name].keyids
        for name in ("timestamp", "snapshot")
    )
    names = (TARGETS,) if changed else ("timestamp", "snapshot", TARGETS)
    return {name: body for name in names if (body := known.body(name)) is not None}


def _root_of(known: Known, roots: Roots, name: str) -> Root:
    """Return the root under which the stored ``name`` was verified."""
    role = known.role(name)
    body = roots.bodies.get(role.root_version) if role else None
    if body is None:
        raise damaged(name, "it has no root")
    root: Root = parse_metadata(body, "root").signed
    return root


def require_sound(known: Known, roots: Roots, name: str) -> None:
    """Require that the stored ``name`` still is what was verified."""
    root, body = _root_of(known, roots, name), known.body(name)
    try:
        metadata = parse_metadata(body or b"", name)
        root.verify_delegate(name, signed_bytes(metadata), metadata.signatures)
    except (RefusedError, exceptions.RepositoryError) as err:
        raise damaged(name, str(err)) from err
    if metadata.signed.type != name:  # one key may sign several roles
        raise damaged(name, f"it is a {metadata.signed.type}")


def damaged(name: str, cause: str) -> StateError:
    """Return the error of a stored role that is not what was verified."""
    return StateError(
        f"trusted state is damaged: role {name}: {cause}",
        hint="restore it from a backup, or move it away to start fresh from the pinned root",
    )
