"""Owns the keys that a command names: those that are there, and those that it makes because they are not."""

from __future__ import annotations

import os
from collections.abc import Iterable

from keys.encrypted_file import generate_private_key, public_half
from keys.errors import KeyMissingError
from keys.name import check_name
from keys.public_key import PublicKey
from keys.signers import is_elsewhere, is_file, key_name
from trust.cli.secrets import Keyring, passphrase_of
from trust.digest import sha256
from trust.reference import Collection


def default_name(collection: Collection, role: str) -> str:
    """Return a key name that no other collection has: its words, and a digest where they are cut short."""
    words = "-".join(part for part in str(collection).replace(":", "-").replace("_", "-").split("/") if part)
    short = words[:40].strip(".-") if words.isascii() else ""
    return f"{short.lower()}-{sha256(str(collection).encode()).hex[:6]}.{role}"


def missing_names(ring: Keyring, keys: Iterable[str]) -> list[str]:
    """Return the names of the keys that are to be made."""
    here = set(ring.store.names())
    names = [key_name(key) for key in keys if is_name(key)]
    return [name for name in dict.fromkeys(names) if name not in here]


def given_or_made(ring: Keyring, name: str, *, dry_run: bool) -> PublicKey:
    """Return the public key ``name``; a missing one is made, for a dry run in memory alone."""
    try:
        return ring.public_key(name)
    except KeyMissingError:
        if not is_name(name):
            raise
        if dry_run:
            check_name(key_name(name))
            return public_half(generate_private_key("ed25519", random=os.urandom))
        return ring.store.generate(key_name(name), "ed25519", passphrase_of(key_name(name), confirm=True))


def is_name(key: str) -> bool:
    """Tell whether ``key`` is one that can be made here: neither a public key file nor a key elsewhere."""
    return not is_file(key) and not is_elsewhere(key)
