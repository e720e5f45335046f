"""The command ``trust publish --rebuild``: a lost store, written anew from what was verified here."""

from __future__ import annotations

from collections.abc import Sequence

from trust.cli.session import PUBLISH_SECONDS, Session
from trust.cli.stanzas import absolute_url
from trust.errors import InputError
from trust.rebuild import rebuild
from trust.reference import parse_collection
from trust.value import replace

EXIT_OK = 0


def rebuild_store(run: Session, collections: Sequence[str], source: str | None, *, dry_run: bool) -> int:
    """Write the metadata of one collection into its store; return the exit code."""
    if len(collections) != 1:
        raise InputError(f"--rebuild is about one collection: got {len(collections)}")
    stanza = run.stanza_of(parse_collection(collections[0]))
    mirror = run.store(replace(stanza, metadata=absolute_url(source))) if source is not None else None
    store = run.store(stanza, publish=True)
    done = rebuild(
        stanza, run.state, store, mirror=mirror, deadline=run.deadline(PUBLISH_SECONDS), dry_run=dry_run
    )
    document = {
        "collections": [
            {
                "collection": collections[0],
                "metadata": store.url,
                "step": done.step.value,
                "files": len(done.replica.files) + 1,
                "versions": dict(done.replica.versions),
                "changed": done.changed,
                "dry_run": dry_run,
            }
        ]
    }
    word = ("would be rebuilt" if dry_run else "rebuilt") if done.changed else f"is {done.step.value} already:"
    versions = " ".join(f"{name}={version}" for name, version in done.replica.versions.items())
    run.output.result("publish", document, [f"{word} {store.url} {versions}"])
    return EXIT_OK
