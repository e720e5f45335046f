"""Owns the verification of delegated roles in a refresh: those on the walk to a path, or every one.

  1. a role that is known, and is what this snapshot, delegator and root ask for, is taken as it is
  2. any other is verified by ngclient under its delegator, from what is stored or else from the store
  3. the checks that ngclient lacks are made (``trust.floors``)
  4. what was known and was not asked for stays current, or becomes stale: a floor that answers nothing; so does
     what is refused

Where paths are asked for, the first failure ends the refresh. Where every role is asked for, a role that fails is
recorded as refused and the others go on: one team's mistake is not everybody's outage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tuf.api.metadata import MetaFile, Root, Snapshot, Targets
from tuf.ngclient import Updater

from trust.chain import STALE, RoleRefusal, TrustedRole
from trust.delegations import TARGETS, VISITED_MAX, Delegations, walk
from trust.digest import sha256
from trust.errors import TrustError
from trust.floors import Floors
from trust.metadata import delegations_of, parse_metadata, table_of, trusted_role
from trust.role_keys import require_distinct_keys, require_single_ids
from trust.targets import Content
from trust.turns import Turns
from trust.value import replace
from trust.verdict import Reason, reason_of
from trust.view_fetcher import ViewFetcher, refusing

ROLES_MAX = 20_000  # below one delegate of targets: 16,384 bins and a few thousand teams


class Descent:
    """The way down from the top-level roles ``top``; a ``trust.delegations.Roles``."""

    def __init__(
        self,
        updater: Updater,
        directory: Path,
        fetcher: ViewFetcher,
        floors: Floors,
        top: Mapping[str, TrustedRole],
    ) -> None:
        self._updater = updater
        self._directory = directory
        self._fetcher = fetcher
        self._floors = floors
        self._verified = dict(top)
        self.shared: dict[tuple[str, str], TrustedRole] = {}  # see ``TrustedChain``
        self._snapshot: Snapshot = updater._trusted_set.snapshot  # noqa: SLF001 - what ngclient has just verified
        targets = updater._trusted_set.targets  # noqa: SLF001 - likewise
        self._loaded: dict[str, Targets] = {TARGETS: targets}
        self.said = {TARGETS: Content(table=table_of(targets), delegations=delegations_of(targets))}
        self.refused: dict[str, RoleRefusal] = {}

    def go(self, paths: Sequence[str] | None) -> None:
        """Verify the roles that answer for ``paths``, or every role."""
        if paths is None:
            self._go_everywhere()
        for path in paths or ():
            walk(path, self)

    def enter(self, role: str, delegator: str) -> Delegations:
        """Return what ``role`` delegates, verified by the steps of this module; see ``Roles.enter``."""
        found = self._verified.get(role)
        if found is None:
            kept = self._kept(role, delegator)
            if kept is not None:
                self._verified[role] = kept
            else:
                self._load(role, delegator)
        elif found.delegator not in {delegator, "root"} and (role, delegator) not in self.shared:
            self.shared[role, delegator] = self._kept(role, delegator) or self._linked(role, delegator)
        return self._delegations(role)

    def holds(self, role: str, path: str) -> bool:
        """Tell whether an entered ``role`` has a target under ``path``."""
        if role in self.said:
            return path in self.said[role].table.targets
        stored = self._floors.known.stored
        return stored is not None and stored.holds(role, path)

    def roles(self, *, is_whole: bool) -> dict[str, TrustedRole]:
        """Return every role that is trusted from now on, with those that were not asked for (step 4)."""
        result = dict(self._verified)
        chain = self._floors.known.chain
        if chain is None:
            return result
        if is_whole:
            stale = {
                name: replace(chain.roles[name], root_version=STALE)
                for name in self.refused
                if name in chain.roles
            }
            return stale | result
        for name in chain.roles:
            self._settle(name, chain.roles, result)
        for link in chain.links():
            name, key = link.facts.name, (link.facts.name, link.delegator)
            there = result.get(name)
            if there is not None and link.delegator != there.delegator and key not in self.shared:
                kept = self._kept(*key, among=result)
                if kept is not None and there.root_version == STALE:
                    result[name] = kept
                elif kept is not None:
                    self.shared[key] = kept
        return result

    def _settle(self, name: str, known: Mapping[str, TrustedRole], result: dict[str, TrustedRole]) -> None:
        above: list[str] = []  # delegators first, and no recursion: a chain of them is as long as its signer likes
        while name in known and name not in result and name not in above:
            above.append(name)
            name = known[name].delegator
        for each in reversed(above):
            kept = self._kept(each, known[each].delegator, among=result)
            result[each] = kept or replace(known[each], root_version=STALE)

    def _go_everywhere(self) -> None:
        """Verify every role that a walk can reach, the nearest first.

        Names are global in a snapshot: whoever names another's by keys of his own has it refused for nobody but
        himself, and by copied keys takes it from nobody.
        """
        turns = Turns(self._delegations(TARGETS).names(), most=ROLES_MAX)
        nearest = dict[str, int]()
        for turn in turns:
            if turn.depth >= VISITED_MAX:
                continue  # deeper than any walk
            delegations = self._tried(turn.role, turn.delegator)
            if delegations is not None and turn.depth < nearest.get(turn.role, VISITED_MAX):
                nearest[turn.role] = turn.depth  # else a cycle, or a diamond that was searched already
                turns.add(turn, delegations.names())
        for name in turns.unfinished:
            detail = f"role {name} and those below it are more than {ROLES_MAX}"
            self.refused[name] = RoleRefusal(reason=Reason.LIMIT_REACHED.value, detail=detail)

    def _tried(self, role: str, delegator: str) -> Delegations | None:
        """Return what ``role`` delegates; None if it is not trusted: refused, unless another delegator has it."""
        try:
            with refusing(self._fetcher, self._floors.stanza, self._floors.roots.bodies):
                delegations = self.enter(role, delegator)
        except TrustError as err:
            if role not in self._verified:
                refusal = RoleRefusal(reason=reason_of(err).value, detail=str(err), hint=err.hint)
                self.refused.setdefault(role, refusal)
            return None
        self.refused.pop(role, None)
        return delegations

    def _delegations(self, role: str) -> Delegations:
        stored = self._floors.known.stored
        if role in self.said or stored is None:
            return self.said[role].delegations
        return stored.enter(role, self._verified[role].delegator)

    def _kept(
        self, role: str, delegator: str, *, among: Mapping[str, TrustedRole] | None = None
    ) -> TrustedRole | None:
        """Return what is known of ``role`` if nothing has changed that it was verified by (step 1)."""
        before, above = self._floors.known.under(role, delegator), (among or self._verified).get(delegator)
        link = self._snapshot.meta.get(f"{role}.json")
        if before is None or above is None or link is None:
            return None
        is_same = (before.facts.version, before.root_version, before.delegator_version) == (
            link.version,
            above.root_version,
            above.facts.version,
        )
        return before if is_same and self._is_named(role, link) else None

    def _is_named(self, role: str, link: MetaFile) -> bool:
        """Tell whether what is stored of ``role`` is what the snapshot names; of bins it names versions alone."""
        if not link.hashes:
            return True
        body = self._floors.known.body(role)
        return body is not None and link.hashes.get("sha256") == sha256(body).hex

    def _load(self, role: str, delegator: str) -> None:
        """Verify ``role`` anew (steps 2 and 3)."""
        above = self._targets(delegator)
        known, link = self._floors.known, self._snapshot.meta.get(f"{role}.json")
        before = known.role(role)
        is_stored = before is not None and link is not None and before.facts.version == link.version
        body = known.body(role) if is_stored else None
        path = self._directory / f"{role}.json"
        if body is not None:
            path.write_bytes(body)
        self._fetcher.delegators[role] = above
        targets = self._updater._load_targets(role, delegator)  # noqa: SLF001 - the walk is ours, for its limits
        body = path.read_bytes()
        metadata = parse_metadata(body, role)
        root: Root = self._floors.roots.newest.signed
        self._floors.require(above, role, metadata, body, has_floor=before is not None)
        self.said[role] = Content(table=table_of(targets), delegations=delegations_of(targets))
        self._verified[role] = trusted_role(above, delegator, root, role, metadata, body)
        self._loaded[role] = targets

    def _linked(self, role: str, delegator: str) -> TrustedRole:
        """Return an entered role as a delegate of another delegator: the same bytes, by his keys and threshold."""
        self._targets(role)
        body, above = (self._directory / f"{role}.json").read_bytes(), self._targets(delegator)
        metadata = parse_metadata(body, role)
        require_distinct_keys(above, metadata, role)
        require_single_ids(above, role)
        return trusted_role(above, delegator, self._floors.roots.newest.signed, role, metadata, None)

    def _targets(self, role: str) -> Targets:
        """Return the metadata of an entered role, which may have been kept without being read."""
        if role not in self._loaded:
            self._load(role, self._verified[role].delegator)
        return self._loaded[role]
