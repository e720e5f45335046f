"""Owns the verified roles of a collection as a publisher reads them, and what is laid over them.

Delegated roles are read and verified when they are asked for (``trust.role_file``): of thousands of bins an edit
needs a few. A content can be laid over a role: a change that waits, or was passed over, which the next edit takes
along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tuf.api.metadata import Metadata, Root, Targets

from trust.delegations import TARGETS, Bins, Delegation, Delegations
from trust.errors import RefusedError
from trust.loaded_role import LoadedRole, TopLevel, UnreadableRoleError
from trust.metadata import TARGETS_MAX_BYTES, delegations_of, require_binding, table_of
from trust.role_file import linked, require_floor
from trust.role_keys import Delegator, require_distinct_keys, role_keys
from trust.stores.interface import View
from trust.targets import Content, Tombstone
from trust.value import replace
from trust.verdict import Reason


class LoadedRoles:
    """The verified current metadata of a collection; a ``trust.delegations.Roles``."""

    def __init__(self, view: View, top: TopLevel) -> None:
        self.view = view
        self.top = top
        self._roles: dict[str, LoadedRole] = {}
        self._root: Root | None = None
        self.behind: frozenset[str] = frozenset()  # roles that are not signed under the newest root yet
        self.floors: Mapping[str, int] = {}
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

    def enter(self, role: str, delegator: str) -> Delegations:
        """Return what ``role`` delegates; see ``Roles.enter``."""
        return self.role(role, delegator).content.delegations

    def holds(self, role: str, path: str) -> bool:
        """Tell whether an entered ``role`` has a target under ``path``."""
        return path in self._roles[role].content.table.targets

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
        for each in self.above(role):
            revoked |= each.content.table.revoked
        return revoked

    def above(self, role: LoadedRole) -> Iterator[LoadedRole]:
        """Yield the roles above ``role``, the nearest first, each once: a thief's may delegate in a circle."""
        seen = {role.name}
        while role.delegator != "root":
            role = self._roles[role.delegator]
            if role.name in seen:
                return
            seen.add(role.name)
            yield role

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
