"""Owns the draft of an edition: the roles that change, numbered, dated, and signed as far as keys are at hand.

  1. every role that changes gets the next free number and a new expiry, delegators before their delegates
  2. each is signed by the keys that its delegator names, as the draft has that delegator
  3. what lacks signatures says how many, and whose

A draft is complete when each role has reached its threshold; a root has two, its own and its predecessor's.
A published (role, version) never has two contents: a number whose file exists is burnt and skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Metadata,
    Root,
    SuccinctRoles,
    TargetFile,
    Targets,
)
from tuf.api.metadata import Delegations as TufDelegations

from trust.canonical import CANONICAL
from trust.delegations import Delegations
from trust.digest import sha256
from trust.errors import LimitError, UnavailableError
from trust.loaded import Loaded
from trust.metadata import Delegator, period_of, role_keys, signed_bytes_of, signers_of
from trust.roles import (
    BASE_FIELD,
    COLLECTION_FIELD,
    EXPIRY_FIELD,
    REVOKED_FIELD,
    ROLE_FIELD,
    SIGNERS_FIELD,
    VERSION_JUMP_MAX,
)
from trust.stores.interface import View
from trust.targets import Content, target_custom, tombstone_json
from trust.value import dataclass, field, replace

Signers = Mapping[str, Signer]
Keyring = Callable[[Collection[str]], Signers]
"""Takes the key ids that may sign, returns the signers of those that are at hand."""


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


def targets_role(
    content: Content, *, name: str, identity: str, version: int, base_version: int, expires: datetime
) -> Targets:
    """Return the TUF role that says ``content``."""
    table = content.table
    fields: dict[str, Any] = {**binding(identity, name), BASE_FIELD: base_version}
    if table.revoked:
        fields[REVOKED_FIELD] = {digest: tombstone_json(tombstone) for digest, tombstone in table.revoked.items()}
    uses = Counter(keyid for target in table.targets.values() for keyid in target.signed_by)
    by = sorted(uses, key=lambda keyid: (-uses[keyid], keyid))
    numbers = {keyid: number for number, keyid in enumerate(by)}
    if by:
        fields[SIGNERS_FIELD] = by
    files = {
        path: TargetFile(
            target.size_bytes, {"sha256": target.digest.hex}, path, {"custom": target_custom(target, numbers)}
        )
        for path, target in table.targets.items()
    }
    return Targets(
        version=version,
        expires=expires,
        targets=files,
        delegations=_delegations(content.delegations),
        unrecognized_fields=fields,
    )


def _delegations(delegations: Delegations) -> TufDelegations | None:
    if delegations.bins is None and not delegations.roles:
        return None
    keys = {keyid: Key.from_dict(keyid, _without_id(spelled)) for keyid, spelled in delegations.keys.items()}
    if delegations.bins is not None:
        bins = delegations.bins
        succinct = SuccinctRoles(
            list(bins.keyids), bins.threshold, bins.bits, bins.prefix, _period_field(bins.period)
        )
        return TufDelegations(keys, succinct_roles=succinct)
    roles = {
        role.name: DelegatedRole(
            role.name, list(role.keyids), role.threshold, role.terminating, paths=list(role.patterns),
            unrecognized_fields=_period_field(role.period),
        )
        for role in delegations.roles
    }  # fmt: skip
    return TufDelegations(keys, roles=roles)


def _without_id(spelled: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spelled.items() if key != "keyid"}


def _period_field(period: timedelta | None) -> dict[str, Any]:
    return {EXPIRY_FIELD: int(period.total_seconds())} if period is not None else {}


def sign_for(delegators: Iterable[Delegator], metadata: Metadata[Any], name: str, signers: Signers) -> None:
    """Add the signatures of those keys of ``name`` that are at hand.

    Raises:
        UnavailableError: a key is at hand and could not sign.
    """
    for keyid in dict.fromkeys(keyid for each in delegators for keyid in role_keys(each, name).keyids):
        if keyid not in signers or keyid in metadata.signatures:
            continue
        try:
            metadata.sign(signers[keyid], append=True, signed_serializer=CANONICAL)
        except UnsignedMetadataError as err:
            cause = err.__cause__ or err  # what a token or KMS said, without "Failed to sign"
            raise UnavailableError(
                f"key {keyid[:12]} could not sign {name}: {cause}", hint=getattr(cause, "hint", None)
            ) from err


def require_signed(delegators: tuple[Delegator, ...], metadata: Metadata[Any], name: str) -> None:
    """Refuse a role below the threshold that one of ``delegators`` has for it.

    Raises:
        UnavailableError: it is.
    """
    for delegator in delegators:
        role = role_keys(delegator, name)
        lacking = missing(delegator, metadata, name)
        if lacking:
            raise UnavailableError(
                f"role {name} needs {role.threshold} signatures, "
                f"{role.threshold - lacking} of its keys are at hand",
                hint=f"bring a key of: {', '.join(keyid[:12] for keyid in role.keyids)}",
            )


def missing(delegator: Delegator, metadata: Metadata[Any], name: str) -> int:
    """Return how many signatures ``metadata`` lacks as ``name`` under ``delegator``."""
    role = role_keys(delegator, name)
    result = delegator.get_verification_result(name, signed_bytes_of(metadata), metadata.signatures)
    return max(0, role.threshold - len(result.signed))


def free(view: View, name: str, current: int) -> int:
    """Return the next version whose file nobody has used: a number is burnt by a crash or a loser.

    Raises:
        LimitError: none within ``VERSION_JUMP_MAX``.
    """
    for version in range(current + 1, current + VERSION_JUMP_MAX):
        if not view.taken(f"{version}.{name}.json"):
            return version
    raise LimitError(f"role {name} has no free version within {VERSION_JUMP_MAX} above {current}")


def binding(identity: str, name: str) -> dict[str, str]:
    """Return the fields that bind a role to its collection and to its name."""
    return {COLLECTION_FIELD: identity, ROLE_FIELD: name}


def expiry(now: datetime, period: timedelta) -> datetime:
    """Return the moment at which a role that is signed now expires, in whole seconds."""
    return (now + period).replace(microsecond=0)
