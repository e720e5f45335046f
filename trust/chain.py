"""Owns the trusted chain: what was verified of each role, from the pinned root to the role that answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from trust.value import dataclass

TOP_LEVEL_ROLES = ("root", "timestamp", "snapshot", "targets")
ONLINE_ROLES = ("snapshot", "timestamp")
STALE = 0  # the root version of a role that is not what the newest snapshot or its delegator asks for


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
    """A role and what it was verified under; for root, the delegator is root itself.

    ``body`` is None where it is as it is stored. A stale role is kept as a floor, and answers nothing.
    """

    facts: RoleFacts
    root_version: int
    delegator: str
    delegator_version: int
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRefusal:
    """Why a delegated role is not accepted now: a name of ``Reason``, the words, and the next step."""

    reason: str
    detail: str
    hint: str | None = None


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
        """Tell whether the top-level roles were verified under exactly this root.

        Otherwise a revoked online key would live on under a consumer that already stored the new root.
        """
        return all(self.is_current(name) for name in TOP_LEVEL_ROLES)

    def is_current(self, role: str, delegator: str | None = None) -> bool:
        """Tell whether ``role`` was verified under this root and this version of its delegator."""
        found = self.roles.get(role)
        if found is None or found.root_version != self.root_version:
            return False
        above = self.roles.get(found.delegator)
        is_asked = delegator is None or delegator == found.delegator
        return is_asked and above is not None and found.delegator_version == above.facts.version

    def facts(self, visited: Iterable[str] = ("targets",)) -> tuple[RoleFacts, ...]:
        """Return the facts of root, timestamp and snapshot, then of the roles that were searched."""
        return tuple(self.roles[name].facts for name in ("root", "timestamp", "snapshot", *visited))
