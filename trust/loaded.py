"""Owns the publisher's picture of a collection: its verified roles, and the way through them.

Whose an image is, which role delegates to which, what stands below all of them: one delegate's rubbish is passed
over on the way, and kept in mind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from trust.delegations import TARGETS, VISITED_MAX, is_of_tags, matches, walk
from trust.errors import InputError, LimitError, RefusedError, UnreachableError
from trust.loaded_role import LoadedRole, TopLevel, Untrusted
from trust.loaded_roles import LoadedRoles
from trust.metadata import TARGETS_MAX_BYTES
from trust.role_file import read_file, require_linked
from trust.stores.interface import View
from trust.targets import Target


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
        prefix = name.rpartition("-")[0]
        for role in self.named():
            bins = role.content.delegations.bins
            if role.content.delegations.named(name) or (bins is not None and bins.prefix == prefix):
                return role.name
        raise InputError(f"the collection has no role {name}", hint="trust delegate list shows them")

    def find(self, name: str) -> LoadedRole:
        """Return the role ``name``, wherever in the collection it is delegated; bins are not looked into.

        Raises:
            InputError: there is none.
        """
        if name in self._roles:
            return self._roles[name]
        for role in self.named():
            if role.name == name:
                return role
            if role.content.delegations.named(name) is not None:
                return self.role(name, role.name)
        raise InputError(f"the collection has no role {name}", hint="trust delegate list shows them")

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

    def _tried(self, name: str, delegator: str) -> LoadedRole | None:
        try:
            role = self.role(name, delegator)
        except (RefusedError, UnreachableError) as err:
            self.untrusted.setdefault(name, Untrusted(name=name, delegator=delegator, cause=err))
            return None
        self.untrusted.pop(name, None)
        return role

    def _is_found(self, role: LoadedRole) -> bool:
        """Tell whether a look-up of some image of ``role`` comes this way; of one without images it may."""
        ways = list(self._ways(role))
        paths = role.content.table.targets
        return not paths or any(all(any(matches(each, path) for each in way) for way in ways) for path in paths)

    def _ways(self, role: LoadedRole) -> Iterator[tuple[str, ...]]:
        """Yield the patterns of ``role`` and of each role above it, but for that of targets."""
        above = [role.name]
        while role.delegator != "root":
            yield self.patterns(role)
            role = self._roles[role.delegator]
            if role.name in above:
                return
            above.append(role.name)

    def bins(self, role: LoadedRole, names: Iterable[str] | None = None) -> Iterator[LoadedRole]:
        """Yield the bins of ``role``, or those of ``names``; past those that are not trusted."""
        bins = role.content.delegations.bins
        for name in names if names is not None else bins.names() if bins is not None else ():
            found = self._tried(name, role.name)
            if found is not None:
                yield found
