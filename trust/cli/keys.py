"""The commands ``trust key …``: make, list, show, import, export, remove, and change a passphrase."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from keys.errors import KeyInputError, KeyMissingError, KeysError, KeysUnavailableError
from keys.foreign_key import needs_passphrase, role_of
from keys.key_alias import KeyAlias
from keys.pem import MAX_BYTES
from keys.public_key import KEY_TYPES, KeyType, PublicKey
from keys.signers import canonical_uri, is_elsewhere, is_file, key_name, public_key, token_uri
from keys.store import KeyStore
from trust.cli.options import Group
from trust.cli.render import table
from trust.cli.secrets import Keyring, passphrase_of
from trust.cli.session import session

key = Group(
    "key",
    lazy={"audit": "trust.cli.auditing:audit"},
    help="Make and keep signing keys: in encrypted files, on tokens, in a KMS.",
)


def key_store() -> KeyStore:
    """Return the keys of this home."""
    return KeyStore(session().home / "keys")


def keyring() -> Keyring:
    """Return what opens the keys of this home."""
    return Keyring(session().home / "keys")


@key.command("generate")
@click.argument("name")
@click.option("--type", "key_type", type=click.Choice(KEY_TYPES), help="Default: ed25519, on a token ecdsa-p256.")
@click.option("--on", "uri", metavar="URI", help="The token on which the key is made: pkcs11:token=T;object=O")
def generate(name: str, key_type: KeyType | None, uri: str | None) -> None:
    """Make the key NAME, encrypted under a passphrase; or on a token, which it never leaves."""
    ring = keyring()
    if uri is None or not is_elsewhere(uri):
        if uri is not None and key_name(uri) != name:
            raise KeyInputError(f"a key file has its own name: expected file:{name}, got {uri}")
        public = ring.store.generate(name, key_type or "ed25519", passphrase_of(name, confirm=True))
        _show("key generate", name, public, f"file:{name}")
        return
    ring.store.check_free(name)
    token = token_uri(uri, default_object=name, random=os.urandom)
    public = ring.hsm().generate(token, key_type or "ecdsa-p256")
    try:
        ring.store.add_alias(name, KeyAlias(uri=str(token), public=public))
    except KeysError as err:
        raise KeysUnavailableError(
            f"the key is on {token.where}, but its name was not stored: {err}",
            hint=f"trust key import NAME '{token}'",
        ) from err
    _show("key generate", name, public, str(token))


@key.command("list")
def list_() -> None:
    """List the keys of this home; no passphrase is needed."""
    store = key_store()
    found = [(name, store.entry(name).public, store.uri(name)) for name in store.names()]
    rows = [(name, public.key_type, public.keyid, uri) for name, public, uri in found]
    session().output.result(
        "key list",
        {"keys": [_document(*each) for each in found]},
        table(rows, ("NAME", "TYPE", "KEY ID", "WHERE")) if rows else ["no keys; trust key generate makes one"],
    )


@key.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show the public part and the key id of NAME, or of a public key file (./FILE)."""
    store = key_store()
    _show("key show", name, public_key(name, listing=store), None if is_file(name) else store.uri(key_name(name)))


@key.command("import")
@click.argument("name")
@click.argument("source", metavar="FILE|URI")
def import_(name: str, source: str) -> None:
    """Import a PEM private key from FILE as NAME, encrypted anew; or make NAME stand for the key at URI.

    FILE may be of OpenSSL, or of Notary and Docker Content Trust (~/.docker/trust/private). URI is of a token
    (pkcs11:…), a KMS (awskms:…, gcpkms:…, azurekms:…), Vault (hv:…) or a variable (envvar:…): the key stays there.
    """
    ring = keyring()
    uri = canonical_uri(source) if is_elsewhere(source) else None
    if uri is not None and name in ring.store.names() and ring.store.uri(name) == uri:
        _show("key import", name, ring.store.public_key(name), uri, changed=False)  # a pipeline that kept its home
        return
    ring.store.check_free(name)
    if uri is not None:
        public = ring.public_key(uri)
        ring.store.add_alias(name, KeyAlias(uri=uri, public=public))
        _show("key import", name, public, uri, changed=True)
        return
    data = _read(Path(source))
    opening = passphrase_of(f"{name}.import") if needs_passphrase(data, where=source) else None
    public = ring.store.import_pem(name, data, opening, passphrase_of(name, confirm=True))
    if role := role_of(data, where=source):
        session().output.note(f"Notary used it as {role}")
    _show("key import", name, public, f"file:{name}", changed=True)


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
    store = key_store()
    store.require_file(name)
    old, new = passphrase_of(name), passphrase_of(f"{name}_new", confirm=True, own=True)
    if new == old:
        raise KeyInputError("the new passphrase is the old one")
    store.change_passphrase(name, old, new)
    session().output.result("key passwd", {"name": name, "changed": True}, [f"{name} has a new passphrase"])


@key.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, *, yes: bool) -> None:
    """Remove the key NAME; whoever needs its signature cannot have it any more.

    Of a key that lives elsewhere only the name here is removed.
    """
    store = key_store()
    uri = store.uri(name)
    is_alias = is_elsewhere(uri)
    if not yes:
        if not sys.stdin.isatty():
            raise KeyInputError(f"key {name} is not removed without a yes", hint=f"trust key remove {name} --yes")
        question = (
            f"forget the name {name}? (the key stays at {uri})" if is_alias else f"remove key {name} for ever?"
        )
        click.confirm(question, abort=True, err=True)
    store.remove(name)
    line = f"the name {name} is gone; its key is still at {uri}" if is_alias else f"{name} is gone"
    session().output.result("key remove", {"name": name, "uri": uri, "changed": True}, [line])


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as source:
            return source.read(MAX_BYTES + 1)
    except FileNotFoundError as err:
        raise KeyMissingError(f"no file {path}", hint="a URI begins with its kind, like pkcs11:token=T") from err
    except OSError as err:
        raise KeysUnavailableError(f"cannot read {path}: {err.strerror}") from err


def _document(name: str, public: PublicKey, uri: str | None) -> dict[str, str | None]:
    return {
        "name": name,
        "type": public.key_type,
        "keyid": public.keyid,
        "public": public.pem.decode("ascii"),
        "uri": uri,
    }


def _show(command: str, name: str, public: PublicKey, uri: str | None, *, changed: bool | None = None) -> None:
    lines = [f"{name} {public.key_type} {public.keyid}", *public.pem.decode("ascii").splitlines()]
    where = [f"it is at {uri}"] if uri is not None and is_elsewhere(uri) else []
    more = {} if changed is None else {"changed": changed}
    session().output.result(command, {**_document(name, public, uri), **more}, [*lines, *where])
