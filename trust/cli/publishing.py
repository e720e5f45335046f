"""The commands that change a collection: ``sign``, ``publish``, ``renew``."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta

import click

from trust.approve import settle
from trust.chain import ONLINE_ROLES
from trust.cli.images import TypedImage, parse_image
from trust.cli.options import Command
from trust.cli.published import EXIT_OK, publish_document, report, versions_of, word_of
from trust.cli.reporting import names_of_keys, who
from trust.cli.secrets import Keyring
from trust.cli.session import PUBLISH_SECONDS, Session, session
from trust.cli.signing import read_digest_file, settled_digest
from trust.cli.waiting import Review
from trust.collect import collect
from trust.digest import Digest
from trust.errors import InputError, TrustError
from trust.instant import format_span, parse_duration
from trust.loaded import Loaded
from trust.metadata import period_of
from trust.policy import Stanza
from trust.publish import Publisher
from trust.reference import Reference, parse_collection
from trust.sign import Order, read_image
from trust.sign import sign as sign_images
from trust.watch import ageing, ageing_words, facts_of


@click.command("sign", cls=Command)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--key", "keys", metavar="K", multiple=True, help="Sign with this key, not with every one at hand.")
@click.option("--annotation", "annotations", metavar="K=V", multiple=True, help="A signed fact about the image.")
@click.option("--digest-file", type=click.Path(exists=True, dir_okay=False), help="As podman and buildx write it.")
@click.option("--as", "stands_for", metavar="IMAGE", help="The reference that an OCI layout stands for.")
@click.option("--resolve-tag", is_flag=True, help="Believe the registry about the digest of a bare tag.")
@click.option("--stage", is_flag=True, help="Leave the publishing to whoever holds the online key.")
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def sign(
    images: tuple[str, ...],
    keys: tuple[str, ...],
    annotations: tuple[str, ...],
    digest_file: str | None,
    stands_for: str | None,
    resolve_tag: bool,
    stage: bool,
    dry_run: bool,
) -> int:
    """Sign IMAGE: from now on its tag is this digest, for every consumer.

    The digest is yours to give (PATH:TAG@DIGEST, --digest-file, or an OCI layout): who races your push would
    otherwise have his image signed.
    """
    run = session()
    given = read_digest_file(digest_file) if digest_file else None
    notes = dict(assignment(text) for text in annotations)
    typed = [parse_image(image, stands_for) for image in images]
    digests = [settled_digest(run, image, given, believe=resolve_tag) for image in typed]
    stanza = one_stanza(run, [image.reference for image in typed])
    orders = [_order(run, image, digest, notes) for image, digest in zip(typed, digests, strict=True)]
    published = sign_images(publisher(run, stanza, keys, dry_run=dry_run, stage=stage), orders)
    pairs = [(str(image.reference), str(digest)) for image, digest in zip(typed, digests, strict=True)]
    documents = [{"image": image, "digest": digest} for image, digest in pairs]
    word = word_of(published, "signed", "was signed already", dry_run=dry_run)
    lines = [f"{word} {image.partition('@')[0]} {digest}" for image, digest in pairs]
    return report(run, "sign", stanza, {"images": documents}, lines, published, dry_run=dry_run)


@click.command("publish", cls=Command)
@click.argument("collections", metavar="COLLECTION...", nargs=-1, required=True)
@click.option("--watch", "is_watch", is_flag=True, help="Stay, and do it in time; ended by SIGTERM or Ctrl-C.")
@click.option(
    "--expires",
    metavar="ROLE=DURATION",
    multiple=True,
    help="How long snapshot or timestamp is valid: timestamp=12h. At most what the root says, the default (more "
    "is cut to that, with a warning); with --watch the default is 1d.",
)
@click.option("--rebuild", "is_rebuild", is_flag=True, help="Write a lost store anew from what was verified here.")
@click.option("--from", "mirror", metavar="URL", help="With --rebuild: from this mirror instead.")
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def publish(
    *,
    collections: tuple[str, ...],
    expires: tuple[str, ...],
    is_watch: bool,
    is_rebuild: bool,
    mirror: str | None,
    dry_run: bool,
) -> int:
    """Publish the changes of COLLECTION that are complete, and sign its snapshot and timestamp anew.

    Each change is verified first, as an approval does. So verification goes on, and what others staged goes out.
    """
    periods = online_periods(expires)
    if mirror is not None and not is_rebuild:
        raise InputError("--from goes with --rebuild")
    if is_rebuild:
        from trust.cli.rebuilding import rebuild_store  # noqa: PLC0415 - once in the life of a collection

        return rebuild_store(session(), collections, mirror, dry_run=dry_run)
    if not is_watch:
        return _publish(session(), collections, dry_run=dry_run, periods=periods)
    if dry_run:
        raise InputError("--watch publishes: expected no --dry-run")
    from trust.cli.watching import watch  # noqa: PLC0415 - a publish that does not stay needs none of it

    return watch(session(), collections, periods)


@click.command("renew", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.argument("roles", metavar="[ROLE]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def renew(collection: str, roles: tuple[str, ...], *, dry_run: bool) -> int:
    """Extend the expiry of ROLE (default: targets) and of its bins, and of snapshot and timestamp with it."""
    run = session()
    stanza = run.stanza_of(parse_collection(collection))
    renewing = publisher(run, stanza, (), dry_run=dry_run)
    published = renewing.renew(frozenset(roles or ("targets",)))
    removed = () if dry_run or published.waits is not None else _tidied(run, renewing, collection)
    word = word_of(published, "published", "was renewed already:", dry_run=dry_run)
    document = {
        "collection": collection,
        **publish_document(published, dry_run=dry_run),
        "collected": list(removed),
    }
    lines = [f"{word} {collection} {versions_of(published)}"]
    return report(run, "renew", stanza, {"collections": [document]}, lines, published, dry_run=dry_run)


def _publish(run: Session, collections: Iterable[str], *, dry_run: bool, periods: Mapping[str, timedelta]) -> int:
    documents: list[dict[str, object]] = []
    lines = []
    for name in collections:
        by = publisher(run, run.stanza_of(parse_collection(name)), (), dry_run=dry_run, periods=periods)
        if periods:
            warn_of_cut(run, by.load(), periods, name)
        settled = settle(by)
        published = next((each for each in reversed(settled.published) if each.changed), None)
        published = published or by.renew(frozenset())
        changes = [str(each) for each in settled.ids]
        documents.append({
            "collection": name,
            **publish_document(published, dry_run=dry_run),
            "changes": changes,
            "left": [{"id": str(each.id), "role": each.place, "problem": each.problem} for each in settled.left],
            "collected": list(() if dry_run else _tidied(run, by, name)),
        })  # fmt: skip
        lines += [f"{'would be ' * dry_run}published change {each}" for each in changes]
        word = word_of(published, "published", "was published already:", dry_run=dry_run)
        lines.append(f"{word} {name} {versions_of(published)}")
        for each in settled.left:
            run.output.warn(f"change {each.id} of {each.place} is not published: {each.problem or 'it waits on'}")
    run.output.result("publish", {"collections": documents}, lines)
    return EXIT_OK


def online_periods(expires: Iterable[str]) -> dict[str, timedelta]:
    """Return what ``--expires`` says of snapshot and timestamp.

    Raises:
        InputError: of another role, which only its own keys can sign.
    """
    periods = {}
    for text in expires:
        role, duration = assignment(text)
        if role not in ONLINE_ROLES:
            raise InputError(f"only {' and '.join(ONLINE_ROLES)} are signed here: got {role!r}")
        periods[role] = parse_duration(duration)
    return periods


def warn_of_cut(run: Session, loaded: Loaded, periods: Mapping[str, timedelta], name: str) -> None:
    """Warn of each of ``periods`` that is longer than the root of ``name`` says: nobody signs for so long."""
    for role, period in periods.items():
        said = period_of(loaded.root, role)
        if period > said:
            run.output.warn(
                f"role {role} is signed for {format_span(said)}, not for {format_span(period)}: "
                f"the root of {name} allows no more"
            )


def _tidied(run: Session, publishing: Publisher, name: str) -> tuple[str, ...]:
    """Return the names of the old files that were removed; a role that nobody renewed in time is a warning."""
    try:
        loaded = publishing.load()
    except TrustError:  # what was published stands; that nothing can be tidied is told below
        return collect_old(run, publishing)
    for facts in facts_of(loaded):
        if ageing(facts, run.now) is not None:
            text, hint = ageing_words(facts, run.now, name)
            run.output.warn(text)
            run.output.hint(hint)
    return collect_old(run, publishing, loaded)


def collect_old(run: Session, publishing: Publisher, loaded: Loaded | None = None) -> tuple[str, ...]:
    """Return the names of the old files that were removed; that it could not be done is a warning."""
    try:
        return collect(
            publishing.store, loaded or publishing.load(), now=publishing.now, deadline=publishing.deadline
        )
    except TrustError as err:
        run.output.warn(f"old metadata stays where it is: {err}")
        return ()


def publisher(
    run: Session,
    stanza: Stanza,
    keys: tuple[str, ...],
    *,
    dry_run: bool,
    periods: Mapping[str, timedelta] | None = None,
    stage: bool = False,
) -> Publisher:
    """Return the publisher of a collection with the keys of this home; ``keys`` narrows who signs targets."""
    names = names_of_keys(run)
    ring = Keyring(run.home / "keys")
    chosen = frozenset(ring.public_key(each).keyid for each in keys)
    return Publisher(
        stanza=stanza,
        state=run.state,
        store=run.store(stanza, publish=True),
        keyring=ring,
        chosen=chosen,
        now=run.now,
        deadline=run.deadline(PUBLISH_SECONDS),
        pause=_pause,
        dry_run=dry_run,
        periods=periods or {},
        stage=stage,
        review=Review(run, stanza) if sys.stdin.isatty() else None,
        who=lambda keyid: who(names, (keyid,)),
    )


def _pause(seconds: float) -> None:
    time.sleep(seconds * (0.5 + random.random()))  # noqa: S311 - to fall out of step, not to be unguessable


def _order(run: Session, image: TypedImage, digest: Digest, annotations: dict[str, str]) -> Order:
    return Order(
        path=run.stanza_for(image.reference)[1],
        tag=image.reference.tag,
        image=read_image(digest, lambda wanted: image.manifest(run, wanted)),
        annotations=annotations,
    )


def one_stanza(run: Session, references: list[Reference]) -> Stanza:
    """Return the one collection that covers all ``references``."""
    stanzas = {str(stanza.collection): stanza for stanza, _ in map(run.stanza_for, references)}
    if len(stanzas) != 1:
        raise InputError(f"one command changes one collection: got {', '.join(stanzas)}")
    return next(iter(stanzas.values()))


def assignment(text: str) -> tuple[str, str]:
    """Return the two sides of ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InputError(f"expected NAME=VALUE, got {text!r}")
    return name, value
