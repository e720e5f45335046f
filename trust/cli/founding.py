"""The command ``trust init``: a new collection, its keys, and the root that consumers pin."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from datetime import timedelta

import click

from keys.errors import KeysError
from keys.public_key import PublicKey
from keys.signers import key_name, tuf_key
from trust.bins import checked_count, rebin
from trust.birth import found
from trust.ceremony import Born, Planned, plan
from trust.chain import TOP_LEVEL_ROLES
from trust.cli.crontab import crontab_line
from trust.cli.new_keys import default_name, given_or_made, is_name, missing_names
from trust.cli.options import Command
from trust.cli.published import EXIT_OK, EXIT_WAITS
from trust.cli.publishing import assignment, publisher
from trust.cli.reporting import names_of_keys
from trust.cli.secrets import Keyring
from trust.cli.session import KNOWN, PUBLISH_SECONDS, Session, session
from trust.cli.stanzas import absolute_url, add_stanza, add_to_policy, stanza_text
from trust.cli.waiting import waiting_document, waiting_lines
from trust.database import DATABASE
from trust.delegations import TARGETS
from trust.digest import sha256
from trust.errors import InputError
from trust.first_edition import Role
from trust.instant import format_span, format_utc, parse_duration
from trust.key_audit import CollectionKeys, shared_places
from trust.policy import Stanza
from trust.proposal import Waiting
from trust.reference import parse_collection
from trust.roles import DEFAULT_EXPIRY
from trust.value import replace

_ONLINE = ("snapshot", "timestamp")


@click.command("init", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.option(
    "--metadata",
    "url",
    metavar="URL",
    required=True,
    help="Where it lives: file:DIR, registry:, s3://BUCKET/PREFIX",
)
@click.option("--root-key", "root_keys", metavar="K", multiple=True, help="Key of the root role; made if missing.")
@click.option("--root-threshold", type=click.IntRange(1), default=1, show_default=True)
@click.option("--targets-key", "targets_keys", metavar="K", multiple=True, help="Key that signs images.")
@click.option("--targets-threshold", type=click.IntRange(1), default=1, show_default=True)
@click.option("--online-key", "online_keys", metavar="K", multiple=True, help="Key of snapshot and timestamp.")
@click.option("--bins", type=int, default=0, metavar="N", help="Spread the targets over N files, a power of two.")
@click.option("--expires", metavar="ROLE=DURATION", multiple=True, help="How long a role is valid: targets=90d")
@click.option("--write-policy", is_flag=True, help="Add the collection to the policy file here.")
@click.option("--dry-run", is_flag=True, help="Make and publish nothing.")
def init(
    *,
    collection: str,
    url: str,
    root_keys: tuple[str, ...],
    root_threshold: int,
    targets_keys: tuple[str, ...],
    targets_threshold: int,
    online_keys: tuple[str, ...],
    bins: int,
    expires: tuple[str, ...],
    write_policy: bool,
    dry_run: bool,
) -> int:
    """Make COLLECTION: keys that are missing, the first metadata, and the root that consumers pin.

    COLLECTION is one repository (HOST/acme/web) or all below a prefix (HOST/acme/, with the slash).
    """
    run = session()
    name = parse_collection(collection)
    ring = Keyring(run.home / "keys")
    periods = _periods(expires)
    checked_count(bins)
    asked = {"root": root_keys, "targets": targets_keys, "online": online_keys}
    given = {role: names or (default_name(name, role),) for role, names in asked.items()}
    missing = missing_names(ring, (each for names in given.values() for each in names))
    keys = {
        role: tuple(given_or_made(ring, each, dry_run=dry_run) for each in names) for role, names in given.items()
    }
    thresholds = {"root": root_threshold, "targets": targets_threshold}
    roles = {
        role: Role(
            keys=tuple(map(tuf_key, keys["online" if role in _ONLINE else role])),
            threshold=thresholds.get(role, 1),
            period=periods[role],
        )
        for role in TOP_LEVEL_ROLES
    }
    _require_reachable(roles)
    stanza = Stanza(collection=name, root=sha256(b""), metadata=absolute_url(url))
    if dry_run:
        planned = plan(
            stanza,
            state=run.state if (run.home / DATABASE).exists() else None,
            store=run.store(stanza),
            roles=roles,
            now=run.now,
            deadline=run.deadline(PUBLISH_SECONDS),
        )
        keyids = {
            role: [_keyid(*pair, missing) for pair in zip(given[role], keys[role], strict=True)] for role in given
        }
        _report_plan(run, stanza, planned, keyids, missing)
        return EXIT_OK
    founder = replace(publisher(run, stanza, (), dry_run=False), keyring=ring)
    born = found(founder, roles, randomness=os.urandom)
    if isinstance(born, Waiting):
        return _report_waiting(run, stanza, born, bins=bins)
    stanza = replace(stanza, root=born.root)
    add_stanza(run.home / KNOWN, stanza)
    if bins:
        rebin(publisher(run, stanza, (), dry_run=False), TARGETS, bins)
    if write_policy:
        add_to_policy(run.policy_path, stanza)
    cron = crontab_line(
        str(name),
        period=min(periods[role] for role in _ONLINE),
        program=shutil.which(sys.argv[0]) or "ctrust",  # the other name is another program's on many machines
        home=run.home.absolute(),
        passphrase_file=os.environ.get("TRUST_PASSPHRASE_FILE"),
    )
    _report_birth(run, stanza, born, keys, cron, wrote_policy=write_policy)
    _warn_of_places(run, ring, stanza, roles)
    return EXIT_OK


def _report_waiting(run: Session, stanza: Stanza, waiting: Waiting, *, bins: int) -> int:
    """Say whose signatures the first metadata lacks, and what they do; return the exit code."""
    document = {
        "collection": str(stanza.collection),
        "root": None,
        "metadata": stanza.metadata,
        "changed": True,
        "dry_run": False,
        "waits": waiting_document(waiting),
    }
    lines = [f"collection {stanza.collection} waits", *waiting_lines(waiting, names_of_keys(run))]
    run.output.result("init", document, lines)
    where = f"{stanza.collection} --metadata {stanza.metadata}"
    run.output.hint(
        "repeat this command where the online key is"
        if waiting.is_complete
        else f"who holds another key: trust pending {where}, then "
        f"trust approve {stanza.collection} {waiting.change.id} --metadata {stanza.metadata}"
    )
    if bins:
        run.output.note(f"when it is there: trust bins {stanza.collection} --count {bins}")
    return EXIT_WAITS


def _require_reachable(roles: dict[str, Role]) -> None:
    for name, role in roles.items():
        if role.threshold > len({key.keyid for key in role.keys}):
            raise InputError(
                f"threshold of {name} cannot be met: expected at most {len(role.keys)} keys, got {role.threshold}",
                hint=f"name more keys: --{name}-key",
            )


def _periods(expires: tuple[str, ...]) -> dict[str, timedelta]:
    periods = dict(DEFAULT_EXPIRY)
    for text in expires:
        role, duration = assignment(text)
        if role not in periods:
            raise InputError(f"role is not known: expected one of {', '.join(periods)}, got {role!r}")
        periods[role] = parse_duration(duration)
    return periods


def _keyid(name: str, key: PublicKey, missing: list[str]) -> str | None:
    """Return the key id that stands in the root, None of a key that is to be made."""
    return None if is_name(name) and key_name(name) in missing else key.keyid


def _report_plan(
    run: Session, stanza: Stanza, planned: Planned, keyids: dict[str, list[str | None]], missing: list[str]
) -> None:
    document = {
        "collection": str(stanza.collection),
        "root": str(planned.root) if planned.root else None,
        "metadata": stanza.metadata,
        "valid_until": format_utc(planned.valid_until) if planned.changed else None,
        "keys": keyids,
        "new_keys": missing,
        "policy": None,
        "changed": planned.changed,
        "dry_run": True,
    }
    word = "would be made" if planned.changed else "is there already"
    lines = [f"collection {stanza.collection} {word}, metadata at {stanza.metadata}"]
    lines += [f"key {name} would be made" for name in missing]
    if planned.changed:
        lines.append(f"valid until {format_utc(planned.valid_until)}, were it made now")
    run.output.result("init", document, lines)


def _report_birth(
    run: Session,
    stanza: Stanza,
    born: Born,
    keys: dict[str, tuple[PublicKey, ...]],
    cron: str,
    *,
    wrote_policy: bool,
) -> None:
    left = born.valid_until - run.now + timedelta(seconds=1)
    document = {
        "collection": str(stanza.collection),
        "root": str(born.root),
        "metadata": stanza.metadata,
        "valid_until": format_utc(born.valid_until),
        "keys": {role: [key.keyid for key in found] for role, found in keys.items()},
        "policy": str(run.policy_path) if wrote_policy else None,
        "changed": born.changed,
        "dry_run": False,
        "cron": cron,
    }
    lines = [
        f"collection {stanza.collection}",
        f"root {born.root}",
        f"valid until {format_utc(born.valid_until)} ({format_span(left)}); `trust publish` renews it",
        *(["policy " + str(run.policy_path)] if wrote_policy else ["", *stanza_text(stanza).splitlines()]),
    ]
    run.output.result("init", document, lines)
    run.output.note(
        "keep the root and targets keys offline, the online key where publishing happens; there, in a crontab, "
        f"with the file of its passphrase in TRUST_PASSPHRASE_FILE: {cron}"
    )


def _warn_of_places(run: Session, ring: Keyring, stanza: Stanza, roles: dict[str, Role]) -> None:
    """Say where one theft would give both the root and an online key."""
    keys = CollectionKeys(
        name=str(stanza.collection),
        keyids={name: tuple(key.keyid for key in role.keys) for name, role in roles.items()},
        thresholds={name: role.threshold for name, role in roles.items()},
        expires={},
        since_root={},
    )
    places: dict[str, set[str]] = {}
    for name in ring.store.names():
        with suppress(KeysError):  # the collection is made; `trust key audit` says which key cannot be read
            places.setdefault(ring.store.public_key(name).keyid, set()).add(ring.store.place(name))
    for finding in shared_places(keys, places):
        run.output.warn(f"{finding.what}; {finding.hint}")
