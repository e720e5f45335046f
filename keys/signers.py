"""Owns the way from the name or URI of a key to a ``Signer``: the only dispatch on URI schemes.

    KEY := NAME | "file:" NAME       an encrypted file of the store

The other schemes of the command line contract are known by name and refused. A URI may carry secrets (the PIN
of a token), so no message repeats more than its scheme.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Signer, SSlibKey

from keys.encrypted_file import public_half
from keys.errors import KeyInputError, KeyMissingError, KeysUnavailableError
from keys.listing import KeyListing
from keys.pem import MAX_BYTES
from keys.public_key import PublicKey, parse_public_key
from keys.store import KeyStore

PassphraseSource = Callable[[str], str]
"""Takes the name of a key, returns its passphrase."""

_LATER_SCHEMES = ("pkcs11", "awskms", "gcpkms", "azurekms", "hv", "envvar")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}):(.*)", re.DOTALL)


def open_signer(key: str, *, store: KeyStore, passphrase: PassphraseSource) -> Signer:
    """Return the signer of ``key``; ``passphrase`` is asked once, after the name was found.

    Raises:
        KeyInputError: malformed, or a kind of key that this version does not have.
        KeyMissingError, KeyExposedError, KeyDamagedError, WrongPassphraseError, KeysUnavailableError: as
            ``KeyStore.unlock``.
    """
    name = key_name(key)
    store.public_key(name)  # so that nobody types a passphrase for a key that is missing or damaged
    private_key = store.unlock(name, passphrase(name))
    return CryptoSigner(private_key, tuf_key(public_half(private_key)))


def public_key(key: str, *, listing: KeyListing) -> PublicKey:
    """Return the public half of ``key``, which may also be a file that holds a public key.

    What has a slash is a path (``./web.pem``), all else a name or a URI; no passphrase is needed.

    Raises:
        KeyInputError: malformed, or not a public key.
        KeyMissingError, KeyExposedError, KeyDamagedError, KeysUnavailableError: as ``KeyListing.public_key``.
    """
    if "/" in key and _SCHEME.fullmatch(key) is None:
        return parse_public_key(_read_public(Path(key)), where=key)
    try:
        return listing.public_key(key_name(key))
    except KeyMissingError as err:
        if "." not in key:
            raise
        raise KeyMissingError(str(err), hint=f"a public key file is given with a slash: ./{key}") from err


def tuf_key(public: PublicKey) -> SSlibKey:
    """Return ``public`` as TUF metadata holds it."""
    return SSlibKey(public.keyid, public.keytype, public.scheme, {"public": public.keyval})


def key_name(key: str) -> str:
    """Return the name in the store that ``key`` stands for; it is not checked yet.

    Raises:
        KeyInputError: a scheme other than ``file:``.
    """
    found = _SCHEME.fullmatch(key)
    if found is None:
        return key
    if found[1] == "file":
        return found[2]
    if found[1] in _LATER_SCHEMES:
        raise KeyInputError(
            f"this version has no {found[1]} keys: expected NAME or file:NAME",
            hint="trust key list shows the keys you have",
        )
    raise KeyInputError(
        f"unknown kind of key {found[1]!r}: expected NAME or file:NAME",
        hint="trust key list shows the keys you have",
    )


def _read_public(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as err:
        raise KeyMissingError(f"no public key file {path}") from err
    except OSError as err:
        raise KeysUnavailableError(f"cannot read {path}: {err.strerror}") from err
