"""The command ``trust rotate``: who signs a role from now on."""

from __future__ import annotations

from pathlib import Path

import click

from keys.errors import KeyMissingError
from keys.signers import tuf_key
from trust.cli.options import Command
from trust.cli.published import report, word_of
from trust.cli.publishing import publisher
from trust.cli.secrets import Keyring
from trust.cli.session import session
from trust.errors import InputError
from trust.reference import parse_collection
from trust.rotate import KEYID_SHOWN, Rotation
from trust.rotate import rotate as rotate_keys


@click.command("rotate", cls=Command)
@click.argument("collection", metavar="COLLECTION")
@click.argument("role", metavar="ROLE")
@click.option("--add", metavar="K", multiple=True, help="A key that signs ROLE from now on.")
@click.option("--remove", metavar="K", multiple=True, help="A key that signs ROLE no more; or its key id.")
@click.option("--stolen", metavar="K", multiple=True, help="As --remove, and it signs nothing now either.")
@click.option("--threshold", type=click.IntRange(1), help="How many keys of ROLE must sign.")
@click.option("--dry-run", is_flag=True, help="Publish nothing.")
def rotate(
    *,
    collection: str,
    role: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    stolen: tuple[str, ...],
    threshold: int | None,
    dry_run: bool,
) -> int:
    """Change the keys of ROLE, and sign what it says anew; consumers follow by themselves.

    ROLE is root, targets, online (snapshot and timestamp), or a delegated role. A root is signed by the old and
    the new keys; any other role's keys are changed by who delegates to it.
    """
    run = session()
    if not add and not remove and not stolen and threshold is None:
        raise InputError("nothing to rotate: expected --add, --remove, --stolen or --threshold")
    stanza = run.stanza_of(parse_collection(collection))
    ring = Keyring(run.home / "keys")
    rotation = Rotation(
        role=role,
        add=tuple(tuf_key(ring.public_key(each)) for each in add),
        remove=tuple(keyid_of(run.home, each) for each in remove),
        stolen=tuple(keyid_of(run.home, each) for each in stolen),
        threshold=threshold,
    )
    published = rotate_keys(publisher(run, stanza, (), dry_run=dry_run), rotation)
    document = {
        "collection": collection,
        "role": role,
        "added": [key.keyid for key in rotation.add],
        "removed": [*rotation.remove, *rotation.stolen],
    }
    word = word_of(published, "rotated", "has these keys already:", dry_run=dry_run)
    code = report(run, "rotate", stanza, document, [f"{word} {role} of {collection}"], published, dry_run=dry_run)
    if published.changed and not dry_run and stolen:
        run.output.warn(
            f"what the stolen key signed still stands: "
            f"trust revoke {collection} --signed-by {rotation.stolen[0][:KEYID_SHOWN]} --since TIME"
        )
    return code


def keyid_of(home: Path, key: str) -> str:
    """Return the id of ``key``: of one that is lost, or was never here, the id itself is given."""
    if len(key) >= KEYID_SHOWN and set("0123456789abcdef").issuperset(key):
        return key
    try:
        return Keyring(home / "keys").public_key(key).keyid
    except KeyMissingError as err:
        raise KeyMissingError(
            str(err), hint="of a key that is lost, give the key id: trust inspect shows it"
        ) from err
