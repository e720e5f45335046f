"""What every publishing command says of its publish: a word, a document, what waits and what was dropped."""

from __future__ import annotations

from collections.abc import Mapping

from trust.cli.reporting import names_of_keys, who
from trust.cli.session import Session
from trust.cli.waiting import waiting_document, waiting_lines
from trust.policy import Stanza
from trust.published import Published

EXIT_OK = 0
EXIT_WAITS = 5


def word_of(published: Published, done: str, already: str, *, dry_run: bool) -> str:
    """Return the word for what a publishing command did: it has, it would have, it was so already."""
    if published.waits is not None:
        return f"would wait to be {done}:" if dry_run else f"waits to be {done}:"
    if not published.changed:
        return already
    return f"would be {done}" if dry_run else done


def versions_of(published: Published) -> str:
    """Return the versions that consumers see now, in words."""
    return " ".join(f"{name}={version}" for name, version in published.versions.items())


def publish_document(published: Published, *, dry_run: bool) -> dict[str, object]:
    """Return what every publishing command says of its publish, for ``--json``."""
    return {
        "changed": published.changed,
        "dry_run": dry_run,
        "rebased": published.rebased,
        "versions": dict(published.versions),
        "waits": waiting_document(published.waits) if published.waits is not None else None,
        "discarded": list(published.discarded),
        "dropped": [{"role": each.role, "id": str(each.id) if each.id else None} for each in published.dropped],
    }


def report(
    run: Session,
    command: str,
    stanza: Stanza,
    document: Mapping[str, object],
    lines: list[str],
    published: Published,
    *,
    dry_run: bool,
) -> int:
    """Print the result of a publishing command, what waits included; return its exit code: 5 where it waits."""
    names = names_of_keys(run)
    waits = published.waits
    more = waiting_lines(waits, names) if waits is not None else []
    run.output.result(command, {**publish_document(published, dry_run=dry_run), **document}, [*lines, *more])
    if published.discarded:
        now, were = ("would be another one", "would be") if dry_run else ("is another one now", "were")
        run.output.warn(
            f"the change that waited {now}: signatures of {who(names, published.discarded)} "
            f"{were} discarded, and must be given again"
        )
    word = "would be" if dry_run else "is"
    for each in published.dropped:
        what = f"change {each.id} of {each.role}, which waited," if each.id else f"a change of {each.role}"
        run.output.warn(f"{what} {word} dropped: nobody but the stolen key had signed it")
    if waits is None:
        return EXIT_OK
    if not dry_run:
        name = stanza.collection
        run.output.hint(
            f"whoever holds an online key publishes it: trust publish {name}"
            if waits.is_complete
            else f"who signs next sees it by: trust approve {name} {waits.change.id}"
        )
    return EXIT_WAITS
