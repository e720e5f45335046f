"""Owns the draft of an edition: the roles that change, numbered, dated, and signed as far as keys are at hand.

  1. every role that changes gets the next free number and a new expiry, delegators before their delegates
  2. each is signed by the keys that its delegator names, as the draft has that delegator
  3. what lacks signatures says how many, and whose

A draft is complete when each role has reached its threshold; a root has two, its own and its predecessor's.
A published (role, version) never has two contents: a number whose file exists is burnt and skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from tuf.api.metadata import Metadata, Root, Targets

from trust.digest import sha256
from trust.errors import LimitError
from trust.loaded import Loaded
from trust.metadata import period_of
from trust.role_keys import Delegator, role_keys, signers_of
from trust.roles import BASE_FIELD, VERSION_JUMP_MAX
from trust.signatures import Signers, missing, require_signed, sign_for
from trust.stores.interface import View
from trust.targets import Content
from trust.tuf_role import expiry, targets_role
from trust.value import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What an edition changes: the content of roles (new ones too), a root, roles that are only signed anew.

    ``vouches``: a new root names the timestamp that it is made over; one that waits for signatures cannot.
    """

    contents: Mapping[str, Content] = field(default_factory=dict)
    root: Root | None = None
    renewed: frozenset[str] = frozenset()
    vouches: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRole:
    """One role of a draft. Each of ``delegators`` has a threshold for it; ``base_version`` is what it replaces.

    The keys of ``before``, the root that is replaced with it, sign too where they are at hand: a consumer that has
    not seen the new root yet trusts it as well.
    """

    name: str
    delegator: str
    metadata: Metadata[Any]
    delegators: tuple[Delegator, ...]
    base_version: int
    before: Root | None = None

    @property
    def version(self) -> int:
        """The number it will have."""
        version: int = self.metadata.signed.version
        return version

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.version}.{self.name}.json"

    @property
    def is_bin(self) -> bool:
        """Tell whether it is one of many by hash."""
        above = self.delegators[0]
        return (
            isinstance(above, Targets) and above.delegations is not None and bool(above.delegations.succinct_roles)
        )

    def keyids(self) -> tuple[str, ...]:
        """Return the keys that may sign it."""
        return tuple(dict.fromkeys(key for each in self._above() for key in role_keys(each, self.name).keyids))

    def lacks(self) -> int:
        """Return how many signatures it lacks."""
        return max(missing(each, self.metadata, self.name) for each in self.delegators)

    def with_valid_signatures(self) -> DraftRole:
        """Return it without signatures by others than its keys, or of other bytes."""
        valid = {keyid for each in self._above() for keyid in signers_of(each, self.metadata, self.name)}
        kept = {keyid: each for keyid, each in self.metadata.signatures.items() if keyid in valid}
        return replace(self, metadata=Metadata(self.metadata.signed, kept))

    def sign(self, signers: Signers) -> None:
        """Add the signatures of those keys that are at hand.

        Raises:
            UnavailableError: a key is at hand and could not sign.
        """
        sign_for(self._above(), self.metadata, self.name, signers)

    def _above(self) -> tuple[Delegator, ...]:
        return self.delegators if self.before is None else (*self.delegators, self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The roles of an edition below which snapshot and timestamp are still to come; a root is the first."""

    roles: tuple[DraftRole, ...]

    @property
    def root(self) -> Root | None:
        """The new root, if there is one."""
        return next((role.metadata.signed for role in self.roles if role.name == "root"), None)

    @property
    def is_complete(self) -> bool:
        """Tell whether every role has reached its threshold."""
        return all(role.lacks() == 0 for role in self.roles)

    def sign(self, signers: Signers) -> None:
        """Add the signatures of those keys that are at hand."""
        for role in self.roles:
            role.sign(signers)

    def require_complete(self) -> None:
        """Refuse a draft that cannot be published.

        Raises:
            UnavailableError: a role is below its threshold.
        """
        for role in self.roles:
            require_signed(role.delegators, role.metadata, role.name)


def draft(loaded: Loaded, changes: Changes, *, now: datetime) -> Draft:
    """Return the unsigned draft of ``changes`` (step 1).

    Raises:
        LimitError: a role has no free number within ``VERSION_JUMP_MAX``.
        InputError: a role that is to change is not delegated.
    """
    return Draft(roles=tuple(_Drafting(loaded, changes, now).roles()))


class _Drafting:
    def __init__(self, loaded: Loaded, changes: Changes, now: datetime) -> None:
        self._loaded = loaded
        self._changes = changes
        self._now = now
        self._root = loaded.top.root.signed
        self._made: dict[str, DraftRole] = {}
        self._delegators = {
            name: delegator
            for delegator, content in changes.contents.items()
            for name in content.delegations.names()
        }

    def roles(self) -> Iterator[DraftRole]:
        before = self._loaded.top.root.signed
        if self._changes.root is not None or "root" in self._changes.renewed:
            self._root = Root.from_dict((self._changes.root or before).to_dict())
            self._root.version = before.version + 1
            self._root.expires = expiry(self._now, period_of(self._root, "root"))
            self._root.unrecognized_fields.pop(BASE_FIELD, None)
            if self._changes.vouches and not self._loaded.is_salvaged:  # nobody vouches for a thief's timestamp
                self._root.unrecognized_fields[BASE_FIELD] = str(sha256(self._loaded.top.timestamp_bytes))
            metadata: Metadata[Any] = Metadata(self._root)
            yield DraftRole(
                name="root",
                delegator="root",
                metadata=metadata,
                delegators=(before, self._root),
                base_version=before.version,
            )
        for name in (*self._changes.contents, *sorted(self._changes.renewed - {"root"})):
            self._make(name)
        yield from self._made.values()

    def _make(self, name: str) -> DraftRole:
        if name in self._made:
            return self._made[name]
        delegator = self._delegator(name)
        above = self._above(delegator)
        current = self._loaded.top.snapshot.signed.meta.get(f"{name}.json")
        version = current.version if current is not None else 0
        if name in self._changes.contents:
            content = self._changes.contents[name]
        else:
            content = self._loaded.role(name, delegator).content
        targets = targets_role(
            content,
            name=name,
            identity=self._loaded.identity,
            version=free(self._loaded.view, name, version),
            base_version=version,
            expires=expiry(self._now, period_of(above, name)),
        )
        published = self._loaded.top.root.signed
        role = DraftRole(
            name=name,
            delegator=delegator,
            metadata=Metadata(targets),
            delegators=(above,),
            base_version=version,
            before=published if delegator == "root" and above is not published else None,
        )
        self._made[name] = role
        return role

    def _delegator(self, name: str) -> str:
        if name == "targets":
            return "root"
        return self._delegators.get(name) or self._loaded.delegator_of(name)

    def _above(self, delegator: str) -> Delegator:
        """Return the delegator as this edition has it."""
        if delegator == "root":
            return self._root
        if delegator in self._changes.contents or delegator in self._changes.renewed:
            above: Targets = self._make(delegator).metadata.signed
            return above
        return self._loaded.find(delegator).metadata.signed


def free(view: View, name: str, current: int) -> int:
    """Return the next version whose file nobody has used: a number is burnt by a crash or a loser.

    Raises:
        LimitError: none within ``VERSION_JUMP_MAX``.
    """
    for version in range(current + 1, current + VERSION_JUMP_MAX):
        if not view.taken(f"{version}.{name}.json"):
            return version
    raise LimitError(f"role {name} has no free version within {VERSION_JUMP_MAX} above {current}")
