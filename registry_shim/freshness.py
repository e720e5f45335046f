"""Owns the freshness of what the shim decides by: one refresher for each collection, in the background.

A refresher asks the store twice in every ``max_age``, on a thread, one question at a time, and never waits for a
client. What comes of it:

    verified     the trusted state on disk is newer; workers are told to read it
    unreachable  what was verified goes on serving until its earliest expiry; asked again soon, without a restart
    refused      the store shows what is not trusted: everything of the collection is denied for that reason
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from time import monotonic

from registry_shim.gate import Refusal
from registry_shim.status import CollectionStatus, RoleStatus
from registry_shim.status import Freshness as State
from trust.chain import RoleRefusal, TrustedChain
from trust.client import refresh
from trust.deadline import deadline_in
from trust.errors import RefusedError, StateError, TrustError, UnreachableError
from trust.policy import Stanza
from trust.state import TrustedState
from trust.stores.interface import Store
from trust.value import replace
from trust.verdict import reason_of

REFRESH_SECONDS = 30.0  # the whole of one refresh, however many files and servers
ASKS_PER_AGE = 2
ASKS_PER_ORIGIN = 4  # at once: a server that hangs holds up its own collections, and nobody else's
RETRY_FIRST_SECONDS = 1.0
_log = logging.getLogger("trust-shim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one refresh brought; ``targets`` is their number.

    ``is_superseded``: a newer root is known but not what it trusts: what the older one vouched for is over.
    """

    chain: TrustedChain | None
    targets: int = 0
    refused: Mapping[str, RoleRefusal] = field(default_factory=dict)
    error: TrustError | None = None
    is_superseded: bool = False


