"""The commands for changes that wait for signatures: ``pending``, ``approve``, ``reject``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trust.approve import Listed, listed
from trust.approve import approve as approve_change
from trust.approve import reject as reject_change
from trust.birth import approve_birth, waits_to_be_born
from trust.carry import FILE_MAX_BYTES, CarriedStore, carried, exported, exported_birth
from trust.ceremony import Born
from trust.cli.options import Command
from trust.cli.published import EXIT_OK, EXIT_WAITS, report, word_of
from trust.cli.publishing import publisher
from trust.cli.reporting import names_of_keys
from trust.cli.session import KNOWN, Session, session
from trust.cli.stanzas import absolute_url, add_stanza, stanza_text
from trust.cli.user_file import write_bytes
from trust.cli.waiting import difference_lines, waiting_document, waiting_lines
from trust.digest import sha256
from trust.errors import InputError, UnreachableError
from trust.instant import format_utc
from trust.pending import id_prefix
from trust.policy import Stanza
from trust.proposal import Waiting
from trust.publish import Publisher
from trust.published import Published
from trust.reference import parse_collection
from trust.value import replace

_WHOLE_ID = 64 + len("sha256:")


@click.command("pending", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.argument("change", metavar="[CHANGE]", required=False)
@click.option("--metadata", "url", metavar="URL", help="Where it lives, of a collection that begins.")
@click.option("--export", "file", metavar="FILE", type=click.Path(path_type=Path), help="Carry it to a signer.")
def pending(collection: str, change: str | None, url: str | None, file: Path | None) -> int:
    """List the changes of COLLECTION that wait for signatures, each in words; with --quiet, their ids alone.

    --export writes one of them (CHANGE, where several wait) with all that a signer without a network needs to
    compare it with: he signs it by `trust approve COLLECTION --import FILE`.
    """
    run = session()
    stanza = _stanza(run, collection, url)
    by = publisher(run, stanza, (), dry_run=False, stage=True)
    prefix = id_prefix(change) if change is not None else ""
    waiting = listed(by) if url is None else waits_to_be_born(by, by.who)
    found = [each for each in waiting if each.id.hex.startswith(prefix)]
    if file is not None:
        return _export(run, by, found, file, is_birth=url is not None)
    names = names_of_keys(run)
    lines: list[str] = []
    for each in found:
        if run.output.quiet:
            lines.append(str(each.id))
        elif each.waiting is None or each.problem is not None:
            lines += [f"change {each.id}", f"  of {each.place} can no longer be signed: {each.problem}"]
        else:
            lines += [*waiting_lines(each.waiting, names), *difference_lines(each.differences)]
    if not lines and not run.output.quiet:
        lines = ["nothing waits"]
    document = {"collection": str(stanza.collection), "changes": [_document(each) for each in found]}
    run.output.result("pending", document, lines)
    return EXIT_OK


@click.command("approve", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.argument("change", metavar="[CHANGE]", required=False)
@click.option("--key", "keys", metavar="K", multiple=True, help="Sign with this key, not with every one at hand.")
@click.option("--metadata", "url", metavar="URL", help="Where it lives, of a collection that begins.")
@click.option("--import", "file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="The change is in FILE: sign it there, or add its signatures to what waits.")  # fmt: skip
@click.option("--offline", is_flag=True, help="With --import: ask no store, sign in FILE.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Sign nothing.")
def approve(
    *,
    collection: str,
    change: str | None,
    keys: tuple[str, ...],
    url: str | None,
    file: Path | None,
    offline: bool,
    yes: bool,
    dry_run: bool,
) -> int:
    """Show what CHANGE changes and sign it; the last signature publishes it, where an online key is at hand.

    CHANGE is an id that `trust pending` prints, or at least 8 digits of it. Without a terminal the whole id says
    that it was seen: it is the digest of what is signed.
    """
    run = session()
    stanza = _stanza(run, collection, url)
    by = publisher(run, stanza, keys, dry_run=dry_run)
    store = _carried(file) if file is not None else None
    given = change or (str(store.change.id) if store is not None else None)
    if given is None:
        raise InputError("which change?", hint=f"trust pending {collection} lists those that wait")
    brought = None
    if store is not None and (offline or not _is_reachable(run, by)):
        by = replace(by, store=store, stage=True)
    elif store is not None:
        brought = store.change

    def consent(shown: Listed) -> None:
        _agree(run, shown, change, yes=yes)

    done = (approve_change if url is None else approve_birth)(by, given, consent=consent, brought=brought)
    if file is not None and store is not None and by.store is store and not dry_run:
        write_bytes(file, store.text())
        run.output.note(f"signed in {file}: carry it on, or back to where the store is")
    if isinstance(done, Published):
        return _report(run, stanza, given, done, dry_run=dry_run)
    return _report_birth(run, stanza, done, dry_run=dry_run)


@click.command("reject", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.argument("change", metavar="CHANGE")
@click.option("--metadata", "url", metavar="URL", help="Where it lives, of a collection that begins.")
def reject(collection: str, change: str, url: str | None) -> int:
    """Drop CHANGE: it waits no longer, and signatures that it had are worth nothing."""
    run = session()
    stanza = _stanza(run, collection, url)
    gone = reject_change(publisher(run, stanza, (), dry_run=False, stage=True), change)
    document = {"collection": str(stanza.collection), "id": str(gone.id), "role": gone.place, "changed": True}
    run.output.result("reject", document, [f"rejected {gone.id} of {gone.place}"])
    return EXIT_OK


def _stanza(run: Session, collection: str, url: str | None) -> Stanza:
    """Return what is known of a collection; of one that begins, at ``url``, its root is not known yet."""
    name = parse_collection(collection)
    if url is None:
        return run.stanza_of(name)
    return Stanza(collection=name, root=sha256(b""), metadata=absolute_url(url))


def _report_birth(run: Session, stanza: Stanza, done: Born | Waiting, *, dry_run: bool) -> int:
    """Say what became of the first metadata of a collection; whoever gives the last signature knows its pin."""
    collection = str(stanza.collection)
    if isinstance(done, Waiting):
        document = {"collection": collection, "id": str(done.change.id), "waits": waiting_document(done)}
        signed = f"{'would be ' * dry_run}signed {done.change.id}"
        run.output.result("approve", document, [signed, *waiting_lines(done, names_of_keys(run))])
        return EXIT_WAITS
    stanza = replace(stanza, root=done.root)
    add_stanza(run.home / KNOWN, stanza)
    document = {"collection": collection, "root": str(done.root), "valid_until": format_utc(done.valid_until)}
    run.output.result(
        "approve",
        {**document, "metadata": stanza.metadata, "waits": None},
        [f"collection {collection}", f"root {done.root}", "", *stanza_text(stanza).splitlines()],
    )
    return EXIT_OK


def _agree(run: Session, shown: Listed, given: str | None, *, yes: bool) -> None:
    """Show a change and return if the person agrees to it.

    Raises:
        InputError: there is nobody to ask, and the content was not named. click.Abort: he does not.
    """
    names = names_of_keys(run)
    waiting = waiting_lines(shown.waiting, names) if shown.waiting is not None else []
    run.output.show([*waiting, *difference_lines(shown.differences)])
    if yes:
        return
    if sys.stdin.isatty():
        click.confirm("sign this?", abort=True, err=True)
    elif given is None or not str(shown.id).endswith(given) or len(given) < _WHOLE_ID - len("sha256:"):
        raise InputError(
            "nobody can be asked on a terminal: expected the whole id of the change",
            hint=f"if this is what you want signed: {shown.id}",
        )


def _report(run: Session, stanza: Stanza, change: str, done: Published, *, dry_run: bool) -> int:
    word = word_of(done, "published", "was signed from here already:", dry_run=dry_run)
    if done.waits is not None:
        word = "signed" if done.changed else "was signed from here already:"
        word = f"would be {word}" if dry_run and done.changed else word
    whole = str(done.waits.change.id) if done.waits is not None else change
    document: dict[str, object] = {"collection": str(stanza.collection), "id": whole}
    return report(run, "approve", stanza, document, [f"{word} {whole}"], done, dry_run=dry_run)


def _document(each: Listed) -> dict[str, object]:
    differences = [{"role": one.role, "words": list(one.words)} for one in each.differences]
    waits = waiting_document(each.waiting) if each.waiting is not None else {"complete": False, "roles": []}
    return {
        **waits,
        "id": str(each.id),
        "role": each.place,
        "differences": differences,
        "problem": each.problem,
    }


def _export(run: Session, by: Publisher, found: list[Listed], file: Path, *, is_birth: bool) -> int:
    if len(found) != 1:
        ids = ", ".join(str(each.id) for each in found) or "none"
        raise InputError(f"one change is exported: expected its id, got {ids}")
    data = (exported_birth if is_birth else exported)(by, str(found[0].id))
    write_bytes(file, data)
    document = {"id": str(found[0].id), "file": str(file), "size_bytes": len(data)}
    run.output.result("pending", document, [f"exported {found[0].id} to {file}"])
    where = f" --metadata {by.stanza.metadata}" if is_birth else ""
    run.output.note(
        f"whoever signs it without a network: trust approve {by.stanza.collection}{where} --import {file}"
    )
    return EXIT_OK


def _carried(file: Path) -> CarriedStore:
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_MAX_BYTES + 1)
    except OSError as err:
        raise InputError(f"file cannot be read: {file}: {err.strerror}") from err
    return carried(data, url=str(file))


def _is_reachable(run: Session, by: Publisher) -> bool:
    """Tell whether the store is at hand; if not, say so: what is signed stays in the file."""
    try:
        by.store.pending(deadline=by.deadline)
    except UnreachableError as err:
        run.output.note(f"the store is not at hand ({err}); the signature is kept in the file")
        return False
    return True
