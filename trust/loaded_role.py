"""Owns what a publisher has read and verified of a collection: its top, one role, or why a role is not trusted."""

from __future__ import annotations

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from trust.delegations import TARGETS
from trust.errors import RefusedError, UnreachableError
from trust.floors import Roots
from trust.roles import BASE_FIELD
from trust.targets import Content
from trust.value import dataclass
from trust.verdict import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRole:
    """A verified targets role, and the role that delegates to it."""

    name: str
    delegator: str
    metadata: Metadata[Targets]
    body: bytes
    content: Content

    @property
    def version(self) -> int:
        """Its current version."""
        return self.metadata.signed.version

    @property
    def base_version(self) -> object:
        """The version that this one was made from, as it says itself."""
        return self.metadata.signed.unrecognized_fields.get(BASE_FIELD)


class UnreadableRoleError(RefusedError):
    """A role says what is not understood, signed by its own keys; or its delegator names one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrusted:
    """A delegated role that was passed over, and why; whatever it covers is refused by every consumer."""

    name: str
    delegator: str
    cause: RefusedError | UnreachableError

    @property
    def is_of_delegates(self) -> bool:
        """Tell whether delegates have done that themselves: neither the store nor an online key is to blame."""
        is_below = self.delegator not in {"root", TARGETS}
        reason = getattr(self.cause, "reason", None)
        return isinstance(self.cause, UnreadableRoleError) or (is_below and reason == Reason.BELOW_THRESHOLD.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopLevel:
    """The verified top of a collection, expired or not."""

    identity: str
    roots: Roots
    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    timestamp_bytes: bytes
    snapshot: Metadata[Snapshot]
    snapshot_bytes: bytes
