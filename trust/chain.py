"""Owns the trusted chain: what was verified of each role, from the pinned root to the role that answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from trust.value import dataclass

TOP_LEVEL_ROLES = ("root", "timestamp", "snapshot", "targets")
ONLINE_ROLES = ("snapshot", "timestamp")
_NO_LINKS: Mapping[tuple[str, str], TrustedRole] = MappingProxyType({})
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
    """The trusted roles of one collection; ``checked_at`` is when its store was last asked with success.

    Names are global in a snapshot, and any delegate can name any role: one that several delegate to was verified
    under each of them, and none takes it from another. ``shared`` has all but the first, by role and delegator.
    """

    name: str
    identity: str
    root_version: int
    token: str | None
    checked_at: datetime
    roles: Mapping[str, TrustedRole]
    shared: Mapping[tuple[str, str], TrustedRole] = _NO_LINKS

    def under(self, role: str, delegator: str) -> TrustedRole | None:
        """Return ``role`` as it was verified under ``delegator``, or None."""
        found = self.roles.get(role)
        return found if found is not None and found.delegator == delegator else self.shared.get((role, delegator))

    def links(self) -> Iterator[TrustedRole]:
        """Yield every role under each delegator that it was verified under."""
        yield from self.roles.values()
        yield from self.shared.values()

    def is_coherent(self) -> bool:
        """Tell whether the top-level roles were verified under exactly this root.

        Otherwise a revoked online key would live on under a consumer that already stored the new root.
        """
        return all(self.is_current(name) for name in TOP_LEVEL_ROLES)

    def is_current(self, role: str, delegator: str | None = None) -> bool:
        """Tell whether ``role`` was verified under this root and this version of its delegator."""
        found = self.roles.get(role) if delegator is None else self.under(role, delegator)
        if found is None or found.root_version != self.root_version:
            return False
        above = self.roles.get(found.delegator)
        return above is not None and found.delegator_version == above.facts.version

    def facts(self, links: Iterable[tuple[str, str]] = (("targets", "root"),)) -> tuple[RoleFacts, ...]:
        """Return the facts of root, timestamp and snapshot, then of the roles that were searched.

        Raises:
            KeyError: a role was not verified under this delegator.
        """
        top = tuple(self.roles[name].facts for name in ("root", "timestamp", "snapshot"))
        return (*top, *(self._under(role, delegator).facts for role, delegator in links))

    def _under(self, role: str, delegator: str) -> TrustedRole:
        found = self.under(role, delegator)
        if found is None:
            raise KeyError(f"role {role} was not verified under {delegator}")
        return found
