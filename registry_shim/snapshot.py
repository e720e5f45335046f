"""Owns what a worker knows of one collection at one moment: immutable, in memory, read from the trusted state.

A snapshot is judged by the very function that judges on disk (``trust.judge.judge``). A verdict holds until the
earliest expiry of the chain and is kept that long; after it every request is judged anew, against the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from trust.chain import RoleRefusal, TrustedChain
from trust.delegations import Delegations
from trust.digest import Digest, sha256
from trust.errors import RefusedError, StateError, TrustError, UnreachableError
from trust.judge import judge
from trust.policy import Match, Policy, Stanza
from trust.reference import Reference
from trust.state import TrustedState
from trust.stores.artifact import Artifact, File, artifact_bytes
from trust.stores.interface import TIMESTAMP
from trust.targets import Content, Table, Target, Tombstone
from trust.verdict import Denied, Verdict, reason_of

KEPT_VERDICTS_MAX = 100_000
_NO_CONTENT = frozenset({"root", "timestamp", "snapshot"})
_LOADS_MAX = 100  # a publisher cannot write so often that no quiet moment is found


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A collection's verified metadata as one artifact: its manifest, and the files that it names."""

    manifest: bytes
    digest: Digest
    files: Mapping[Digest, bytes]


class Snapshot:
    """One collection as it was verified; a ``trust.judge.Lookup``."""

    def __init__(
        self,
        stanza: Stanza,
        *,
        chain: TrustedChain,
        contents: Mapping[str, Content],
        refused: Mapping[str, RoleRefusal],
        bodies: Mapping[str, bytes],
        roots: Mapping[int, bytes],
    ) -> None:
        self.stanza = stanza
        self.chain = chain
        self.expires_at = min(
            role.facts.expires for name, role in chain.roles.items() if chain.is_current(name)
        ).timestamp()
        self._contents = contents
        self._refused = refused
        self._bodies = bodies
        self._roots = roots
        self._verdicts: dict[tuple[str, Reference], Verdict] = {}

    def enter(self, role: str, delegator: str) -> Delegations:
        """Return what ``role`` delegates; see ``trust.delegations.Roles``."""
        refusal = self._refused.get(role)
        if refusal is not None:
            raise RefusedError(refusal.detail, reason=refusal.reason, hint=refusal.hint)
        if not self.chain.is_current(role, delegator):
            raise UnreachableError(f"role {role} of {self.stanza.collection} was not verified here")
        return self._contents[role].delegations

    def holds(self, role: str, path: str) -> bool:
        """Tell whether ``role`` signs something under ``path``."""
        return path in self._contents[role].table.targets

    def target(self, role: str, path: str) -> Target | None:
        """Return the target that ``role`` signs under ``path``, or None."""
        return self._contents[role].table.targets.get(path)

    def tombstone(self, role: str, path: str) -> Tombstone | None:
        """Return the tombstone of a ``path`` that ``role`` revoked, or None."""
        return self._tombstones.get((role, path))

    def verdict(self, policy: Policy, match: Match, reference: Reference, now: float) -> Verdict:
        """Return the verdict on ``reference`` at ``now`` (UTC seconds)."""
        if now >= self.expires_at:
            return self._judged(policy, match, reference, now)
        key = (match.path, reference)
        found = self._verdicts.get(key)
        if found is None:
            if len(self._verdicts) >= KEPT_VERDICTS_MAX:  # whoever asks for a million names gets no memory for it
                self._verdicts.clear()
            found = self._verdicts[key] = self._judged(policy, match, reference, now)
        return found

    def tags(self, path: str) -> tuple[str, ...]:
        """Return the signed tags of the repository with the signed path ``path``, sorted by bytes."""
        return self._tags.get(path, ())

    @property
    def has_given_metadata(self) -> bool:
        """Tell whether anybody asked for the metadata."""
        return "metadata" in vars(self)

    @cached_property
    def metadata(self) -> Metadata:
        """The metadata of the collection, for consumers behind the shim: verified bytes, and no others."""
        versions = {name: role.facts.version for name, role in self.chain.roles.items()}
        named = {f"{version}.root.json": body for version, body in self._roots.items()}
        for role, body in self._bodies.items():
            if role != "root":
                named[TIMESTAMP if role == "timestamp" else f"{versions[role]}.{role}.json"] = body
        files = {name: File(digest=sha256(body), size_bytes=len(body)) for name, body in named.items()}
        generation = versions["timestamp"]
        manifest = artifact_bytes(
            Artifact(generation=generation, parent=None, parent_generation=generation - 1, files=files)
        )
        return Metadata(
            manifest=manifest,
            digest=sha256(manifest),
            files={files[name].digest: body for name, body in named.items()},
        )

    def _judged(self, policy: Policy, match: Match, reference: Reference, now: float) -> Verdict:
        moment = datetime.fromtimestamp(now, tz=self.chain.checked_at.tzinfo)
        try:
            return judge(policy, match, reference, chain=self.chain, lookup=self, now=moment)
        except TrustError as err:  # a role on the way is not accepted: what it covers is refused, nothing else
            return Denied(reference=reference, reason=reason_of(err), detail=str(err), hint=err.hint)

    @cached_property
    def _tombstones(self) -> dict[tuple[str, str], Tombstone]:
        return {
            (role, path): stone
            for role, content in self._contents.items()
            for stone in content.table.revoked.values()
            for path in stone.paths
        }

    @cached_property
    def _tags(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for content in self._contents.values():
            for path, tag in _tag_paths(content.table):
                found.setdefault(path, []).append(tag)
        return {path: tuple(sorted(set(tags))) for path, tags in found.items()}


def _tag_paths(table: Table) -> Iterator[tuple[str, str]]:
    for name in table.targets:
        if "@" not in name:
            path, _, tag = name.rpartition(":")
            yield path, tag


def _is_same(after: TrustedChain, before: TrustedChain) -> bool:
    return (after.roles, after.shared, after.root_version) == (before.roles, before.shared, before.root_version)


def load_snapshot(stanza: Stanza, state: TrustedState) -> Snapshot | None:
    """Return what ``state`` holds of the collection, all of one moment; None where nothing was verified yet.

    Raises:
        StateError: it is damaged.
    """
    for _ in range(_LOADS_MAX):
        chain = state.chain(stanza.root)
        if chain is None or not chain.is_coherent():
            return None
        current = {name for name in chain.roles if chain.is_current(name)}
        snapshot = Snapshot(
            stanza,
            chain=chain,
            contents={
                name: Content(
                    table=state.table(stanza.root, name), delegations=state.delegations(stanza.root, name)
                )
                for name in current
                if name not in _NO_CONTENT
            },
            refused=state.refusals(stanza.root),
            bodies={name: body for name, body in state.bodies(stanza.root).items() if name in current},
            roots=state.roots(stanza.root),
        )
        after = state.chain(stanza.root)
        if after is not None and _is_same(after, chain):
            return snapshot
    raise StateError(f"trusted state of {stanza.collection} does not stand still")
