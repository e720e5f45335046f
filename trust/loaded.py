"""Owns the publisher's picture of a collection: its verified roles, and the way through them.

Whose an image is, which role delegates to which, what stands below all of them: one delegate's rubbish is passed
over on the way, and kept in mind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from trust.delegations import TARGETS, VISITED_MAX, is_of_tags, matches, walk
from trust.division import is_within
from trust.errors import InputError, LimitError, RefusedError, TrustError, UnreachableError
from trust.loaded_role import LoadedRole, TopLevel, Untrusted
from trust.loaded_roles import LoadedRoles
from trust.metadata import TARGETS_MAX_BYTES
from trust.role_file import read_file, require_linked
from trust.stores.interface import View
from trust.targets import Content, Target


class Loaded(LoadedRoles):
    """The verified roles of a collection, and the way through them.

    ``untrusted`` is what was passed over on the way through all of them.
    """

    def __init__(self, view: View, top: TopLevel) -> None:
        super().__init__(view, top)
        self.untrusted: dict[str, Untrusted] = {}

    def current(self, name: str, delegator: str) -> LoadedRole | None:
        """Return the role that the next version of ``name`` replaces, None where ``delegator`` has none yet."""
        if f"{name}.json" not in self.top.snapshot.signed.meta:
            return None
        try:
            if delegator not in {"root", *self._roles}:
                self.find(delegator)
            return self.role(name, delegator)
        except (InputError, RefusedError):
            return None

    def base(self, name: str, delegator: str) -> bytes | None:
        """Return the file that the next version of ``name`` replaces; None of a role that is new."""
        if name == "root":
            return self.top.roots.bodies[self.top.root.signed.version]
        link = self.top.snapshot.signed.meta.get(f"{name}.json")
        if link is None:
            return None
        role = self.current(name, delegator)
        if role is not None:
            return role.body
        data = read_file(
            self.view, f"{link.version}.{name}.json", TARGETS_MAX_BYTES
        )  # of a role that was removed once
        require_linked(name, link, data)
        return data

    def found(self, path: str) -> tuple[LoadedRole, Target | None]:
        """Return the role that answers for ``path``, of bins whose they are, and what it signs there."""
        route = walk(path, self)
        return self._roles[route.owner], self._roles[route.last].content.table.targets.get(path)

    def owner(self, path: str) -> LoadedRole:
        """Return the role that signs ``path``: the last one to which it is delegated. Of bins, whose they are.

        A role of some tags shares the digests of its repository with its delegator, and owns none.
        """
        role = self.targets
        for _ in range(VISITED_MAX):
            below = next(
                (each for each in role.content.delegations.roles if each.covers(path)
                 and not ("@" in path and is_of_tags(each.patterns))), None,
            )  # fmt: skip
            if below is None:
                return role
            role = self.role(below.name, role.name)
        raise LimitError(f"delegations for {path} go on after {VISITED_MAX} roles")

    def delegator_of(self, name: str) -> str:
        """Return the role that delegates to ``name``, a bin too.

        Raises:
            InputError: none does.
        """
        known = self._roles.get(name)
        if known is not None:
            return known.delegator
        prefix, last = name.rpartition("-")[0], None
        for role in self.named():
            bins, below = role.content.delegations.bins, role.content.delegations.named(name)
            if bins is not None and bins.prefix == prefix:
                return role.name
            if below is not None:
                if self._leads(below.patterns, role):
                    return role.name
                last = last or role.name
        if last is not None:
            return last
        raise InputError(f"the collection has no role {name}", hint="trust delegate list shows them")

    def find(self, name: str) -> LoadedRole:
        """Return the role ``name``, wherever in the collection it is delegated; bins are not looked into.

        Of several who delegate to it, he is believed through whom its images are found, or could be.

        Raises:
            InputError: there is none. RefusedError, UnreachableError: it is there, and not trusted.
        """
        if name in self._roles:
            return self._roles[name]
        last, cause = None, None
        for role in self.named():
            if role.name == name:
                return role
            if role.content.delegations.named(name) is None:
                continue
            try:
                found = self.role(name, role.name)
            except (RefusedError, UnreachableError) as err:
                cause = cause or err
                continue
            if self._is_found(found):
                return found
            self._roles.pop(name, None)
            last = last or role.name
        if last is not None:
            return self.role(name, last)
        raise cause or InputError(f"the collection has no role {name}", hint="trust delegate list shows them")

    def named(self) -> Iterator[LoadedRole]:
        """Yield every role but bins, delegators first; past those that are not trusted, which ``untrusted`` has.

        One team's rubbish is nobody else's. A role that several delegate to is his through whom its images are
        found: whoever merely names another's comes last.
        """
        pending, foreign, seen = deque([(TARGETS, "root")]), deque[tuple[str, str]](), set[str]()
        while pending or foreign:
            is_last = not pending
            name, delegator = (pending or foreign).popleft()
            if name in seen or (name not in self._roles and f"{name}.json" not in self.top.snapshot.signed.meta):
                continue  # what the snapshot does not name is read by nobody, whoever delegates to it
            known = self._roles.get(name)
            role = self._tried(name, delegator)
            if role is not None and not is_last and not self._is_found(role):
                foreign.append((name, delegator))
                self._roles.pop(name)
                self._roles |= {name: known} if known is not None else {}
            elif role is not None:
                seen.add(name)
                yield role
                pending.extend((each.name, name) for each in role.content.delegations.roles)

    def reaches(self, path: str, role: LoadedRole) -> bool:
        """Tell whether an image under ``path`` counts by what ``role`` says: so it is delegated, or looked up."""
        below, is_covered = role, True
        for each in self.above(role):
            delegation = each.content.delegations.named(below.name)
            is_covered = is_covered and (delegation is None or delegation.covers(path))
            below = each
        return is_covered or self._is_visited(path, role.name)

    def _is_visited(self, path: str, name: str) -> bool:
        known = dict(self._roles)
        try:
            return name in walk(path, self).visited
        except TrustError:  # and no consumer is told anything of it
            return False
        finally:
            self._roles = known

    def names_below(self, top: str, changed: Mapping[str, Content]) -> Iterator[str]:
        """Yield ``top``, a delegate of targets, and each name below it, as they would be after ``changed``.

        Names that are neither in the snapshot nor changed are nobody's yet. Whose a role is stays as it was found.
        """
        known, meta = dict(self._roles), self.top.snapshot.signed.meta
        pending, seen = [(top, TARGETS)], set[str]()
        try:
            while pending:
                name, delegator = pending.pop()
                if name in seen or not (name in changed or f"{name}.json" in meta):
                    continue
                seen.add(name)
                yield name
                if name not in changed and "-" in name:
                    continue  # a bin delegates nothing
                with suppress(InputError, RefusedError, UnreachableError, KeyError):
                    content = changed.get(name)
                    if f"{name}.json" in meta:
                        role = self.role(name, delegator)
                        content = content or role.content
                    pending += [(each, name) for each in content.delegations.names()] if content else []
        finally:
            self._roles = known

    def _tried(self, name: str, delegator: str) -> LoadedRole | None:
        try:
            role = self.role(name, delegator)
        except (RefusedError, UnreachableError) as err:
            self.untrusted.setdefault(name, Untrusted(name=name, delegator=delegator, cause=err))
            return None
        self.untrusted.pop(name, None)
        return role

    def _is_found(self, role: LoadedRole) -> bool:
        """Tell whether a look-up of some image of ``role`` comes this way, or might, of one without images."""
        ways = list(self._ways(role))
        paths = role.content.table.targets
        if not paths:  # who copies a delegation has it stand where his own patterns do not lead
            return role.delegator == "root" or self._leads(self.patterns(role), self._roles[role.delegator])
        return any(all(any(matches(each, path) for each in way) for way in ways) for path in paths)

    def _leads(self, patterns: tuple[str, ...], above: LoadedRole) -> bool:
        """Tell whether a look-up of something that ``patterns`` cover can come by way of ``above``."""
        ways = list(self._ways(above))
        return not patterns or any(all(is_within(each, way) for way in ways) for each in patterns)

    def _ways(self, role: LoadedRole) -> Iterator[tuple[str, ...]]:
        """Yield the patterns of ``role`` and of each role above it, but for that of targets."""
        for each in (role, *self.above(role)):
            if each.delegator != "root":
                yield self.patterns(each)

    def bins(self, role: LoadedRole, names: Iterable[str] | None = None) -> Iterator[LoadedRole]:
        """Yield the bins of ``role``, or those of ``names``; past those that are not trusted."""
        bins = role.content.delegations.bins
        for name in names if names is not None else bins.names() if bins is not None else ():
            found = self._tried(name, role.name)
            if found is not None:
                yield found
