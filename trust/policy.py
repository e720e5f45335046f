"""Owns the policy: which collection speaks for an image, and what is asked of it.

``Policy.match`` finds the one stanza that decides (``trust.decision``). A policy names roles and never keys; no
match means deny; where the longest match fails, no shorter one is asked. Pure: no IO, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from trust.digest import Digest
from trust.reference import Collection, Reference
from trust.value import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """A mirror that serves ``to…`` under ``from…``: ``hub/acme/`` for ``acme/``."""

    source: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """What the policy says of one collection."""

    collection: Collection
    root: Digest
    metadata: str
    publish: str | None = None
    registries: tuple[str, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    roles: tuple[str, ...] = ()
    attestations: tuple[str, ...] = ()
    digests: Literal["signed", "current"] = "signed"
    fresh: Literal["allow", "deny"] = "allow"
    mode: Literal["enforce", "audit"] = "enforce"
    max_age: timedelta = timedelta(0)
    floors: Mapping[str, int] = field(default_factory=dict)

    def path_of(self, reference: Reference) -> str | None:
        """Return the signed repository path of ``reference`` if this collection covers it, else None."""
        if reference.repository.host not in (self.collection.host, *self.registries):
            return None
        path = reference.repository.path
        for rewrite in self.rewrites:
            if path.startswith(rewrite.source):
                path = rewrite.to + path[len(rewrite.source) :]
                break
        return path if self.collection.covers_path(path) else None

    def prefixes(self, host: str) -> tuple[str, ...]:
        """Return below what the images of this collection are meant to stand at ``host``."""
        path = self.collection.path
        if host not in (self.collection.host, *self.registries):
            return ()
        moved = [
            each.source + path[len(each.to) :] if path.startswith(each.to) else each.source
            for each in self.rewrites
            if path.startswith(each.to) or each.to.startswith(path)
        ]
        return tuple(moved) if moved and host != self.collection.host else (*moved, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One digest of a third party, admitted until a date without any collection."""

    reference: Reference
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The stanza that decides for a reference, and the signed path of its repository."""

    stanza: Stanza
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Every stanza, pinned digest and local denial that is in force here."""

    stanzas: tuple[Stanza, ...] = ()
    pinned: tuple[Pinned, ...] = ()
    denied_digests: frozenset[Digest] = frozenset()
    denied_keys: frozenset[str] = frozenset()

    def match(self, reference: Reference) -> Match | None:
        """Return the stanza with the longest prefix that covers ``reference``; None means deny.

        None, too, where two do alike: the order of the stanzas is no reason to believe one root or another.
        """
        best = self.tied(reference)
        return best[0] if len(best) == 1 else None

    def tied(self, reference: Reference) -> tuple[Match, ...]:
        """Return the matches with the longest prefix that covers ``reference``: more than one decide nothing."""
        matches = [
            Match(stanza=stanza, path=path)
            for stanza in self.stanzas
            if (path := stanza.path_of(reference)) is not None
        ]
        longest = max((len(match.stanza.collection.path) for match in matches), default=0)
        return tuple(match for match in matches if len(match.stanza.collection.path) == longest)

    def pin_of(self, reference: Reference) -> Pinned | None:
        """Return the pinned entry that admits ``reference``, by its digest or by the pinned tag."""
        for pin in self.pinned:
            if pin.reference.repository != reference.repository:
                continue
            if reference.digest == pin.reference.digest or (
                reference.digest is None and reference.tag == pin.reference.tag is not None
            ):
                return pin
        return None
