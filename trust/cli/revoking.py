"""The commands that end what was signed: ``revoke`` and ``prune``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from trust.cli.options import Command
from trust.cli.published import report, word_of
from trust.cli.publishing import one_stanza, publisher
from trust.cli.reporting import start_of
from trust.cli.rotating import keyid_of
from trust.cli.session import Session, session
from trust.errors import InputError
from trust.incident import Gone, Suspect, revoke_signed
from trust.incident import prune as prune_tags
from trust.instant import format_utc
from trust.published import Published
from trust.reference import parse_collection, parse_reference
from trust.revoke import Revocation
from trust.revoke import revoke as revoke_images


@click.command("revoke", cls=Command)
@click.argument("images", metavar="IMAGE...|COLLECTION", nargs=-1, required=True)
@click.option("--signed-by", "signer", metavar="KEY", help="Of COLLECTION, all that this key has signed.")
@click.option("--since", metavar="TIME", help="A moment (2026-01-31T12:00:00Z) or a duration back from now (7d).")
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def revoke(images: tuple[str, ...], signer: str | None, since: str | None, *, dry_run: bool) -> int:
    """Revoke IMAGE: a tag, or with @DIGEST everything that names the digest.

    With --signed-by and --since, revoke everything in COLLECTION that a key has signed since a moment.
    """
    if (signer is None) != (since is None):
        raise InputError("--signed-by and --since go together", hint="--since 3650d is since ever")
    if signer is not None and since is not None:
        return _revoke_signed(images, signer, since, dry_run=dry_run)
    run = session()
    references = [parse_reference(image) for image in images]
    stanza = one_stanza(run, references)
    revocations = [
        Revocation(path=run.stanza_for(each)[1], tag=each.tag, digest=each.digest) for each in references
    ]
    published = revoke_images(publisher(run, stanza, (), dry_run=dry_run), revocations)
    _warn_of_untrusted(run, published)
    word = word_of(published, "revoked", "was not signed", dry_run=dry_run)
    if not published.changed and published.waits is None:
        run.output.warn("nothing was revoked: nothing of this is signed")
    document = {"images": [str(reference) for reference in references]}
    lines = [f"{word} {reference}" for reference in references]
    return report(run, "revoke", stanza, document, lines, published, dry_run=dry_run)


def _revoke_signed(images: Sequence[str], signer: str, since: str, *, dry_run: bool) -> int:
    run = session()
    if len(images) != 1:
        raise InputError(f"--signed-by is about one collection: got {len(images)}")
    stanza = run.stanza_of(parse_collection(images[0]))
    suspect = Suspect(keyid=keyid_of(run.home, signer), since=start_of(since, run.now))
    published, gone = revoke_signed(publisher(run, stanza, (), dry_run=dry_run), suspect)
    _warn_of_untrusted(run, published)
    word = word_of(published, "revoked", "is revoked already:", dry_run=dry_run)
    if not gone:
        run.output.warn("nothing was revoked: this key has signed nothing since then that is still signed")
    document = {
        "collection": str(stanza.collection),
        "signed_by": suspect.keyid,
        "since": format_utc(suspect.since),
        "targets": _documents(gone),
    }
    lines = [f"{word} {each.path} {each.digest} ({each.role})" for each in gone]
    return report(run, "revoke", stanza, document, lines, published, dry_run=dry_run)


@click.command("prune", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.option("--keep", metavar="N", type=click.IntRange(1), required=True, help="Newest tags of each repository.")
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def prune(collection: str, keep: int, *, dry_run: bool) -> int:
    """Drop all but the N tags of each repository that were signed last, and the digests that only they named.

    They are not revoked: no tombstone is left, and they can be signed again.
    """
    run = session()
    stanza = run.stanza_of(parse_collection(collection))
    published, gone, left = prune_tags(publisher(run, stanza, (), dry_run=dry_run), keep=keep)
    _warn_of_untrusted(run, published)
    word = word_of(published, "dropped", "is dropped already:", dry_run=dry_run)
    if gone:
        refused = "would be refused" if dry_run else "is refused from now on"
        run.output.warn(f"who has pinned one of these by its digest {refused}, as unsigned")
    for role in left:
        run.output.note(f"role {role} keeps its tags: its keys are not here")
    document = {
        "collection": str(stanza.collection),
        "keep": keep,
        "targets": _documents(gone),
        "left": list(left),
    }
    lines = [f"{word} {each.path} {each.digest} ({each.role})" for each in gone] or ["nothing to drop"]
    return report(run, "prune", stanza, document, lines, published, dry_run=dry_run)


def _warn_of_untrusted(run: Session, published: Published) -> None:
    """Say which roles were not looked into: what they sign is refused now, and no more once they are mended."""
    for role in published.untrusted:
        run.output.warn(f"role {role} is not accepted, and was not looked into: trust delegate remove ends it")


def _documents(gone: Sequence[Gone]) -> list[dict[str, str]]:
    return [{"target": each.path, "digest": str(each.digest), "role": each.role} for each in gone]
