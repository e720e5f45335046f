"""Owns the consumer's side of a collection: trusted state in, a verified and current chain out.

The warm path asks two questions ("is there a newer root?", "is this still the timestamp?") and imports neither
python-tuf nor any cryptography: nothing changed means that what was verified before still holds. It is taken
only where the stored chain was verified under exactly this root and pin; everything else goes through
``trust.refresh``, one process at a time.

  1. the clock has not gone back since the state was written
  2. within ``max_age``, or offline, the trusted chain is the answer
  3. the store has nothing new, and the roles that answer were verified before: the moment is noted
  4. otherwise new roots are verified and kept at once, then the roles below them that are asked for
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from trust.chain import TrustedChain
from trust.deadline import Deadline
from trust.delegations import Delegations, walk
from trust.digest import Digest
from trust.errors import RefusedError, StateError, UnreachableError, UnverifiedRoleError
from trust.instant import format_span, format_utc
from trust.policy import Stanza
from trust.state import TrustedState
from trust.targets import Target, Tombstone
from trust.value import dataclass, replace
from trust.verdict import Reason

if TYPE_CHECKING:
    from trust.stores.interface import Store, View

Wanted = Sequence[str] | None
"""The target paths whose roles are to be verified; None: every role of the collection."""

CLOCK_TOLERANCE = timedelta(minutes=5)
LOCK_STEP_SECONDS = 0.02
NOTE_EVERY = timedelta(minutes=1)  # an unchanged store is noted at most so often: each note is a synced write
_PROBE_MAX_BYTES = 512_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """A chain that may be judged now; ``is_first_use`` says that nothing was trusted here before."""

    chain: TrustedChain
    is_first_use: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRoles:
    """The roles of a trusted chain as they are stored; a ``trust.judge.Lookup``."""

    state: TrustedState
    pin: Digest
    chain: TrustedChain

    def enter(self, role: str, delegator: str) -> Delegations:
        """Return what ``role`` delegates; see ``Roles.enter``."""
        if not self.chain.is_current(role, delegator):
            raise UnverifiedRoleError(
                f"no trusted state of role {role} of {self.chain.name} here", hint="verify once without --offline"
            )
        return self.state.delegations(self.pin, role)

    def holds(self, role: str, path: str) -> bool:
        """Tell whether ``role`` signs something under ``path``."""
        return self.state.holds(self.pin, role, path)

    def target(self, role: str, path: str) -> Target | None:
        """Return the target that ``role`` signs under ``path``, or None."""
        return self.state.target(self.pin, role, path)

    def tombstone(self, role: str, path: str) -> Tombstone | None:
        """Return the tombstone of a ``path`` that ``role`` revoked, or None."""
        return self.state.tombstone(self.pin, role, path)

    def has(self, paths: Wanted) -> bool:
        """Tell whether every role that answers for ``paths`` was verified."""
        try:
            for path in paths or ():
                walk(path, self)
        except UnverifiedRoleError:
            return False
        return paths is not None


def trusted_offline(stanza: Stanza, state: TrustedState, *, now: datetime) -> Current:
    """Return the trusted chain as it is stored, asking nobody.

    Raises:
        UnreachableError: nothing is stored, or a newer root than the one it was verified under is known.
        RefusedError: the clock went back.
    """
    chain = state.chain(stanza.root)
    if chain is None or not chain.is_coherent():
        raise UnreachableError(
            f"no trusted state of {stanza.collection} here", hint="verify once without --offline"
        )
    _require_clock(chain, now)
    return Current(chain=chain, is_first_use=False)


def refresh(
    stanza: Stanza,
    state: TrustedState,
    store: Store,
    *,
    paths: Wanted = (),
    now: datetime,
    deadline: Deadline,
) -> Current:
    """Return the chain after asking ``store`` for anything newer, by the steps of this module.

    Of delegated roles those that answer for ``paths`` are in it. Where every role is asked for, one that is not
    trusted is recorded as refused, and the others go on.

    Raises:
        RefusedError: what the store shows is not trusted; the trusted state is unchanged but for new valid roots.
        UnavailableError: it could not be decided.
    """
    chain = state.chain(stanza.root)
    if chain is not None:
        _require_clock(chain, now)
    elif stanza.fresh == "deny":
        raise RefusedError(
            f"no trusted state of {stanza.collection} here, and the policy forbids a first use",
            reason=Reason.NO_FIRST_USE.value,
            hint="bring the state of another consumer, or allow a first use once",
        )
    if chain is not None and chain.is_coherent():
        is_complete = _is_complete(stanza, state, chain, paths)
        if is_complete and timedelta(0) <= now - chain.checked_at < stanza.max_age:
            return Current(chain=chain, is_first_use=False)
        view = store.view(known=chain.token, deadline=deadline) if is_complete else None
        if is_complete and (view is None or _is_unchanged(view, chain, state, stanza)):
            return Current(chain=_noted(stanza, state, chain, view, paths, now), is_first_use=False)
    return _refreshed(stanza, state, store, paths=paths, now=now, deadline=deadline)


def _is_complete(stanza: Stanza, state: TrustedState, chain: TrustedChain, paths: Wanted) -> bool:
    """Tell whether everything that is asked for was verified before, so that only news could change the answer."""
    if paths is not None:
        return StoredRoles(state=state, pin=stanza.root, chain=chain).has(paths)
    return state.is_whole(stanza.root) and all(chain.is_current(role) for role in chain.roles)


def _require_clock(chain: TrustedChain, now: datetime) -> None:
    if now < chain.checked_at - CLOCK_TOLERANCE:
        raise RefusedError(
            f"the clock went back {format_span(chain.checked_at - now)}: trusted state was written on "
            f"{format_utc(chain.checked_at)}, now is {format_utc(now)}",
            reason=Reason.CLOCK.value,
            hint="set the clock; expiry cannot be judged by it",
        )


def _is_unchanged(view: View, chain: TrustedChain, state: TrustedState, stanza: Stanza) -> bool:
    if view.read(f"{chain.root_version + 1}.root.json", _PROBE_MAX_BYTES) is not None:
        return False
    return view.read("timestamp.json", _PROBE_MAX_BYTES) == state.body(stanza.root, "timestamp")


def _noted(  # noqa: PLR0917 - what was asked, of whom, and what came of it
    stanza: Stanza, state: TrustedState, chain: TrustedChain, view: View | None, paths: Wanted, now: datetime
) -> TrustedChain:
    token = chain.token if view is None else view.token
    is_due = token != chain.token or now - chain.checked_at >= NOTE_EVERY
    if is_due and not state.is_read_only and _is_valid(stanza, state, chain, paths, now):
        state.set_checked(stanza.root, token=token, at=now)
    return replace(chain, token=token, checked_at=now)


def _is_valid(stanza: Stanza, state: TrustedState, chain: TrustedChain, paths: Wanted, now: datetime) -> bool:
    """Tell whether nothing that answers has expired: a clock that was set ahead would have gone back ever after.

    Of delegates those count that are asked for: one that expired is refused alone, and costs no other the note.
    """
    lookup = StoredRoles(state=state, pin=stanza.root, chain=chain)
    links = [("targets", "root"), *(link for path in paths or () for link in walk(path, lookup).links)]
    return now < min(facts.expires for facts in chain.facts(links))


def _refreshed(
    stanza: Stanza, state: TrustedState, store: Store, *, paths: Wanted, now: datetime, deadline: Deadline
) -> Current:
    # python-tuf is imported here and not above: it costs more than a whole warm verification.
    from trust.floors import Known  # noqa: PLC0415
    from trust.refresh import verify_roles, walk_roots  # noqa: PLC0415

    with _alone(state.home / f"refresh-{stanza.root.hex[:16]}.lock", deadline):
        # Looked at only now: another process may have gone further while this one waited for the lock.
        view = store.view(known=None, deadline=deadline)
        if view is None:
            raise UnreachableError(f"the store answered 'not modified' to nobody's question: {store.url}")
        chain = state.chain(stanza.root)
        known = Known(
            chain=chain,
            roots=state.roots(stanza.root),
            body=lambda role: state.body(stanza.root, role),
            stored=None if chain is None else StoredRoles(state=state, pin=stanza.root, chain=chain),
        )
        roots = walk_roots(stanza, known, view)
        if chain is not None and max(roots.bodies) != chain.root_version:
            # Kept even if what follows is refused: a revoked key must not return once its revocation was seen.
            state.add_roots(stanza.root, roots.bodies)
        refreshed = verify_roles(stanza, known, roots, view, paths=paths, now=now)
        state.commit(
            stanza.root,
            refreshed.chain,
            roots=roots.bodies,
            said=refreshed.said,
            refused=refreshed.refused,
            is_whole=paths is None and not refreshed.refused,
        )
    return Current(chain=refreshed.chain, is_first_use=chain is None)


@contextmanager
def _alone(path: Path, deadline: Deadline) -> Iterator[None]:
    """Hold the refresh lock of a collection: eight refreshes at once lost a third of themselves.

    A process that hangs while it holds it costs others no more than their own deadline.
    """
    import fcntl  # noqa: PLC0415 - a warm look-up takes no lock

    try:
        lock = path.open("a")
    except OSError as err:
        raise StateError(
            f"trusted state cannot be written: {path.parent}: {err.strerror}",
            hint="newer metadata cannot be kept here; --offline judges by what is stored",
        ) from err
    with lock:
        while not _locked(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB):
            sleep(min(LOCK_STEP_SECONDS, deadline.remaining_seconds()))
        yield


def _locked(descriptor: int, how: int) -> bool:
    import fcntl  # noqa: PLC0415 - as above

    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True
