"""The commands ``trust key …``: make, list, show, import, export, remove, and change a passphrase."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from keys.errors import KeyInputError
from keys.foreign_key import needs_passphrase
from keys.pem import MAX_BYTES
from keys.public_key import KEY_TYPES, KeyType, PublicKey
from keys.signers import key_name, public_key
from keys.store import KeyStore
from trust.cli.options import Group
from trust.cli.render import table
from trust.cli.secrets import passphrase_of
from trust.cli.session import session

key = Group("key", help="Make and keep signing keys, in encrypted files under the home.")


def key_store() -> KeyStore:
    """Return the keys of this home."""
    return KeyStore(session().home / "keys")


@key.command("generate")
@click.argument("name")
@click.option("--type", "key_type", type=click.Choice(KEY_TYPES), default="ed25519", show_default=True)
@click.option("--on", "uri", help="Where the key is made; this version makes files only.")
def generate(name: str, key_type: KeyType, uri: str | None) -> None:
    """Make the key NAME, encrypted under a passphrase."""
    if uri is not None and key_name(uri) != name:
        raise KeyInputError(f"a key file has its own name: expected file:{name}, got {uri}")
    public = key_store().generate(name, key_type, passphrase_of(name, confirm=True))
    _show("key generate", name, public)


@key.command("list")
def list_() -> None:
    """List the keys of this home; no passphrase is needed."""
    store = key_store()
    found = [(name, store.public_key(name)) for name in store.names()]
    rows = [(name, public.key_type, public.keyid) for name, public in found]
    session().output.result(
        "key list",
        {"keys": [_document(name, public) for name, public in found]},
        table(rows, ("NAME", "TYPE", "KEY ID")) if rows else ["no keys; trust key generate makes one"],
    )


@key.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show the public part and the key id of NAME, or of a public key file (./FILE)."""
    _show("key show", name, public_key(name, listing=key_store()))


@key.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def import_(name: str, file: Path) -> None:
    """Import a PEM private key from FILE as NAME; it is encrypted anew."""
    with file.open("rb") as source:
        data = source.read(MAX_BYTES + 1)
    opening = passphrase_of(f"{name}.import") if needs_passphrase(data, where=str(file)) else None
    public = key_store().import_pem(name, data, opening, passphrase_of(name, confirm=True))
    _show("key import", name, public)


@key.command("export")
@click.argument("name")
@click.option("--private", is_flag=True, help="The whole key, still encrypted under its passphrase.")
def export(name: str, *, private: bool) -> None:
    """Print NAME as PEM: its public part, or the encrypted private key."""
    data = key_store().export(name, private=private).decode("ascii")
    session().output.result("key export", {"name": name, "pem": data}, data.splitlines())


@key.command("passwd")
@click.argument("name")
def passwd(name: str) -> None:
    """Give NAME a new passphrase (TRUST_PASSPHRASE_<NAME>_NEW, or a prompt)."""
    old, new = passphrase_of(name), passphrase_of(f"{name}_new", confirm=True, own=True)
    if new == old:
        raise KeyInputError("the new passphrase is the old one")
    key_store().change_passphrase(name, old, new)
    session().output.result("key passwd", {"name": name, "changed": True}, [f"{name} has a new passphrase"])


@key.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, *, yes: bool) -> None:
    """Remove the key NAME; whoever needs its signature cannot have it any more."""
    store = key_store()
    store.public_key(name)
    if not yes:
        if not sys.stdin.isatty():
            raise KeyInputError(f"key {name} is not removed without a yes", hint=f"trust key remove {name} --yes")
        click.confirm(f"remove key {name} for ever?", abort=True, err=True)
    store.remove(name)
    session().output.result("key remove", {"name": name, "changed": True}, [f"{name} is gone"])


def _document(name: str, public: PublicKey) -> dict[str, str]:
    return {
        "name": name,
        "type": public.key_type,
        "keyid": public.keyid,
        "public": public.pem.decode("ascii"),
        "uri": f"file:{name}",
    }


def _show(command: str, name: str, public: PublicKey) -> None:
    lines = [f"{name} {public.key_type} {public.keyid}", *public.pem.decode("ascii").splitlines()]
    session().output.result(command, _document(name, public), lines)
