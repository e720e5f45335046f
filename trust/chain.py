"""Owns the trusted chain: what was verified of each role, from the pinned root to the role that answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleFacts:
    """A verified role: its version, its expiry and who signed it; ``period`` is what it is renewed for."""

    name: str
    version: int
    expires: datetime
    signers: tuple[str, ...]
    threshold: int
    period: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRole:
    """A role and what it was verified under; for root, the delegator is root itself."""

    facts: RoleFacts
    root_version: int
    delegator: str
    delegator_version: int
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedChain:
    """The trusted roles of one collection; ``checked_at`` is when its store was last asked with success."""

    name: str
    identity: str
    root_version: int
    token: str | None
    checked_at: datetime
    roles: Mapping[str, TrustedRole]

    def is_coherent(self) -> bool:
        """Tell whether every role was verified under exactly this root and these versions of its delegators.

        Otherwise a revoked online key would live on under a consumer that already stored the new root.
        """
        return {"root", "timestamp", "snapshot", "targets"} <= set(self.roles) and all(
            role.root_version == self.root_version
            and role.delegator in self.roles
            and role.delegator_version == self.roles[role.delegator].facts.version
            for role in self.roles.values()
        )

    def facts(self, role: str) -> tuple[RoleFacts, ...]:
        """Return the facts of root, timestamp, snapshot and of the roles that lead to ``role``, in that order."""
        path = [role]
        while self.roles[path[0]].delegator != "root":
            path.insert(0, self.roles[path[0]].delegator)
        return tuple(self.roles[name].facts for name in ("root", "timestamp", "snapshot", *path))
