"""Owns the way back of a lost store: written anew from what this home has verified, or from a mirror.

  1. the files are those of the trusted state (roots, and every role as it was verified last), or a mirror's
  2. all of it is verified from the pinned root, as at the first time, but for expiry
  3. nothing of it is older than what was published or verified here
  4. a delegated role that was refused here is not here, and its delegate has to bring it
  5. it is set down as a copy is (``trust.replica``): newer metadata that is there stays

No key is needed, and none is used: it is the publishers' bytes or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from trust.chain import ONLINE_ROLES
from trust.deadline import Deadline
from trust.errors import InputError, UnreachableError
from trust.policy import Stanza
from trust.replica import Replica, Step, plan_move, publish_replica, read_replica
from trust.repository import load
from trust.state import TrustedState
from trust.stores.interface import TIMESTAMP, Store, View
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was, or would be, written: the step for the store, and the verified metadata."""

    step: Step
    replica: Replica

    @property
    def changed(self) -> bool:
        """Tell whether the store shows something new."""
        return self.step in {Step.NEW, Step.FORWARD}


def rebuild(
    stanza: Stanza,
    state: TrustedState,
    store: Store,
    *,
    mirror: Store | None,
    deadline: Deadline,
    dry_run: bool,
) -> Rebuilt:
    """Return what ``store`` has from now on, by the steps of this module.

    Raises:
        InputError: nothing is trusted here, and no mirror was named.
        UnreachableError: a role is missing. RefusedError: it is not trusted, or older than what is known here.
        ConflictError: metadata of another collection is there, or this one has gone another way there.
    """
    view = _stored(stanza, state) if mirror is None else _shown(mirror, deadline)
    try:
        load(stanza, view, floors=_floors(stanza, state))
        refused = state.refusals(stanza.root) if mirror is None else {}
        replica = read_replica(stanza, view, absent=refused.keys())
    except UnreachableError as err:
        raise UnreachableError(
            f"the collection is not whole here: {err}",
            hint="trust check COLLECTION keeps every role; rebuild from a home where it ran, or from a mirror",
        ) from err
    move = plan_move(stanza, replica, store, deadline=deadline)
    if not dry_run and publish_replica(move, store, deadline=deadline):
        state.set_published(stanza.root, replica.versions)
    return Rebuilt(step=move.step, replica=replica)


class StateView:
    """The trusted state of a home, shown as the store was."""

    token = None

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the bytes of ``name`` or None; what is here was read under a cap before."""
        del max_bytes
        return self._files.get(name)

    def taken(self, name: str) -> bool:
        """Tell whether ``name`` is here."""
        return name in self._files

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return none."""
        return ()


def _stored(stanza: Stanza, state: TrustedState) -> View:
    chain = state.chain(stanza.root)
    if chain is None:
        raise InputError(
            f"nothing of {stanza.collection} was verified here",
            hint="rebuild from a home that verified it, or from a mirror: --from URL",
        )
    files = {f"{version}.root.json": body for version, body in state.roots(stanza.root).items()}
    for name, body in state.bodies(stanza.root).items():
        if name != "root" and body is not None and name in chain.roles:
            version = chain.roles[name].facts.version
            files[TIMESTAMP if name == "timestamp" else f"{version}.{name}.json"] = body
    return StateView(files)


def _shown(mirror: Store, deadline: Deadline) -> View:
    view = mirror.view(known=None, deadline=deadline)
    if view is None:
        raise UnreachableError(f"the store answered 'not modified' to nobody's question: {mirror.url}")
    return view


def _floors(stanza: Stanza, state: TrustedState) -> dict[str, int]:
    """Return the lowest versions that may be written: what was published from here, or verified, and the policy's.

    Snapshot and timestamp count as they were published: a newer root may have reset what was verified.
    """
    floors = dict(state.published(stanza.root))
    chain = state.chain(stanza.root)
    verified = {name: role.facts.version for name, role in chain.roles.items()} if chain is not None else {}
    for known in (verified, stanza.floors):
        for name, version in known.items():
            if name not in ONLINE_ROLES:
                floors[name] = max(version, floors.get(name, 0))
    return floors
