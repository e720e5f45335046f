"""The command ``trust attest``."""

from __future__ import annotations

from pathlib import Path

import click

from trust.attest import Statement
from trust.attest import attest as attest_image
from trust.attestation_document import DOCUMENT_MAX_BYTES
from trust.cli.options import Command
from trust.cli.published import report, word_of
from trust.cli.publishing import publisher
from trust.cli.session import session
from trust.cli.user_file import read_bytes
from trust.reference import parse_reference
from trust.targets import ATTESTATION_TYPES


@click.command("attest", cls=Command)
@click.argument("image", metavar="IMAGE")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--type", "kind", type=click.Choice(ATTESTATION_TYPES), required=True, help="What FILE is.")
@click.option("--key", "keys", metavar="K", multiple=True, help="Sign with this key, not with every one at hand.")
@click.option("--dry-run", is_flag=True, help="Check FILE; store and publish nothing.")
def attest(*, image: str, file: Path, kind: str, keys: tuple[str, ...], dry_run: bool) -> int:
    """Store FILE beside IMAGE, which is signed, and sign that it speaks of it.

    FILE is an SBOM (SPDX 2 or CycloneDX), SLSA provenance, or the result of a vulnerability scan, in JSON. A
    policy can ask for it: attestations = ["spdx"].
    """
    run = session()
    reference = parse_reference(image)
    stanza, path = run.stanza_for(reference)
    statement = Statement(
        reference=reference,
        path=path,
        kind=kind,
        untrusted_bytes=read_bytes(file, what="file", max_bytes=DOCUMENT_MAX_BYTES),
    )
    done = attest_image(
        publisher(run, stanza, keys, dry_run=dry_run),
        statement,
        run.registry(reference.repository.host),
        run.deadline,
    )
    word = word_of(done.published, "attested", "was attested already:", dry_run=dry_run)
    document = {
        "image": str(reference),
        "subject": str(done.subject),
        "type": kind,
        "digest": str(done.digest),
    }
    line = f"{word} {reference} {done.subject} {kind} {done.digest}"
    return report(run, "attest", stanza, document, [line], done.published, dry_run=dry_run)
