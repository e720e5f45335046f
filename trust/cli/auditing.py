"""The command ``trust key audit``: every key known here, where it lives, what it signs, and what is wrong."""

from __future__ import annotations

from datetime import datetime, timezone

import click

from keys.errors import KeysError
from keys.listing import KeyListing
from trust.cli.options import Command
from trust.cli.render import finding_lines, table
from trust.cli.session import Session, session
from trust.finding import EXIT_ERROR, Finding, error, warning
from trust.instant import format_span, format_utc
from trust.key_audit import (
    ELSEWHERE,
    AuditedKey,
    CollectionKeys,
    Duty,
    HeldKey,
    audited,
    collection_keys,
    findings,
)

_SHOWN = 12


@click.command("audit", cls=Command)
def audit() -> int:
    """Say of every key known here where it lives and what it signs; exit code 1 if something is wrong.

    Asks nobody: collections are shown as they were last verified or published from here.
    """
    run = session()
    held, unreadable = _held(run)
    collections, unseen = _collections(run)
    keys = audited(held, collections)
    found = [*unreadable, *findings(keys, collections, now=run.now), *unseen]
    rows = [_row(key, run.now) for key in keys]
    lines = table(rows, ("KEY", "KEY ID", "WHERE", "SINCE", "ROLES")) if rows else ["no keys are known here"]
    is_wrong = any(finding.level == "error" for finding in found)
    document = {
        "keys": [_document(key) for key in keys],
        "findings": [finding.document for finding in found],
        "code": EXIT_ERROR if is_wrong else 0,
    }
    run.output.result("key audit", document, [*lines, *finding_lines(found)])
    return EXIT_ERROR if is_wrong else 0


def _held(run: Session) -> tuple[list[HeldKey], list[Finding]]:
    """Return the keys that have a name here, and what cannot be read."""
    listing = KeyListing(run.home / "keys")
    held, found = [], []
    for name in listing.names():
        try:
            keyid, uri, place = listing.public_key(name).keyid, listing.uri(name), listing.place(name)
            since = datetime.fromtimestamp(listing.changed_at(name), timezone.utc)
        except KeysError as err:
            found.append(error(str(err), err.hint))
            continue
        held.append(HeldKey(name=name, keyid=keyid, uri=uri, place=place, since=since))
    return held, found


def _collections(run: Session) -> tuple[list[CollectionKeys], list[Finding]]:
    """Return the keys of every collection that was verified or published from here, and which were not yet."""
    stanzas = [*run.known.stanzas, *(run.policy.stanzas if run.policy_path.exists() else ())]
    names = {stanza.root: str(stanza.collection) for stanza in reversed(stanzas)}
    found, unseen = [], []
    for pin, name in names.items():
        chain, roots = run.state.chain(pin), run.state.roots(pin)
        if chain is None or not roots:
            unseen.append(
                warning(f"{name} was never verified here: its keys are not known", f"trust inspect {name}")
            )
            continue
        expires = {role: trusted.facts.expires for role, trusted in chain.roles.items()}
        found.append(collection_keys(name, roots=roots, bodies=run.state.bodies(pin), expires=expires))
    return found, unseen


def _row(key: AuditedKey, now: datetime) -> tuple[str, str, str, str, str]:
    since = key.held.since if key.held else None
    roots = sorted({duty.since_root for duty in key.duties if duty.since_root})
    age = format_span(now - since) if since else f"root {roots[0]}" if roots else "unknown"
    return (
        key.held.name if key.held else "-",
        key.keyid[:_SHOWN],
        key.held.place if key.held else ELSEWHERE,
        age,
        ", ".join(_duty(duty) for duty in key.duties) or "none",
    )


def _duty(duty: Duty) -> str:
    until = f" until {format_utc(duty.expires)[:10]}" if duty.expires else ""
    return f"{duty.role} of {duty.collection}{until}"


def _document(key: AuditedKey) -> dict[str, object]:
    return {
        "name": key.held.name if key.held else None,
        "keyid": key.keyid,
        "uri": key.held.uri if key.held else None,
        "place": key.held.place if key.held else ELSEWHERE,
        "since": format_utc(key.held.since) if key.held else None,
        "roles": [
            {
                "collection": duty.collection,
                "role": duty.role,
                "expires": format_utc(duty.expires) if duty.expires else None,
                "since_root": duty.since_root,
            }
            for duty in key.duties
        ],
    }
