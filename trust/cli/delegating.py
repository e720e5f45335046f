"""The commands ``trust delegate …`` and ``trust bins``: parts of a collection with keys and files of their own."""

from __future__ import annotations

from pathlib import Path

import click

from keys.signers import tuf_key
from trust.bins import rebin
from trust.cli.delegation_file import read_delegation_file
from trust.cli.new_keys import default_name, given_or_made
from trust.cli.options import Command, Group
from trust.cli.published import EXIT_OK, report, word_of
from trust.cli.publishing import publisher
from trust.cli.render import table
from trust.cli.reporting import current, names_of_keys, who
from trust.cli.secrets import Keyring
from trust.cli.session import Session, session
from trust.delegate import NewRole, add, remove
from trust.delegations import TARGETS, expanded
from trust.errors import InputError
from trust.instant import parse_duration
from trust.policy import Stanza
from trust.published import Published
from trust.reference import parse_collection
from trust.report import RoleReport

delegate = Group("delegate", help="Give a repository, a team or a pipeline a role with keys of its own.")


@delegate.command("add")
@click.argument("collection", metavar="COLLECTION")
@click.argument("role", metavar="ROLE")
@click.option(
    "--paths", "paths", multiple=True, required=True, metavar="P", help="acme/web, acme/team/**, acme/web:dev-*"
)
@click.option("--key", "keys", metavar="K", multiple=True, help="Key of the role; made if missing.")
@click.option("--threshold", type=click.IntRange(1), default=1, show_default=True)
@click.option("--bins", type=int, default=0, metavar="N", help="Spread its targets over N files, a power of two.")
@click.option("--expires", metavar="DURATION", help="How long the role is valid: 90d.")
@click.option(
    "--from", "delegator", metavar="ROLE", default=TARGETS, show_default=True, help="The role that delegates."
)
@click.option("--dry-run", is_flag=True, help="Make and publish nothing.")
def add_(
    *,
    collection: str,
    role: str,
    paths: tuple[str, ...],
    keys: tuple[str, ...],
    threshold: int,
    bins: int,
    expires: str | None,
    delegator: str,
    dry_run: bool,
) -> int:
    """Have ROLE alone sign what --paths covers; what is signed of it already moves to the role.

    A repository is its tags and digests and nothing else; `acme/team/**` every repository below; a tag pattern
    some tags of one repository, and the digests that they point to.
    """
    run = session()
    stanza = run.stanza_of(parse_collection(collection))
    ring = Keyring(run.home / "keys")
    given = keys or (default_name(stanza.collection, role),)
    new = NewRole(
        name=role,
        patterns=patterns_of(stanza, paths),
        keys=tuple(tuf_key(given_or_made(ring, key, dry_run=dry_run)) for key in given),
        threshold=threshold,
        bins=bins,
        period=parse_duration(expires) if expires else None,
        delegator=delegator,
    )
    published = add(publisher(run, stanza, (), dry_run=dry_run), [new])
    return _report(run, "delegate add", stanza, [role], published, dry_run=dry_run)


@delegate.command("apply")
@click.argument("collection", metavar="COLLECTION")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def apply(collection: str, file: Path, *, dry_run: bool) -> int:
    """Delegate every role of FILE, in one signature. Those that are there already stay as they are.

    \b
    [[role]]
    name = "acme.web"
    paths = ["acme/web"]
    keys = ["web.pub"]     # names, URIs, or public key files beside FILE
    threshold = 1
    """  # noqa: D301 - click's own mark for lines that stay lines
    run = session()
    stanza = run.stanza_of(parse_collection(collection))
    ring = Keyring(run.home / "keys")
    roles = [
        NewRole(
            name=entry.name,
            patterns=patterns_of(stanza, entry.paths),
            keys=tuple(tuf_key(ring.public_key(key)) for key in entry.keys),
            threshold=entry.threshold,
            bins=entry.bins,
            period=entry.period,
            delegator=entry.delegator,
        )
        for entry in read_delegation_file(file)
    ]
    published = add(publisher(run, stanza, (), dry_run=dry_run), roles)
    return _report(run, "delegate apply", stanza, [role.name for role in roles], published, dry_run=dry_run)