class Freshness:
    """Keeps the collections of ``stanzas`` fresh in the trusted state at ``home``.

    ``clock`` gives UTC seconds; ``changed`` is called with a collection's pin after every refresh.
    """

    def __init__(
        self,
        stanzas: tuple[Stanza, ...],
        *,
        home: Path,
        open_store: Callable[[Stanza], Store],
        max_age: timedelta,
        executor: Executor,
        clock: Callable[[], float],
        changed: Callable[[str], None],
    ) -> None:
        self._home = home
        self._open_store = open_store
        self._executor = executor
        self._clock = clock
        self._changed = changed
        self._turns = {_origin(stanza): asyncio.Semaphore(ASKS_PER_ORIGIN) for stanza in stanzas}
        self._collections = {
            str(stanza.root): _Collection(stanza, stanza.max_age or max_age) for stanza in stanzas
        }

    @property
    def is_read(self) -> bool:
        """Tell whether every collection was asked for once, whatever came of it."""
        return all(one.asked for one in self._collections.values())

    async def run(self) -> None:
        """Refresh every collection until cancelled."""
        loop = asyncio.get_running_loop()
        with suppress(TrustError):  # each refresher says it of its own collection
            # By one thread: refreshers that make the database at once take each other's half-made one.
            await loop.run_in_executor(self._executor, lambda: TrustedState(self._home).close())
        await asyncio.gather(*(self._keep(pin, one) for pin, one in self._collections.items()))

    def generation(self, pin: str) -> int:
        """Return a number that grows whenever there is something new to read from the trusted state."""
        return self._collections[pin].generation

    def refusal(self, pin: str) -> Refusal | None:
        """Return why nothing of the collection is accepted now, or None."""
        return self._collections[pin].refusal

    def pins(self) -> list[str]:
        """Return the pins of the collections that were asked for."""
        return [pin for pin, one in self._collections.items() if one.asked]

    def statuses(self) -> list[CollectionStatus]:
        """Return what is to be said of each collection now."""
        return [one.status(self._clock()) for one in self._collections.values()]

    async def _keep(self, pin: str, one: _Collection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._turns[_origin(one.stanza)]:
                    found = await loop.run_in_executor(self._executor, self._refreshed, one.stanza)
            except Exception as err:  # noqa: BLE001 - a refresher that has died revokes nothing any more
                _log.exception("a refresh of %s failed", one.stanza.collection)
                found = Found(chain=None, error=UnreachableError(f"the refresh failed: {type(err).__name__}"))
            pause = one.take(found)
            self._changed(pin)
            await asyncio.sleep(pause)

    def _refreshed(self, stanza: Stanza) -> Found:
        now = datetime.fromtimestamp(self._clock(), tz=timezone.utc)
        try:
            state = TrustedState(self._home)
        except TrustError as err:
            return Found(chain=None, error=err)
        try:
            store = self._open_store(stanza)
            deadline = deadline_in(REFRESH_SECONDS, monotonic)
            current = refresh(
                replace(stanza, max_age=timedelta(0)), state, store, paths=None, now=now, deadline=deadline
            )
            return Found(
                chain=current.chain,
                targets=state.count_targets(stanza.root),
                refused=state.refusals(stanza.root),
            )
        except TrustError as err:
            return _stored(state, stanza, err)
        finally:
            state.close()


def _origin(stanza: Stanza) -> str:
    """Return where the metadata of a collection comes from, as far as one server can hold it up."""
    scheme, _, rest = stanza.metadata.partition(":")
    return rest.removeprefix("//").partition("/")[0] or stanza.collection.host if scheme == "registry" else scheme


class _Collection:
    """What the refresher knows of one collection."""

    def __init__(self, stanza: Stanza, max_age: timedelta) -> None:
        self.stanza = stanza
        self.max_age = max_age
        self.asked = False
        self.generation = 0
        self.refusal: Refusal | None = None
        self._chain: TrustedChain | None = None
        self._targets = 0
        self._refused: Mapping[str, RoleRefusal] = {}
        self._error: TrustError | None = None
        self._failures = 0

    def take(self, found: Found) -> float:
        """Take what a refresh brought; return the seconds until the next."""
        self.asked = True
        self._error = found.error
        if found.chain is not None:
            known = {} if self._chain is None else _versions(self._chain)
            if _versions(found.chain) != known or (found.error is None and found.refused != self._refused):
                self.generation += 1
            self._chain = found.chain
            self._refused = found.refused if found.error is None else self._refused
            self._targets = found.targets or self._targets
        self.refusal = _refusal(found)
        due = self.max_age.total_seconds() / ASKS_PER_AGE
        if found.error is None:
            self._failures = 0
            return due
        self._failures += 1
        return min(due, RETRY_FIRST_SECONDS * (1 << min(self._failures - 1, 16)))

    def status(self, now: float) -> CollectionStatus:
        """Return what is to be said of the collection at ``now``."""
        chain, error = self._chain, self._error
        facts = chain.facts() if chain is not None else ()
        return CollectionStatus(
            name=str(self.stanza.collection),
            pin=str(self.stanza.root),
            freshness=self._freshness(now),
            mode=self.stanza.mode,
            max_age_seconds=self.max_age.total_seconds(),
            checked_at=chain.checked_at.timestamp() if chain is not None else 0.0,
            valid_until=min(one.expires for one in facts).timestamp() if facts else 0.0,
            reason="" if error is None else reason_of(error).value,
            detail="" if error is None else str(error),
            targets=self._targets,
            roles=[
                RoleStatus(
                    name=one.name,
                    version=one.version,
                    expires=one.expires.timestamp(),
                    signers=list(one.signers),
                    threshold=one.threshold,
                    period_seconds=one.period.total_seconds() if one.period is not None else 0.0,
                )
                for one in facts
            ],
        )

    def _freshness(self, now: float) -> State:
        if self.refusal is not None:
            return "refused"
        if self._chain is None:
            return "unread"
        return "fresh" if now - self._chain.checked_at.timestamp() <= self.max_age.total_seconds() else "stale"


def _refusal(found: Found) -> Refusal | None:
    """Return the refusal that ``found`` is; an outage is none, it ends with the metadata's own expiry."""
    error = found.error
    if isinstance(error, (RefusedError, StateError)) or (error is not None and found.is_superseded):
        return Refusal(reason=reason_of(error), detail=str(error), hint=error.hint)
    return None


def _versions(chain: TrustedChain) -> dict[str, tuple[int, int]]:
    return {name: (role.facts.version, role.root_version) for name, role in chain.roles.items()}


def _stored(state: TrustedState, stanza: Stanza, error: TrustError) -> Found:
    """Return what was verified before ``error``, where it can be read and still holds together."""
    try:
        chain = state.chain(stanza.root)
    except TrustError as err:
        return Found(chain=None, error=err)
    if chain is not None and not chain.is_coherent():
        return Found(chain=None, error=error, is_superseded=True)
    return Found(chain=chain, error=error)
