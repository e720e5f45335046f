"""The commands that tell of a collection: ``list``, ``inspect``, ``check``, ``log``."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import datetime, timedelta

import click

from keys.errors import KeysError
from keys.listing import KeyListing
from trust.cli.options import Command
from trust.cli.render import table
from trust.cli.session import Session, session
from trust.client import refresh, trusted_offline
from trust.errors import InputError, RefusedError
from trust.instant import format_span, format_utc, parse_duration, parse_utc
from trust.policy import Stanza
from trust.reference import Collection, Reference, parse_collection, parse_reference
from trust.report import (
    Shown,
    events,
    expiring,
    image_attestations,
    shown_as_published,
    shown_as_trusted,
    signed_tags,
)
from trust.targets import Attestations, attestations_json
from trust.verdict import Reason

_SHOWN = 12  # hex digits of a key id that a reader compares


@click.command("list", cls=Command)
@click.argument("collection", metavar="COLLECTION|REPOSITORY")
@click.option("--offline", is_flag=True, help="Ask nobody: show the trusted state.")
def list_(collection: str, *, offline: bool) -> None:
    """List the signed tags of a collection, or of one repository in it."""
    run = session()
    stanza, path = _found(run, parse_collection(collection))
    shown = current(run, stanza, offline=offline)
    tags = signed_tags(shown.tables, path=path)
    documents = [
        {
            "repository": entry.path,
            "tag": entry.tag,
            "role": entry.role,
            "digest": str(entry.target.digest),
            "size_bytes": entry.target.size_bytes,
            "signed_at": format_utc(entry.target.signed_at),
            "signed_by": list(entry.target.signed_by),
            "annotations": dict(entry.target.annotations),
        }
        for entry in tags
    ]
    names = names_of_keys(run)
    rows = [
        (
            f"{entry.path}:{entry.tag}",
            str(entry.target.digest),
            format_utc(entry.target.signed_at),
            entry.role,
            who(names, entry.target.signed_by),
        )
        for entry in tags
    ]
    lines = table(rows, ("TAG", "DIGEST", "SIGNED", "ROLE", "BY")) if rows else ["nothing is signed"]
    document = {"collection": str(stanza.collection), "tags": documents, "expired": _expired(run, shown)}
    run.output.result("list", document, lines)


@click.command("inspect", cls=Command)
@click.argument("subject", metavar="IMAGE|COLLECTION")
@click.option("--offline", is_flag=True, help="Ask nobody: show the trusted state.")
def inspect(subject: str, *, offline: bool) -> None:
    """Show the roles of a collection: keys, thresholds, versions, expiry; of an image, its attestations too."""
    run = session()
    stanza, image = _stanza_of_subject(run, subject)
    shown = current(run, stanza, offline=offline)
    attested = image_attestations(shown.tables, *image) if image else None
    documents = [
        {
            "role": report.facts.name,
            "version": report.facts.version,
            "threshold": report.facts.threshold,
            "keys": list(report.keyids),
            "signers": list(report.facts.signers),
            "expires": format_utc(report.facts.expires),
            "left_seconds": _left_seconds(report.facts.expires, run.now),
            "delegator": report.delegator,
            "paths": list(report.patterns),
            "bins": report.bins,
        }
        for report in shown.roles
    ]
    names = names_of_keys(run)
    rows = [
        (
            report.facts.name,
            str(report.facts.version),
            f"{report.facts.threshold} of {len(report.keyids)}",
            f"{format_utc(report.facts.expires)} ({_left(report.facts.expires, run.now)})",
            who(names, report.keyids),
        )
        for report in shown.roles
    ]
    head = [f"collection {stanza.collection}", f"root {stanza.root}", f"metadata {stanza.metadata}", ""]
    run.output.result(
        "inspect",
        {
            "collection": str(stanza.collection),
            "root": str(stanza.root),
            "metadata": stanza.metadata,
            "roles": documents,
            "expired": _expired(run, shown),
            "refused": {name: refusal.reason for name, refusal in shown.refused.items()},
            "attestations": None if attested is None else attestations_json(attested),
        },
        [*head, *table(rows, ("ROLE", "VERSION", "KEYS", "EXPIRES", "SIGNERS")), *_attested_lines(attested)],
    )


@click.command("check", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.option("--warn-before", metavar="DURATION", default="2d", show_default=True)
def check(collection: str, warn_before: str) -> int:
    """Say whether an expiry is near: exit code 1 if so, for monitoring."""
    run = session()
    within: timedelta = parse_duration(warn_before)
    stanza, _ = _found(run, parse_collection(collection))
    roles = current(run, stanza, offline=False).facts
    near = {facts.name for facts in expiring(roles, now=run.now, within=within)}
    documents = [
        {
            "role": facts.name,
            "expires": format_utc(facts.expires),
            "left_seconds": _left_seconds(facts.expires, run.now),
            "near": facts.name in near,
        }
        for facts in roles
    ]
    lines = [
        f"{'near' if facts.name in near else 'fine'} {facts.name} {format_utc(facts.expires)} "
        f"({_left(facts.expires, run.now)})"
        for facts in roles
    ]
    run.output.result(
        "check", {"collection": str(stanza.collection), "roles": documents, "near": sorted(near)}, lines
    )
    return 1 if near else 0


@click.command("log", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.option("--since", metavar="TIME", help="A moment (2026-01-31T12:00:00Z) or a duration back from now (7d).")
@click.option("--signer", metavar="KEY", help="Only what this key signed: a name, or the beginning of a key id.")
@click.option("--offline", is_flag=True, help="Ask nobody: show the trusted state.")
def log(collection: str, since: str | None, signer: str | None, *, offline: bool) -> None:
    """Show what was signed and revoked, when and by whom, as the current metadata tells it."""
    run = session()
    stanza, _ = _found(run, parse_collection(collection))
    shown = current(run, stanza, offline=offline)
    start, keyid = start_of(since, run.now), _keyid(run, signer)
    found = [
        event
        for event in events(shown.tables)
        if event.at >= start and (keyid is None or any(by.startswith(keyid) for by in event.by))
    ]
    documents = [
        {
            "at": format_utc(event.at),
            "event": event.kind,
            "target": event.subject,
            "digest": event.digest,
            "role": event.role,
            "by": list(event.by),
        }
        for event in found
    ]
    names = names_of_keys(run)
    rows = [
        (format_utc(event.at), event.kind, event.subject, event.digest, event.role, who(names, event.by))
        for event in found
    ]
    lines = table(rows, ("WHEN", "WHAT", "TARGET", "DIGEST", "ROLE", "BY")) if rows else ["nothing happened"]
    document = {"collection": str(stanza.collection), "events": documents, "expired": _expired(run, shown)}
    run.output.result("log", document, lines)


def current(run: Session, stanza: Stanza, *, offline: bool) -> Shown:
    """Return what there is to show, with a warning where it has expired."""
    shown = _trusted(run, stanza, offline=offline)
    for name, refusal in shown.refused.items():
        run.output.warn(f"role {name} is not accepted: {refusal.reason}: {refusal.detail}")
    for facts in shown.expired(run.now):
        run.output.warn(
            f"role {facts.name} expired on {format_utc(facts.expires)}, {_left(facts.expires, run.now)}: "
            "no image is allowed until the publisher renews it"
        )
    return shown


def _trusted(run: Session, stanza: Stanza, *, offline: bool) -> Shown:
    if offline:
        return shown_as_trusted(trusted_offline(stanza, run.state, now=run.now).chain, run.state, stanza.root)
    store = run.store(stanza)
    try:
        chain = refresh(stanza, run.state, store, paths=None, now=run.now, deadline=run.deadline()).chain
    except RefusedError as err:
        view = store.view(known=None, deadline=run.deadline()) if err.reason == Reason.EXPIRED.value else None
        if view is None:
            raise
        return shown_as_published(stanza, view, run.state.chain(stanza.root))
    return shown_as_trusted(chain, run.state, stanza.root)


def _expired(run: Session, shown: Shown) -> list[str]:
    return [facts.name for facts in shown.expired(run.now)]


def _found(run: Session, name: Collection) -> tuple[Stanza, str | None]:
    """Return the stanza of a collection, or of the one that covers a repository, and then its path."""
    try:
        return run.stanza_of(name), None
    except InputError:
        if name.is_namespace:
            raise
    return run.stanza_for(parse_reference(str(name)))


def _stanza_of_subject(run: Session, subject: str) -> tuple[Stanza, tuple[str, Reference] | None]:
    """Return the collection, and of an image (it has a tag or a digest) its signed path and the reference."""
    try:
        name = parse_collection(subject)
    except InputError:
        reference = parse_reference(subject)
        stanza, path = run.stanza_for(reference)
        return stanza, (path, reference)
    return _found(run, name)[0], None


def _attested_lines(attested: Attestations | None) -> list[str]:
    rows = [(kind, str(digest)) for kind, digests in (attested or {}).items() for digest in digests]
    return ["", *table(rows, ("TYPE", "ATTESTATION"))] if rows else []


def start_of(since: str | None, now: datetime) -> datetime:
    """Return the moment that ``--since`` means; without one, the beginning of time."""
    if since is None:
        return datetime.min.replace(tzinfo=now.tzinfo)
    return parse_utc(since) if "T" in since else now - parse_duration(since)


def _keyid(run: Session, signer: str | None) -> str | None:
    names = names_of_keys(run)
    keyid = next((keyid for keyid, name in names.items() if name == signer), signer)
    if keyid is not None and not set("0123456789abcdef").issuperset(keyid):
        raise InputError(f"no key has this name, and it begins no key id: {signer!r}")
    return keyid


def who(names: dict[str, str], keyids: tuple[str, ...]) -> str:
    """Return the keys for a reader: by name where they have one here."""
    return ", ".join(names.get(keyid, keyid[:_SHOWN]) for keyid in keyids)


def names_of_keys(run: Session) -> dict[str, str]:
    """Return the names that key ids have here."""
    listing = KeyListing(run.home / "keys")
    names = {}
    with suppress(KeysError):  # a report reads on without names; `trust key list` says what is wrong
        for name in listing.names():
            names[listing.public_key(name).keyid] = name
    return names


def _left(expires: datetime, now: datetime) -> str:
    return f"{format_span(expires - now)} {'left' if expires > now else 'ago'}"


def _left_seconds(expires: datetime, now: datetime) -> int:
    """Return the whole seconds that are left, below zero where it is past."""
    return math.floor((expires - now).total_seconds())