@delegate.command("remove")
@click.argument("collection", metavar="COLLECTION")
@click.argument("role", metavar="ROLE")
@click.option("--keep-images/--drop-images", "keep_images", default=None, help="Who signs its images from now on.")
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def remove_(collection: str, role: str, *, keep_images: bool | None, dry_run: bool) -> int:
    """End the delegation to ROLE: its images are signed by its delegator from now on, or by nobody."""
    if keep_images is None:
        raise InputError(
            f"whose are the images of {role} from now on?",
            hint="--keep-images: its delegator vouches for them; --drop-images: nobody does, as after a theft",
        )
    run = session()
    stanza = run.stanza_of(parse_collection(collection))
    published = remove(publisher(run, stanza, (), dry_run=dry_run), role, keep_images=keep_images)
    return _report(run, "delegate remove", stanza, [role], published, dry_run=dry_run)


@delegate.command("list")
@click.argument("collection", metavar="COLLECTION")
@click.option("--offline", is_flag=True, help="Ask nobody: show the trusted state.")
def list_(collection: str, *, offline: bool) -> int:
    """Show the delegated roles of COLLECTION: what each covers, who signs it, how much it signs."""
    run = session()
    stanza = run.stanza_of(parse_collection(collection))
    shown = current(run, stanza, offline=offline)
    roles = [report for report in shown.roles if report.patterns]
    names = names_of_keys(run)
    documents = [_document(report, len(shown.tables[report.facts.name].targets)) for report in roles]
    rows = [
        (
            report.facts.name,
            report.delegator,
            f"{report.facts.threshold} of {len(report.keyids)}",
            ", ".join(report.patterns[:4]) + (", …" if len(report.patterns) > 4 else ""),  # noqa: PLR2004 - a line
            who(names, report.keyids),
        )
        for report in roles
    ]
    lines = table(rows, ("ROLE", "FROM", "KEYS", "PATHS", "SIGNERS")) if rows else ["nothing is delegated"]
    document = {"collection": str(stanza.collection), "roles": documents}
    run.output.result("delegate list", document, lines)
    return EXIT_OK


@click.command("bins", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.argument("role", metavar="[ROLE]", default=TARGETS)
@click.option(
    "--count", type=int, required=True, metavar="N", help="How many: a power of two, or 0 for one flat file."
)
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def bins_(collection: str, role: str, *, count: int, dry_run: bool) -> int:
    """Spread the targets of ROLE over N files, so that one more tag costs the same in a million as in a thousand.

    Consumers notice nothing. Worth it from about a thousand targets on.
    """
    run = session()
    stanza = run.stanza_of(parse_collection(collection))
    published = rebin(publisher(run, stanza, (), dry_run=dry_run), role, count)
    document = {"collection": str(stanza.collection), "role": role, "bins": count}
    word = word_of(published, "moved", "is already", dry_run=dry_run)
    line = f"{role} {word} {'into ' * published.changed}{f'{count} bins' if count else 'one file'}"
    return report(run, "bins", stanza, document, [line], published, dry_run=dry_run)


def patterns_of(stanza: Stanza, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the patterns of ``paths``, all of them in the collection.

    Raises:
        InputError: one is malformed, or outside of the collection.
    """
    found: list[str] = []
    for text in paths:
        repository = text.partition(":")[0].removesuffix("/**")
        base = stanza.collection.path.removesuffix("/")
        is_inside = stanza.collection.covers_path(repository) or (text.endswith("/**") and repository == base)
        if not is_inside:
            raise InputError(
                f"paths are not in collection {stanza.collection}: got {text}", hint="paths have no host: acme/web"
            )
        found += expanded(text)
    return tuple(found)


def _document(report: RoleReport, targets: int) -> dict[str, object]:
    return {
        "role": report.facts.name,
        "delegator": report.delegator,
        "paths": list(report.patterns),
        "keys": list(report.keyids),
        "threshold": report.facts.threshold,
        "bins": report.bins,
        "targets": targets,
    }


def _report(
    run: Session, command: str, stanza: Stanza, roles: list[str], published: Published, *, dry_run: bool
) -> int:
    done, already = (
        ("removed", "was removed") if command.endswith("remove") else ("delegated", "was delegated already")
    )
    word = word_of(published, done, already, dry_run=dry_run)
    document = {"collection": str(stanza.collection), "roles": roles}
    lines = [f"{word} {role}" for role in roles]
    return report(run, command, stanza, document, lines, published, dry_run=dry_run)
