"""Owns the change that waits for signatures, as a value and as one JSON document (schema 1).

It names the collection and, role by role, delegators first: what is signed, by whom so far, and the version and
sha256 of the file that it replaces (none for a new role). Only the roles themselves are in it: snapshot and
timestamp are made when it is complete. Its id is the sha256 of the canonical form of all that is signed in it,
so that who gives the id has named the content. Whoever can write to the store can put anything there: what is
read is parsed strictly, and trusted in nothing before ``trust.proposal`` has compared it with what is current.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from tuf.api.metadata import Metadata, Root

from trust.canonical import signed_bytes
from trust.delegations import TARGETS, checked_role
from trust.digest import Digest, parse_digest, sha256
from trust.errors import InputError
from trust.metadata import delegations_of, require_one_reading, table_of
from trust.stores.interface import PENDING_MAX_BYTES, checked_name
from trust.strict_json import strict_json
from trust.targets import Content
from trust.value import dataclass

SCHEMA = 1
PREFIX_MIN = 8  # hex digits of an id that are enough on the command line, where they are unambiguous
_KINDS = ("root", TARGETS)
_PREFIX = re.compile(rf"(?:sha256:)?([0-9a-f]{{{PREFIX_MIN},64}})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The file that a change of a role replaces."""

    version: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRole:
    """One role of a change, signed so far; ``base`` is None where the role is new."""

    name: str
    delegator: str
    base: Base | None
    metadata: Metadata[Any]

    @property
    def file_name(self) -> str:
        """The name that its file will have."""
        return f"{self.metadata.signed.version}.{self.name}.json"

    @property
    def owner(self) -> str:
        """The role that people know: of a bin, the one it belongs to."""
        return self.delegator if is_bin_name(self.name) else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A change that waits for signatures."""

    identity: str
    roles: tuple[PendingRole, ...]

    @property
    def id(self) -> Digest:
        """The digest of all that is signed in it."""
        return sha256(b"[" + b",".join(signed_bytes(role.metadata) for role in self.roles) + b"]")

    @property
    def place(self) -> str:
        """The name under which it waits: its first role that is no bin, else the one whose bins they are."""
        return next((role.name for role in self.roles if role.owner == role.name), self.roles[0].owner)

    @property
    def owners(self) -> frozenset[str]:
        """The roles that it changes; of bins, the role they belong to."""
        return frozenset(role.owner for role in self.roles)

    @property
    def root(self) -> Root | None:
        """The new root, if there is one."""
        return next((role.metadata.signed for role in self.roles if role.name == "root"), None)

    def contents(self) -> dict[str, Content]:
        """Return what each of its targets roles says.

        Raises:
            RefusedError: a signed field is malformed.
        """
        return {
            role.name: Content(
                table=table_of(role.metadata.signed), delegations=delegations_of(role.metadata.signed)
            )
            for role in self.roles
            if role.name != "root"
        }


def is_bin_name(name: str) -> bool:
    """Tell whether ``name`` is that of a bin: no other role has a hyphen in it."""
    return "-" in name


def id_prefix(text: str) -> str:
    """Return the hex digits with which ``text`` names a change: ``sha256:…``, or at least its first eight.

    Raises:
        InputError: it is no such beginning.
    """
    match = _PREFIX.fullmatch(text)
    if match is None:
        raise InputError(
            f"change is malformed: expected sha256:… or at least {PREFIX_MIN} hex digits of it, got {text[:80]!r}",
            hint="trust pending COLLECTION lists the changes that wait",
        )
    return match[1]


def pending_document(pending: Pending) -> dict[str, Any]:
    """Return ``pending`` as the object that is written."""
    return {
        "schema": SCHEMA,
        "collection": pending.identity,
        "roles": [
            {
                "name": role.name,
                "delegator": role.delegator,
                "base": None
                if role.base is None
                else {"version": role.base.version, "sha256": role.base.digest.hex},
                "metadata": role.metadata.to_dict(),
            }
            for role in pending.roles
        ],
    }


def pending_bytes(pending: Pending) -> bytes:
    """Return ``pending`` as it is kept in a store."""
    return json.dumps(pending_document(pending), sort_keys=True, separators=(",", ":")).encode()


def parse_pending(untrusted_bytes: bytes) -> Pending:
    """Return the change that ``untrusted_bytes`` spell.

    Raises:
        InputError: they spell none, or one of another schema, or in another way than ``pending_bytes``.
    """
    document = strict_json(untrusted_bytes, max_bytes=PENDING_MAX_BYTES, what="pending change")
    pending = parse_pending_document(document)
    if pending_bytes(pending) != untrusted_bytes:
        raise InputError("pending change is spelled in another way than it is written here")
    return pending


def parse_pending_document(untrusted: object) -> Pending:
    """Return the change of a document that was read from JSON; see ``parse_pending``."""
    document = _object(untrusted, {"schema", "collection", "roles"}, "pending change")
    if document["schema"] != SCHEMA:
        raise InputError(
            f"pending change has another schema: expected {SCHEMA}, got {str(document['schema'])[:20]!r}",
            hint="a newer trust wrote it; use one of that version",
        )
    identity, roles = document["collection"], document["roles"]
    if not isinstance(identity, str) or not isinstance(roles, list) or not roles:
        raise InputError("pending change is malformed: expected a collection and at least one role")
    parsed = tuple(map(_role, roles))
    if len({role.name for role in parsed}) != len(parsed):
        raise InputError("pending change is malformed: a role stands twice")
    return Pending(identity=identity, roles=parsed)


def _role(untrusted: object) -> PendingRole:
    entry = _object(untrusted, {"name", "delegator", "base", "metadata"}, "role of a pending change")
    name, delegator = _name(entry["name"]), _name(entry["delegator"])
    try:
        metadata: Metadata[Any] = Metadata.from_dict(deepcopy(entry["metadata"]))
        spelled = metadata.to_dict()
    except Exception as err:  # python-tuf checks shapes by stumbling over them: any error means "not metadata"
        raise InputError(f"pending change of {name} is not TUF metadata: {str(err)[:120]!r}") from err
    if spelled != entry["metadata"]:
        raise InputError(f"pending change of {name} is spelled in a way that is not understood here")
    if metadata.signed.type != (name if name == "root" else TARGETS) or metadata.signed.type not in _KINDS:
        raise InputError(f"pending change of {name} holds a {metadata.signed.type[:20]!r}")
    require_one_reading(metadata.signed)
    return PendingRole(name=name, delegator=delegator, base=_base(entry["base"], name), metadata=metadata)


def _base(untrusted: object, name: str) -> Base | None:
    if untrusted is None:
        return None
    entry = _object(untrusted, {"version", "sha256"}, f"base of {name}")
    version = entry["version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"base of {name} is malformed: expected a version, got {str(version)[:20]!r}")
    return Base(version=version, digest=parse_digest(f"sha256:{entry['sha256']}"))


def _name(untrusted: object) -> str:
    if not isinstance(untrusted, str):
        raise InputError("pending change is malformed: a role has no name")
    if untrusted in _KINDS:
        return untrusted
    if is_bin_name(untrusted):
        return checked_name(f"{untrusted}.json").removesuffix(".json")
    return checked_role(untrusted)


def _object(untrusted: object, keys: Iterable[str], what: str) -> Mapping[str, Any]:
    if not isinstance(untrusted, dict) or set(untrusted) != set(keys):
        raise InputError(f"{what} is malformed: expected exactly {', '.join(sorted(keys))}")
    return untrusted
