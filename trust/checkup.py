"""Owns the examination of what verification rests on here: policy, home, clock, and each collection's metadata.

It refreshes trusted state as a verification does, and decides nothing. Only ``probe_finding`` writes to a store.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from trust.client import CLOCK_TOLERANCE, refresh
from trust.deadline import Deadline
from trust.decision import WARN_FRACTION
from trust.errors import InputError, RefusedError, TrustError
from trust.finding import Finding, error, fine, unknown, warning
from trust.instant import format_span, format_utc
from trust.policy import Stanza
from trust.state import TrustedState
from trust.stores.interface import Store


def home_findings(home: Path) -> list[Finding]:
    """Return whether ``home`` can keep trusted state, and who else could change it."""
    try:
        found = {path: path.stat() for path in (home, *sorted(home.glob("state.db*"))) if path.exists()}
    except OSError as err:
        return [unknown(f"home {home} cannot be read: {err.strerror}")]
    if home not in found:
        return [warning(f"home {home} is not there yet: the first verification will be a first use")]
    findings: list[Finding] = []
    for path, status in found.items():
        findings += _writers(path, status, f"chmod o-w {path}, and verify once with a new --home")
    if not os.access(home, os.W_OK):
        findings.append(warning(f"home {home} cannot be written: newer metadata cannot be kept"))
    return findings or [fine(f"home {home} can be written, by its owner alone")]


def policy_findings(files: Iterable[Path]) -> list[Finding]:
    """Return who else could change the policy: each of ``files``, and the directories where more would be read."""
    try:
        found = {path: path.stat() for file in files for path in (file, file.parent)}
    except OSError as err:
        return [unknown(f"policy {err.filename} cannot be examined: {err.strerror}")]
    return [
        finding
        for path, status in sorted(found.items())
        for finding in _writers(path, status, f"chmod o-w {path}, and read the policy again")
    ]


def _writers(path: Path, status: os.stat_result, hint: str) -> Iterator[Finding]:
    if status.st_mode & stat.S_IWOTH:
        yield error(f"everybody can write {path}: who can write it decides what is trusted here", hint)
    elif status.st_mode & stat.S_IWGRP:
        yield warning(f"a group can write {path}: it decides what is trusted here", f"chmod g-w {path}")
    if status.st_uid not in {0, os.geteuid()}:
        yield warning(f"{path} belongs to another user, who decides what is trusted here")


def clock_finding(stanzas: Iterable[Stanza], state: TrustedState, *, now: datetime) -> Finding:
    """Return whether the clock stands behind the moment at which trusted state was last written.

    Raises:
        StateError: the trusted state is damaged.
    """
    chains = [chain for stanza in stanzas if (chain := state.chain(stanza.root)) is not None]
    newest = max((chain.checked_at for chain in chains), default=None)
    if newest is not None and now < newest - CLOCK_TOLERANCE:
        what = f"the clock went back {format_span(newest - now)}: trusted state is of {format_utc(newest)}"
        return error(what, "set the clock; expiry cannot be judged by it")
    return fine(f"the clock says {format_utc(now)}, not before the trusted state")


def collection_finding(
    stanza: Stanza, state: TrustedState, store: Store, *, now: datetime, deadline: Deadline
) -> Finding:
    """Return whether the metadata of a collection can be had, is trusted, and for how long it is valid."""
    name = f"collection {stanza.collection}"
    try:
        chain = refresh(stanza, state, store, paths=None, now=now, deadline=deadline).chain
        refused = state.refusals(stanza.root)
    except RefusedError as err:
        return error(f"{name}: {err.reason}: {err}", err.hint)
    except TrustError as err:
        return unknown(f"{name}: {err}", err.hint)
    if refused:
        role, refusal = min(refused.items())
        return error(f"{name}: role {role} is not accepted: {refusal.reason}: {refusal.detail}", refusal.hint)
    first = min((role.facts for role in chain.roles.values()), key=lambda facts: facts.expires)
    left, until = first.expires - now, format_utc(first.expires)
    if left.total_seconds() <= 0:
        return error(
            f"{name}: role {first.name} expired on {until}", "the publisher must renew: trust publish, renew"
        )
    what = (
        f"{name}: metadata at {stanza.metadata}, role {first.name} is valid for {format_span(left)}, until {until}"
    )
    if first.period is not None and left < first.period / WARN_FRACTION:
        return warning(what, "less than a quarter is left: does `trust publish` run in time?")
    return fine(what)


def probe_finding(stanza: Stanza, store: Store, *, deadline: Deadline) -> Finding:
    """Return whether the store keeps what publishing rests on; a tag or an object of ours is written for it."""
    name = f"collection {stanza.collection}"
    try:
        store.probe(deadline=deadline)
    except InputError as err:
        return warning(f"{name}: {err}", err.hint)
    except TrustError as err:
        return warning(f"{name}: whether its store can be published to was not found out: {err}", err.hint)
    return fine(f"{name}: {store.url} can be published to")
