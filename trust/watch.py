"""Owns the watch over collections: snapshot and timestamp signed anew in time, for as long as it runs.

For each collection, in turns:
  1. what its store shows is loaded and verified, as before every publish
  2. changes that were completed are published (``publish_pending``)
  3. where half of the period that snapshot or timestamp was signed for is gone, both are signed anew; and in the
     first turn, since that shows that it can be done
  4. what no valid timestamp names any more is removed (``collect``)
  5. whoever watches is told what was done, what failed, and which role nears its end

An outage ends nothing: what failed is tried again, soon at first and then every ``RETRY_MOST``. Only the first
turn may end the watch: with keys that do not open, or a store that is not trusted, there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tuf.api.metadata import Metadata

from trust.chain import ONLINE_ROLES, RoleFacts
from trust.decision import WARN_FRACTION
from trust.errors import ConflictError, LimitError, TrustError, UnreachableError
from trust.instant import format_span, format_utc
from trust.loaded import Loaded
from trust.metadata import trusted_role
from trust.publish import Publisher
from trust.published import Published
from trust.role_keys import Delegator
from trust.value import dataclass, field, replace

PERIODS: Mapping[str, timedelta] = dict.fromkeys(ONLINE_ROLES, timedelta(days=1))  # whoever renews so often
LOOK_EVERY = timedelta(minutes=1)  # where changes are to be published when they are complete
REST_MOST = timedelta(hours=1)  # others publish too, and clocks are set
RETRY_FIRST = timedelta(seconds=5)
RETRY_MOST = timedelta(minutes=10)

Worked = Callable[[Publisher], Published]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that whoever watches is told.

    ``kind`` is ``ready``, ``published``, ``kept`` (nothing was due), ``failed``, ``near``, ``expired``, ``ended``.
    """

    at: datetime
    kind: str
    text: str
    collection: str | None = None
    hint: str | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What is known of a collection: its roles as last seen, when to look again, how often it failed since.

    Between two looks at ``load_at`` or after, only changes that wait are asked for.
    """

    next_at: datetime
    load_at: datetime
    roles: tuple[RoleFacts, ...] = ()
    failed: int = 0
    told: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a watch needs from outside.

    ``open_publisher`` returns the publisher of a collection for one turn at a moment; ``wait`` sleeps, and says
    whether it was told to end meanwhile; ``failures`` are the errors of keys and disk that an outage consists of.
    """

    collections: tuple[str, ...]
    open_publisher: Callable[[str, datetime], Publisher]
    clock: Callable[[], datetime]
    wait: Callable[[timedelta], bool]
    report: Callable[[Event], None]
    failures: tuple[type[Exception], ...] = (TrustError,)
    collect: Callable[[Publisher, Loaded], object] | None = None  # never raises: what was published stands
    publish_pending: Worked | None = None  # None: nothing here makes changes that wait

    def run(self) -> None:
        """Watch until ``wait`` says that it is over.

        Raises:
            TrustError: of the first turn, where trying again would be of no use.
        """
        now = self.clock()
        standings = {name: self._first(name, now) for name in self.collections}
        self._tell("ready", f"watching {', '.join(self.collections)}")
        while not self.wait(self._rest(standings)):
            now = self.clock()
            for name, standing in standings.items():
                if standing.next_at <= now or standing.next_at > now + REST_MOST:  # or the clock was set back
                    standings[name] = self._turn(name, standing, now)
        self._tell("ended", "told to end")

    def _first(self, name: str, now: datetime) -> _Standing:
        standing = _Standing(next_at=now, load_at=now)
        try:
            return self._done(name, standing, now)
        except (UnreachableError, LimitError, ConflictError) as err:
            return self._failed(name, standing, now, err)

    def _turn(self, name: str, standing: _Standing, now: datetime) -> _Standing:
        try:
            return self._done(name, standing, now)
        except self.failures as err:
            return self._failed(name, standing, now, err)

    def _done(self, name: str, standing: _Standing, now: datetime) -> _Standing:
        """Return how ``name`` stands after a turn that succeeded (steps 1 to 5)."""
        publisher = self.open_publisher(name, now)
        published = self.publish_pending(publisher) if self.publish_pending is not None else None
        is_changed = published is not None and published.changed
        if not (is_changed or standing.failed) and standing.load_at - REST_MOST <= now < standing.load_at:
            return self._aged(name, replace(standing, next_at=min(standing.load_at, now + LOOK_EVERY)), now)
        loaded = publisher.load()
        if not standing.roles or loaded.behind or due_at(facts_of(loaded)) <= now:
            published = publisher.renew(frozenset())
        is_changed = published is not None and published.changed
        if is_changed:
            loaded = publisher.load()
        roles = facts_of(loaded)
        until = min(facts.expires for facts in roles)
        if is_changed or standing.failed:
            self._tell(
                "published" if is_changed else "kept",
                f"valid until {format_utc(until)} ({format_span(until - now)})",
                collection=name, versions=loaded.versions(), valid_until=until,
            )  # fmt: skip
        if is_changed and self.collect is not None:
            self.collect(publisher, loaded)
        load_at = min(due_at(roles), now + REST_MOST)
        next_at = load_at if self.publish_pending is None else min(load_at, now + LOOK_EVERY)
        return self._aged(name, replace(standing, roles=roles, failed=0, next_at=next_at, load_at=load_at), now)

    def _failed(self, name: str, standing: _Standing, now: datetime, err: Exception) -> _Standing:
        pause = min(RETRY_FIRST * 2 ** min(standing.failed, 16), RETRY_MOST)
        self._tell(
            "failed", f"{err}; tried again in {format_span(pause)}",
            collection=name, hint=getattr(err, "hint", None),
        )  # fmt: skip
        return self._aged(name, replace(standing, failed=standing.failed + 1, next_at=now + pause), now)

    def _aged(self, name: str, standing: _Standing, now: datetime) -> _Standing:
        """Tell of each role that nears its end, once, and once more when it is past."""
        told = set()
        for facts in standing.roles:
            kind = ageing(facts, now)
            if kind is None:
                continue
            told.add((facts.name, kind))
            if (facts.name, kind) not in standing.told:
                text, hint = ageing_words(facts, now, name)
                self._tell(kind, text, collection=name, valid_until=facts.expires, hint=hint)
        return replace(standing, told=frozenset(told))

    def _rest(self, standings: Mapping[str, _Standing]) -> timedelta:
        left = min(standing.next_at for standing in standings.values()) - self.clock()
        return min(max(left, timedelta(0)), REST_MOST)

    def _tell(self, kind: str, text: str, **more: object) -> None:
        self.report(Event(at=self.clock(), kind=kind, text=text, **more))  # type: ignore[arg-type]  # of Event


