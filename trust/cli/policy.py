"""The commands ``trust policy …``: make, check and explain the rules in force, and add to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from trust.cli.options import Group
from trust.cli.session import session
from trust.cli.stanzas import absolute_url, add_to_policy, edit_policy, stanza_document
from trust.cli.user_file import edit_text
from trust.cli.writing import denied_text, pinned_text
from trust.client import refresh
from trust.decision import denied_as_typed
from trust.digest import parse_digest
from trust.errors import InputError
from trust.instant import format_utc
from trust.judge import match_or_verdict
from trust.policy import Match, Stanza
from trust.policy_document import parse_policy
from trust.reference import Collection, Reference, parse_collection, parse_reference
from trust.verdict import Denied

policy = Group("policy", help="Make, check and explain the rules that decide here.")

_EMPTY = """\
# What is allowed on this machine. Everything that no collection here covers is denied.
# A collection is added with: trust policy add COLLECTION --root sha256:... --metadata URL
schema = 1
"""


@policy.command("init")
def init() -> None:
    """Make an empty policy file: it allows nothing."""
    run = session()
    changed = edit_text(run.policy_path, lambda text: _EMPTY if text is None else text)
    word = "made" if changed else "is there already:"
    run.output.result(
        "policy init", {"policy": str(run.policy_path), "changed": changed}, [f"{word} {run.policy_path}"]
    )


@policy.command("check")
def check() -> None:
    """Read the policy strictly, and say what it holds; exit code 2 with every error if it is wrong."""
    run = session()
    found, files = run.policy, [str(path) for path in run.policy_files()]
    for stanza in found.stanzas:
        for publish in (False, True):
            run.store(stanza, publish=publish)
    lines = [f"file {path}" for path in files] or ["no policy file: everything is denied"]
    lines += [
        f"collection {stanza.collection} root {stanza.root} at {stanza.metadata}" for stanza in found.stanzas
    ]
    lines += [f"  {each.collection} {key} {value}" for each in found.stanzas for key, value in _further(each)]
    lines += [f"pinned {pin.reference}" for pin in found.pinned]
    lines += [
        f"denied {subject}" for subject in (*sorted(map(str, found.denied_digests)), *sorted(found.denied_keys))
    ]
    document = {
        "files": files,
        "collections": [stanza_document(stanza) for stanza in found.stanzas],
        "pinned": [str(pin.reference) for pin in found.pinned],
        "denied_digests": sorted(map(str, found.denied_digests)),
        "denied_keys": sorted(found.denied_keys),
    }
    run.output.result("policy check", document, lines)


@policy.command("explain")
@click.argument("image", metavar="IMAGE")
def explain(image: str) -> int:
    """Say which rule decides over IMAGE, and what it asks; nothing is fetched.

    Exit code 1 where IMAGE is denied by what the policy says alone, as verify would.
    """
    run = session()
    reference = parse_reference(image)
    found = match_or_verdict(run.policy, reference, run.now)
    match = found if isinstance(found, Match) else None
    denied = denied_as_typed(run.policy, reference) if match else found
    pin = run.policy.pin_of(reference) if match is None else None
    document: dict[str, object] = {"image": str(reference), "collection": None, "pinned": None, "denied": None}
    lines = []
    if match is not None:
        rule = stanza_document(match.stanza)
        document |= {"collection": str(match.stanza.collection), "path": match.path, "rule": rule}
        lines = _rule_lines(reference, match)
    elif pin is not None:
        document["pinned"] = str(pin.reference)
        lines = [f"{reference} is pinned: {pin.reference} until {format_utc(pin.until)}"]
    if isinstance(denied, Denied):
        document["denied"] = {"reason": denied.reason.value, "detail": denied.detail}
        lines.append(f"{reference} is denied ({denied.reason.value}): {denied.detail}")
    run.output.result("policy explain", document, lines)
    return 1 if isinstance(denied, Denied) else 0


def _rule_lines(reference: Reference, match: Match) -> list[str]:
    stanza = match.stanza
    return [
        f"{reference} is decided by collection {stanza.collection}",
        f"  signed as {match.path}, metadata at {stanza.metadata}, root {stanza.root}",
        f"  roles {', '.join(stanza.roles) or 'any'}; digests {stanza.digests}; first use {stanza.fresh}",
        *([f"  attestations {', '.join(stanza.attestations)}"] if stanza.attestations else []),
        *(f"  floor {role} {version}" for role, version in stanza.floors.items()),
    ]


@policy.command("add")
@click.argument("collection", metavar="COLLECTION")
@click.option("--root", required=True, metavar="sha256:…", help="The pinned first root, as trust init prints it.")
@click.option("--metadata", "url", required=True, metavar="URL", help="Where the metadata is read.")
@click.option("--registry", "registries", metavar="HOST", multiple=True, help="A further host that serves it.")
def add(collection: str, root: str, url: str, registries: tuple[str, ...]) -> None:
    """Trust COLLECTION from its pinned root on."""
    run = session()
    stanza = Stanza(
        collection=parse_collection(collection),
        root=parse_digest(root),
        metadata=absolute_url(url),
        registries=registries,
    )
    run.store(stanza)  # an address that no store can be opened at is not written down
    changed = add_to_policy(run.policy_path, stanza)
    lines = [f"{'added' if changed else 'is there already:'} {stanza.collection} in {run.policy_path}"]
    run.output.result("policy add", {"policy": str(run.policy_path), "changed": changed}, lines)


@policy.command("pin")
@click.argument("collection", metavar="COLLECTION")
def pin(collection: str) -> None:
    """Write the current versions of COLLECTION into the policy: a fresh consumer accepts nothing older."""
    run = session()
    name = parse_collection(collection)
    stanza = next((each for each in run.policy.stanzas if each.collection == name), None)
    if stanza is None:
        raise InputError(f"collection {name} is not in the policy", hint="trust policy add knows it")
    current = refresh(stanza, run.state, run.store(stanza), now=run.now, deadline=run.deadline())
    floors = {facts.name: facts.version for facts in current.chain.facts()}
    changed = dict(stanza.floors) != floors
    if changed:
        path = next(path for path in run.policy_files() if _speaks_of(path, name))
        edit_policy(path, lambda text: pinned_text(text or "", replace(stanza, floors=floors)))
    lines = [f"floors of {name}: {' '.join(f'{role}={version}' for role, version in floors.items())}"]
    run.output.result("policy pin", {"collection": str(name), "floors": floors, "changed": changed}, lines)


@policy.command("deny")
@click.argument("subject", metavar="DIGEST|KEYID")
def deny(subject: str) -> None:
    """Deny a digest or a key on this machine, at once, whatever the publisher says."""
    run = session()
    path = run.policy_path
    changed = edit_policy(  # whatever is wrong beside it: a denial is not put off
        path, lambda text: denied_text(_EMPTY if text is None else text, subject, source=str(path))
    )
    lines = [f"denied here: {subject}"]
    run.output.result("policy deny", {"denied": subject, "changed": changed}, lines)


def _further(stanza: Stanza) -> list[tuple[str, object]]:
    return [item for item in stanza_document(stanza).items() if item[0] not in {"name", "root", "metadata"}]


def _speaks_of(path: Path, name: Collection) -> bool:
    found = parse_policy(path.read_text(encoding="utf-8"), source=str(path))
    return any(stanza.collection == name for stanza in found.stanzas)
