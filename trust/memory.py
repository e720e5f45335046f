"""Owns what a publisher's home remembers of a collection: what was published from it, and what was verified there.

A store that was set back is noticed by that, and of hundreds of roots only new ones are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from trust.chain import ONLINE_ROLES, TOP_LEVEL_ROLES
from trust.errors import ClockError, RefusedError, StateError
from trust.instant import format_span, format_utc
from trust.loaded import Loaded
from trust.policy import Stanza
from trust.roles import DEFAULT_EXPIRY
from trust.state import TrustedState
from trust.value import dataclass
from trust.verdict import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The trusted state of a home, as it binds its publisher."""

    stanza: Stanza
    state: TrustedState

    def versions(self) -> dict[str, int]:
        """Return the newest versions known here: of top-level roles those that were published from here."""
        known = dict(self.state.published(self.stanza.root))
        chain = self.state.chain(self.stanza.root)
        for name, role in chain.roles.items() if chain is not None else ():
            if name not in TOP_LEVEL_ROLES:
                known[name] = max(role.facts.version, known.get(name, 0))
        return known

    def floors(self) -> dict[str, int]:
        """Return the lowest versions to build on: what was published from here, and what the policy demands."""
        floors = self.versions()
        for name, version in self.stanza.floors.items():
            floors[name] = max(version, floors.get(name, 0))
        return floors

    def require_clock(self, now: datetime) -> None:
        """Refuse to sign at ``now`` what would have expired when this home last verified the collection.

        Raises:
            ClockError: this clock is behind by more than a timestamp lives.
        """
        chain = self.state.chain(self.stanza.root)
        timestamp = chain.roles.get("timestamp") if chain is not None else None
        if chain is None or timestamp is None:
            return
        until = now + (timestamp.facts.period or DEFAULT_EXPIRY["timestamp"])
        if until < chain.checked_at:
            raise ClockError(
                f"the clock went back {format_span(chain.checked_at - now)}: what is signed now would expire on "
                f"{format_utc(until)}, and trusted state was written on {format_utc(chain.checked_at)}",
                hint="set the clock: whoever trusts this collection would be refused",
            )

    def require_no_rollback(self, loaded: Loaded) -> None:
        """Refuse what the consumer of this very home would call rolled back.

        Not for snapshot and timestamp under a newer root: it may have reset them (TUF 1.0 §5.3.11).
        """
        chain = self.state.chain(self.stanza.root)
        if chain is None:
            return
        same_root = chain.root_version == loaded.root.version
        for name, version in loaded.versions().items():
            stored = chain.roles.get(name)
            if stored is None or (name in ONLINE_ROLES and not same_root):
                continue
            if version < stored.facts.version:
                raise RefusedError(
                    f"role {name} is older than what was verified here: expected at least version "
                    f"{stored.facts.version}, got {version}",
                    reason=Reason.ROLLED_BACK.value,
                    hint="somebody set the store back; find out who before signing anything",
                )

    def roots(self) -> Mapping[int, bytes]:
        """Return the roots that were verified here, by version."""
        return self.state.roots(self.stanza.root)

    def keep_roots(self, loaded: Loaded) -> None:
        """Have the roots of ``loaded`` be known from now on, where anything can be written."""
        known = self.roots()
        new = {version: body for version, body in loaded.top.roots.bodies.items() if version not in known}
        if new and not self.state.is_read_only:
            self.state.keep_roots(self.stanza.root, new)

    def keep_published(self, versions: Mapping[str, int]) -> None:
        """Have ``versions``, which consumers see now, be the lowest to build on.

        Raises:
            StateError: it could not be written; consumers see them all the same.
        """
        try:
            self.state.set_published(self.stanza.root, versions)
        except StateError as err:
            raise StateError(
                f"published, but not recorded here: {err}", hint="consumers see the change; make room on this disk"
            ) from err