def facts_of(loaded: Loaded) -> tuple[RoleFacts, ...]:
    """Return the facts of the roles of a collection, root first, without bins: they expire with each other.

    A delegated role that is not to be had is no reason to let all others expire; those who verify are told.
    """
    top = (loaded.top.root, loaded.top.timestamp, loaded.top.snapshot)
    found = [_facts(loaded.root, loaded, each.signed.type, each) for each in top]
    found += [_facts(loaded.delegator(role), loaded, role.name, role.metadata) for role in loaded.named()]
    return tuple(found)


def _facts(delegator: Delegator, loaded: Loaded, name: str, metadata: Metadata[Any]) -> RoleFacts:
    return trusted_role(delegator, "", loaded.root, name, metadata, None).facts


def due_at(roles: tuple[RoleFacts, ...]) -> datetime:
    """Return when snapshot and timestamp are signed anew: half of the period of the first of them is gone."""
    return min(facts.expires - (facts.period or timedelta(0)) / 2 for facts in roles if facts.name in ONLINE_ROLES)


def ageing(facts: RoleFacts, now: datetime) -> str | None:
    """Return ``near`` where less than a quarter of the period is left, ``expired`` where nothing is, else None."""
    left = facts.expires - now
    if left <= timedelta(0):
        return "expired"
    return "near" if facts.period is not None and left < facts.period / WARN_FRACTION else None


def ageing_words(facts: RoleFacts, now: datetime, collection: str) -> tuple[str, str]:
    """Return what is told of a role that nears its end or is past it, and what helps."""
    until, span = format_utc(facts.expires), format_span(facts.expires - now)
    if now < facts.expires:
        text = f"role {facts.name} expires in {span}, on {until}"
    else:
        text = f"role {facts.name} expired {span} ago, on {until}: no image is allowed any more"
    if facts.name in ONLINE_ROLES:
        return text, "can this machine reach the store, and open the online key?"
    return text, f"with its keys at hand: trust renew {collection} {facts.name}"
