"""Owns the decision of the shim: a reference in, a ruling out, from what was verified and never from an upstream.

  1. the policy names the collection that decides, or the pinned digest; none means deny
  2. where the collection's store shows what is not trusted, everything of it is denied for that reason
  3. its snapshot is judged; expiry is compared with the clock each time
  4. a denial is only watched (``audit``) where the policy says so of that collection

Holds no file and asks nobody; a worker gives it a new ``Standing`` whenever the keeper says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from registry_shim.snapshot import Metadata, Snapshot
from trust.digest import Digest
from trust.judge import match_or_verdict
from trust.policy import Match, Policy, Stanza
from trust.reference import Reference, Repository
from trust.stores import metadata_place
from trust.verdict import UNDECIDED, Allowed, Denied, Reason, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why nothing of a collection is accepted now."""

    reason: Reason
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a collection: its snapshot, and a refusal that outranks it."""

    snapshot: Snapshot | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdict on ``verdict.reference``; ``is_audited``: it is denied, and served all the same."""

    verdict: Verdict
    collection: str = ""
    is_audited: bool = False


class Gate:
    """Decides by ``policy`` and the standings; ``clock`` gives UTC seconds.

    ``epoch`` grows with every change of a standing: a ruling of an older one is to be asked for anew.
    """

    def __init__(self, policy: Policy, *, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._standings: dict[Digest, Standing] = {}
        self._former_files: dict[Digest, Mapping[Digest, bytes]] = {}
        self.epoch = 0
        self._places = {_metadata_place(stanza): stanza for stanza in policy.stanzas}

    @property
    def stanzas(self) -> tuple[Stanza, ...]:
        """The collections of the policy."""
        return self._policy.stanzas

    def stand(self, pin: Digest, standing: Standing) -> None:
        """Take ``standing`` for what is known of the collection under ``pin`` from now on."""
        known = self._standings.get(pin, _UNREAD)
        if known == standing:
            return
        former = known.snapshot
        if former is not None and former is not standing.snapshot and former.has_given_metadata:
            self._former_files[pin] = former.metadata.files
        self._standings[pin] = standing
        self.epoch += 1

    def is_unread(self, repository: Repository) -> bool:
        """Tell whether a collection decides on ``repository`` of which nothing was said yet."""
        match = self._policy.match(Reference(repository=repository, tag="latest", digest=None))
        return match is not None and match.stanza.root not in self._standings

    def rule(self, reference: Reference) -> Ruling:
        """Return the ruling on ``reference`` now, by the steps of this module."""
        now = self._clock()
        found = match_or_verdict(self._policy, reference, datetime.fromtimestamp(now, tz=timezone.utc))
        if not isinstance(found, Match):
            return Ruling(verdict=found)
        verdict = self._verdict(found, reference, now)
        is_audited = (
            found.stanza.mode == "audit" and isinstance(verdict, Denied) and verdict.reason not in UNDECIDED
        )
        return Ruling(verdict=verdict, collection=str(found.stanza.collection), is_audited=is_audited)

    def tags(self, repository: Repository) -> tuple[str, ...] | Denied:
        """Return the tags of ``repository`` that would be allowed now, sorted by bytes."""
        probe = _probe(repository)
        match = self._policy.match(probe)
        if match is None:
            verdict = match_or_verdict(self._policy, probe, datetime.fromtimestamp(self._clock(), tz=timezone.utc))
            return verdict if isinstance(verdict, Denied) else ()
        snapshot = self._standing(match).snapshot
        verdict = self._verdict(match, probe, self._clock())
        if snapshot is None or (isinstance(verdict, Denied) and verdict.reason not in _OF_ONE_TAG):
            return verdict if isinstance(verdict, Denied) else ()
        named = (Reference(repository=repository, tag=tag, digest=None) for tag in snapshot.tags(match.path))
        return tuple(each.tag for each in named if each.tag and isinstance(self.rule(each).verdict, Allowed))

    def metadata(self, repository: Repository, tag: str | None = None) -> Metadata | Denied | None:
        """Return the collection's metadata that lives in ``repository`` (under ``tag``); None where none does."""
        stanza = self._living_in(repository, tag)
        if stanza is None:
            return None
        standing = self._standings.get(stanza.root, _UNREAD)
        if standing.refusal is not None:
            return _denied(_probe(repository), standing.refusal)
        return None if standing.snapshot is None else standing.snapshot.metadata

    def metadata_file(self, repository: Repository, digest: Digest) -> bytes | None:
        """Return a file of the collection's metadata that lives in ``repository``, or None.

        Those of the former metadata too: a consumer may have read its manifest a moment ago.
        """
        stanza, metadata = self._living_in(repository, None), self.metadata(repository)
        if stanza is None or not isinstance(metadata, Metadata):
            return None
        return metadata.files.get(digest) or self._former_files.get(stanza.root, {}).get(digest)

    def _living_in(self, repository: Repository, tag: str | None) -> Stanza | None:
        """Return the collection whose metadata lives in ``repository``, under ``tag`` where one is given."""
        match = self._policy.match(_probe(repository))
        homes = {repository}  # a mirror serves it under its own name
        if match is not None:
            homes.add(Repository(host=match.stanza.collection.host, path=match.path))
        for (place, its_tag), stanza in self._places.items():
            if place in homes and tag in (None, its_tag):
                return stanza
        return None

    def _verdict(self, match: Match, reference: Reference, now: float) -> Verdict:
        standing = self._standing(match)
        if standing.refusal is not None:
            return _denied(reference, standing.refusal)
        if standing.snapshot is None:
            return _denied(reference, _unread(match.stanza))
        return standing.snapshot.verdict(self._policy, match, reference, now)

    def _standing(self, match: Match) -> Standing:
        return self._standings.get(match.stanza.root, _UNREAD)


_UNREAD = Standing()
_OF_ONE_TAG = frozenset({Reason.UNSIGNED, Reason.REVOKED, Reason.WRONG_SIGNER})


def _probe(repository: Repository) -> Reference:
    return Reference(repository=repository, tag="latest", digest=None)


def _unread(stanza: Stanza) -> Refusal:
    return Refusal(
        reason=Reason.UNREACHABLE,
        detail=f"no metadata of {stanza.collection} was verified here yet",
        hint="try again in a moment; the shim's page says what its store answers",
    )


def _denied(reference: Reference, refusal: Refusal) -> Denied:
    return Denied(reference=reference, reason=refusal.reason, detail=refusal.detail, hint=refusal.hint)


def _metadata_place(stanza: Stanza) -> tuple[Repository, str]:
    scheme, _, rest = stanza.metadata.partition(":")
    return metadata_place(rest if scheme == "registry" else "", stanza.collection)
