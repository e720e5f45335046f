"""Owns the publisher's picture of a collection: its verified roles, which an edit looks through and builds on.

Delegated roles are read and verified when they are asked for (``trust.role_file``): of thousands of bins an edit
needs a few. A content can be laid over a role: a change that waits, or was passed over, which the next edit takes
along.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from trust.delegations import TARGETS, VISITED_MAX, Bins, Delegation, Delegations, is_of_tags, matches, walk
from trust.errors import InputError, LimitError, RefusedError, UnreachableError
from trust.floors import Roots
from trust.metadata import (
    TARGETS_MAX_BYTES,
    Delegator,
    delegations_of,
    require_binding,
    require_distinct_keys,
    role_keys,
    table_of,
)
from trust.role_file import linked, read_file, require_floor, require_linked
from trust.roles import BASE_FIELD
from trust.stores.interface import View
from trust.targets import Content, Table, Target, Tombstone
from trust.value import dataclass, replace
from trust.verdict import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRole:
    """A verified targets role, and the role that delegates to it."""

    name: str
    delegator: str
    metadata: Metadata[Targets]
    body: bytes
    content: Content

    @property
    def version(self) -> int:
        """Its current version."""
        return self.metadata.signed.version

    @property
    def base_version(self) -> object:
        """The version that this one was made from, as it says itself."""
        return self.metadata.signed.unrecognized_fields.get(BASE_FIELD)


class UnreadableRoleError(RefusedError):
    """A role says what is not understood, signed by its own keys; or its delegator names one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrusted:
    """A delegated role that was passed over, and why; whatever it covers is refused by every consumer."""

    name: str
    delegator: str
    cause: RefusedError | UnreachableError

    @property
    def is_of_delegates(self) -> bool:
        """Tell whether delegates have done that themselves: neither the store nor an online key is to blame."""
        is_below = self.delegator not in {"root", TARGETS}
        reason = getattr(self.cause, "reason", None)
        return isinstance(self.cause, UnreadableRoleError) or (is_below and reason == Reason.BELOW_THRESHOLD.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopLevel:
    """The verified top of a collection, expired or not."""

    identity: str
    roots: Roots
    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    timestamp_bytes: bytes
    snapshot: Metadata[Snapshot]
    snapshot_bytes: bytes


class Loaded:
    """The verified current metadata of a collection; a ``trust.delegations.Roles``.

    Delegated roles are read when they are asked for: of thousands of bins an edit needs a few.
    """

    def __init__(self, view: View, top: TopLevel) -> None:
        self.view = view
        self.top = top
        self._roles: dict[str, LoadedRole] = {}
        self._root: Root | None = None
        self.behind: frozenset[str] = frozenset()  # roles that are not signed under the newest root yet
        self.floors: Mapping[str, int] = {}
        self.untrusted: dict[str, Untrusted] = {}  # what was passed over on the way through all roles
        self.is_salvaged = False  # what snapshot and timestamp say was not believed (``trust.salvage``)

    @property
    def root(self) -> Root:
        """The newest root, or the one that was laid over it."""
        return self._root or self.top.root.signed

    @property
    def identity(self) -> str:
        """The id of the collection."""
        return self.top.identity

    @property
    def targets(self) -> LoadedRole:
        """The role that every walk begins with."""
        return self.role(TARGETS, "root")

    def versions(self) -> dict[str, int]:
        """Return the current version of each role that was read; one that was laid here is not there yet."""
        top = (self.top.root, self.top.timestamp, self.top.snapshot)
        meta = self.top.snapshot.signed.meta
        return {each.signed.type: each.signed.version for each in top} | {
            name: meta[f"{name}.json"].version for name in self._roles if f"{name}.json" in meta
        }

    def files(self) -> tuple[str, ...]:
        """Return the names of the versioned files that are current; every root is."""
        snapshot = self.top.snapshot.signed
        return (
            *(f"{version}.root.json" for version in self.top.roots.bodies),
            f"{snapshot.version}.snapshot.json",
            *(f"{link.version}.{name}" for name, link in snapshot.meta.items()),
        )

    def role(self, name: str, delegator: str) -> LoadedRole:
        """Return ``name`` as a delegate of ``delegator``, verified (steps 2 and 3).

        Raises:
            RefusedError: it is not trusted. UnreachableError: it is not there.
        """
        known = self._roles.get(name)
        if known is not None and known.delegator == delegator:
            return known
        if known is not None and f"{name}.json" in self.top.snapshot.signed.meta:
            # Another delegates to it as well: the same bytes, and what was laid over them, by his keys.
            require_distinct_keys(self._above(delegator), known.metadata, name)
            role = replace(known, delegator=delegator)
        else:
            metadata, body = self.signed(name, delegator)
            try:
                content = Content(table=table_of(metadata.signed), delegations=delegations_of(metadata.signed))
            except RefusedError as err:
                raise UnreadableRoleError(f"role {name}: {err}", reason=err.reason) from err
            role = LoadedRole(name=name, delegator=delegator, metadata=metadata, body=body, content=content)
        self._roles[name] = role
        return role

    def signed(self, name: str, delegator: str) -> tuple[Metadata[Targets], bytes]:
        """Return ``name`` as its keys have signed it for ``delegator``, whatever it says, and its bytes.

        Raises:
            RefusedError: it is not trusted. UnreachableError: it is not there.
        """
        link = self.top.snapshot.signed.meta.get(f"{name}.json")
        if link is None:
            raise UnreadableRoleError(f"snapshot names no role {name}", reason=Reason.TAMPERED.value)
        require_floor(name, link.version, self.floors)
        above = self._above(delegator)
        metadata, body = linked(above, name, link, self.view, TARGETS_MAX_BYTES, kind=TARGETS)
        require_binding(metadata.signed, name, self.identity)
        return metadata, body

    def _above(self, delegator: str) -> Delegator:
        return self.root if delegator == "root" else self._roles[delegator].metadata.signed

    def put(self, name: str, content: Content) -> None:
        """Have ``name``, which was read, say ``content`` from now on: an edit builds on it."""
        self._roles[name] = replace(self._roles[name], content=content)

    def lay(self, role: LoadedRole) -> None:
        """Have a role that the snapshot does not name yet: an edit builds on it."""
        self._roles[role.name] = role

    def lay_root(self, root: Root) -> None:
        """Have ``root``, which is not published, in the place of the newest one: an edit builds on it."""
        self._root = root

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

    def enter(self, role: str, delegator: str) -> Delegations:
        """Return what ``role`` delegates; see ``Roles.enter``."""
        return self.role(role, delegator).content.delegations

    def holds(self, role: str, path: str) -> bool:
        """Tell whether an entered ``role`` has a target under ``path``."""
        return path in self._roles[role].content.table.targets

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

    def keyids(self, role: LoadedRole) -> tuple[str, ...]:
        """Return the keys that sign ``role``, and its bins where it has some, as its delegator now says."""
        below = self._delegation(role)
        return below.keyids if below is not None else tuple(role_keys(self.delegator(role), role.name).keyids)

    def delegator(self, role: LoadedRole) -> Delegator:
        """Return the metadata that delegates to ``role``."""
        return self.root if role.delegator == "root" else self._roles[role.delegator].metadata.signed

    def revoked_above(self, role: LoadedRole) -> dict[str, Tombstone]:
        """Return what the roles above ``role`` have revoked: it may not be signed below them either."""
        revoked: dict[str, Tombstone] = {}
        while role.delegator != "root":
            role = self._roles[role.delegator]
            revoked |= role.content.table.revoked
        return revoked

    def threshold(self, role: LoadedRole) -> int:
        """Return how many keys must sign ``role``."""
        below = self._delegation(role)
        return below.threshold if below is not None else role_keys(self.delegator(role), role.name).threshold

    def keys(self, role: LoadedRole) -> dict[str, Any]:
        """Return the public keys of ``role`` by id, as TUF spells them."""
        if self._delegation(role) is not None:
            spelled = self._roles[role.delegator].content.delegations.keys
            return {keyid: spelled[keyid] for keyid in self.keyids(role)}
        above = self.delegator(role)
        known = above.keys if isinstance(above, Root) else above.delegations.keys if above.delegations else {}
        return {keyid: {"keyid": keyid, **known[keyid].to_dict()} for keyid in self.keyids(role)}

    def patterns(self, role: LoadedRole) -> tuple[str, ...]:
        """Return what is delegated to ``role``; nothing of the targets role, to which everything is."""
        below = self._delegation(role)
        if below is not None:
            return below.patterns if isinstance(below, Delegation) else ()
        return tuple(getattr(role_keys(self.delegator(role), role.name), "paths", None) or ())

    def _delegation(self, role: LoadedRole) -> Delegation | Bins | None:
        """Return how ``role`` is delegated now, an edit included; None of the targets role."""
        if role.delegator == "root":
            return None
        delegations = self._roles[role.delegator].content.delegations
        return delegations.named(role.name) or delegations.bins

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

    def tables(self) -> Iterator[tuple[LoadedRole, Table]]:
        """Yield what can be read of every role, as ``table`` has it; past those that are not trusted."""
        for role in self.named():
            targets = dict(role.content.table.targets)
            for each in self.bins(role):
                targets.update(each.content.table.targets)
            yield role, replace(role.content.table, targets=targets)

    def table(self, role: LoadedRole, paths: Iterable[str] | None) -> Table:
        """Return what ``role`` says of ``paths`` (None: of everything), gathered from its bins where it has some.

        Revocations are the role's own, in bins or not.
        """
        bins = role.content.delegations.bins
        if bins is None:
            return role.content.table
        names = bins.names() if paths is None else sorted({bins.name_of(path) for path in paths})
        found: dict[str, Target] = {}
        for name in names:
            found.update(self.role(name, role.name).content.table.targets)
        return Table(targets=found, revoked=role.content.table.revoked)

    def contents(self, role: LoadedRole, before: Table, after: Table) -> dict[str, Content]:
        """Return the content of each role that changes as ``before`` becomes ``after``: ``role``, or its bins."""
        bins, delegations = role.content.delegations.bins, role.content.delegations
        if bins is None:
            return {} if after == before else {role.name: Content(table=after, delegations=delegations)}
        tables: dict[str, dict[str, Target]] = {}
        for path in before.targets.keys() | after.targets.keys():
            target = after.targets.get(path)
            if target == before.targets.get(path):
                continue
            name = bins.name_of(path)
            if name not in tables:
                tables[name] = dict(self.role(name, role.name).content.table.targets)
            if target is None:
                tables[name].pop(path, None)
            else:
                tables[name][path] = target
        changed = {
            name: Content(table=Table(targets=targets, revoked={})) for name, targets in sorted(tables.items())
        }
        if after.revoked != before.revoked:
            own = Table(targets=role.content.table.targets, revoked=after.revoked)
            changed[role.name] = Content(table=own, delegations=delegations)
        return changed
