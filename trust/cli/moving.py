"""The commands that carry images elsewhere: ``trust copy``, ``trust promote``."""

from __future__ import annotations

import click

from trust.cli.options import Command
from trust.cli.published import report, word_of
from trust.cli.publishing import publisher
from trust.cli.session import Session, session
from trust.cli.stanzas import absolute_url, stanza_text
from trust.cli.verifying import refuse, warn_if_moved
from trust.copy import Copied, Destination, asking_now, copy
from trust.errors import InputError
from trust.oci.image_copy import Sent
from trust.oci.repositories import RegistryRepository
from trust.policy import Match
from trust.promote import Goal
from trust.promote import promote as promote_image
from trust.reference import RESERVED_TAG_PREFIX, Collection, Reference, parse_reference, with_tag
from trust.relocation import Relocation, relocate
from trust.replica import Step
from trust.stores.interface import Store
from trust.value import dataclass, replace
from trust.verdict import Allowed, Denied
from trust.verify import Verifier

METADATA_SECONDS = 1800.0  # the whole metadata of a collection in thousands of bins, file by file
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What the user named: the image, where it goes, and the tag there if he said one."""

    source: Reference
    there: Reference
    tag: str | None


@click.command("copy", cls=Command)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--metadata", metavar="URL", help="Where its trust metadata goes.  [default: beside DST]")
@click.option("--dry-run", is_flag=True, help="Copy nothing; say what would be sent.")
def copy_(source: str, destination: str, metadata: str | None, *, dry_run: bool) -> int:
    """Copy SRC to DST: the signed image, every platform, its referrers, and the trust metadata that speaks for it.

    SRC is verified by the policy here first. DST keeps the last part of SRC's name, and its tag.
    """
    run = session()
    typed = parse_pair(source, destination)
    verifier = replace(run.verifier(), policy=asking_now(run.policy))
    tag = _tag_there(verifier, typed)
    goals: list[tuple[Relocation, Store]] = []

    def goal(match: Match | None) -> Destination:
        if match is not None:
            place = relocate(match.stanza, match.path, typed.there.repository)
            goals.append((place, _store(run, place, metadata)))
        store = goals[0][1] if goals else None
        return Destination(sink=repository(run, typed.there), tag=tag, store=store)

    done = copy(
        verifier, typed.source, source=repository(run, typed.source), destination=goal,
        soon=lambda: run.deadline(METADATA_SECONDS), dry_run=dry_run,
    )  # fmt: skip
    if isinstance(done, Denied):
        return refuse(run, done)
    _tell(run, done, typed, goals[0] if goals else None, tag=tag, dry_run=dry_run)
    return 0


@click.command("promote", cls=Command)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--key", "keys", metavar="K", multiple=True, help="Sign with this key, not with every one at hand.")
@click.option("--dry-run", is_flag=True, help="Push and publish nothing.")
def promote(source: str, destination: str, keys: tuple[str, ...], *, dry_run: bool) -> int:
    """Verify SRC, copy it to DST, and sign it there in DST's own collection.

    What is signed is the digest that SRC's collection signs, whatever SRC's registry says; and with it the
    attestations that are signed of it. DST has SRC's tag where it names none.
    """
    run = session()
    typed = parse_pair(source, destination)
    tag = typed.tag or (typed.source.tag if typed.source.digest is None else None)
    stanza, path = run.stanza_for(typed.there)
    done = promote_image(
        replace(run.verifier(), policy=asking_now(run.policy)),
        typed.source,
        source=repository(run, typed.source),
        goal=Goal(sink=repository(run, typed.there), path=path, tag=tag),
        publisher=publisher(run, stanza, keys, dry_run=dry_run),
    )
    if isinstance(done, Denied):
        return refuse(run, done)
    for notice in done.allowed.notices:
        run.output.note(notice)
    warn_if_moved(run, done.allowed)
    there = with_tag(typed.there, tag) if tag else typed.there.at(done.allowed.digest)
    word = "was promoted already:"
    if done.changed or done.published.waits is not None:
        word = word_of(replace(done.published, changed=True), "promoted", word, dry_run=dry_run)
    document = {
        "source": str(typed.source),
        "destination": str(there),
        "digest": str(done.allowed.digest),
        **sent_document(done.sent),
        "changed": done.changed,
        "tagged": done.tagged,
    }
    line = f"{word} {done.allowed.pinned} to {there} ({sent_words(done.sent)})"
    code = report(run, "promote", stanza, document, [line], done.published, dry_run=dry_run)
    if done.published.waits is not None and tag is not None:
        stays = "would not be moved" if dry_run else "was not moved"
        run.output.warn(f"the tag {there} {stays}: when the change is published, promote again and it follows")
    return code


def parse_pair(source: str, destination: str) -> Typed:
    """Return what SRC and DST name; DST without a tag has SRC's.

    Raises:
        InputError: DST names a digest, which is SRC's to say, or a reserved tag.
    """
    here, there = parse_reference(source), parse_reference(destination)
    if there.digest is not None:
        raise InputError(f"the digest is the source's: expected HOST/PATH[:TAG], got {there}")
    tag = there.tag if destination.rfind(":") > destination.rfind("/") else None
    if tag is not None and tag.startswith(RESERVED_TAG_PREFIX):
        raise InputError(f"tag is reserved for trust metadata: got {tag!r}")
    return Typed(source=here, there=there, tag=tag)


def repository(run: Session, reference: Reference) -> RegistryRepository:
    """Return the repository of ``reference``, as source or as sink."""
    return RegistryRepository(run.registry(reference.repository.host), reference.repository, run.deadline)


def sent_document(sent: Sent) -> dict[str, object]:
    """Return what was sent, for ``--json``."""
    return {
        "manifests": sent.manifests,
        "manifests_sent": sent.manifests_sent,
        "blobs": sent.blobs,
        "blobs_sent": sent.blobs_sent,
        "bytes_sent": sent.bytes_sent,
    }


def sent_words(sent: Sent) -> str:
    """Return what was sent, for a reader."""
    return (
        f"{sent.manifests_sent} of {sent.manifests} manifests, {sent.blobs_sent} of {sent.blobs} blobs, "
        f"{_size(sent.bytes_sent)} sent"
    )


def _tag_there(verifier: Verifier, typed: Typed) -> str | None:
    """Return the tag that the copy has: SRC's, as long as it is signed to be this very image.

    Raises:
        InputError: DST has another one; the tag is signed too.
    """
    source, wanted = typed.source, typed.tag or typed.source.tag
    if typed.tag is not None and typed.tag != source.tag:
        raise InputError(
            f"a copy keeps its tag, which is signed: expected {source.tag or 'no tag, as the source has none'}, "
            f"got {typed.tag}",
            hint="trust promote signs it under another tag, in a collection of the destination's own",
        )
    if wanted is None or source.digest is None:
        return wanted
    current = verifier.verify(with_tag(source, wanted))
    is_this = isinstance(current, Allowed) and current.digest == source.digest
    return wanted if is_this else None


def _store(run: Session, place: Relocation, url: str | None) -> Store:
    collection = Collection(host=place.there.host, path=place.there.path)
    where = absolute_url(url) if url else place.metadata_url
    return run.store_at(where, collection)


def _tell(
    run: Session,
    done: Copied,
    typed: Typed,
    goal: tuple[Relocation, Store] | None,
    *,
    tag: str | None,
    dry_run: bool,
) -> None:
    there = with_tag(typed.there, tag) if tag else typed.there.at(done.allowed.digest)
    for notice in done.allowed.notices:
        run.output.note(notice)
    warn_if_moved(run, done.allowed)
    if done.step is Step.AHEAD:
        run.output.warn("the trust metadata at the destination is newer than the source's: it stays as it is")
    stanza = stanza_text(goal[0].consumer_stanza(goal[1].url)) if goal else None
    word = ("would be copied" if dry_run else "copied") if done.changed else "was copied already:"
    lines = [f"{word} {done.allowed.pinned} to {there} ({sent_words(done.sent)})"]
    if stanza is not None:
        lines += ["", "# the policy of a consumer there", *stanza.strip().splitlines()]
    document = {
        "source": str(typed.source),
        "destination": str(there),
        "digest": str(done.allowed.digest),
        "changed": done.changed,
        "dry_run": dry_run,
        **sent_document(done.sent),
        "metadata": {"url": goal[1].url, "step": done.step.value} if goal and done.step else None,
        "stanza": stanza,
    }
    run.output.result("copy", document, lines)


def _size(size_bytes: int) -> str:
    for unit, name in _UNITS:
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} bytes"
