"""Owns the way from the name or URI of a key to a ``Signer``: the only dispatch on URI schemes.

    KEY := NAME | "file:" NAME                   an encrypted file of the store, or an alias there
         | "pkcs11:" …                           a key on a token (RFC 7512)
         | "envvar:" NAME                        a PEM, encrypted or plain, in a variable of the environment
         | "awskms:" … | "gcpkms:" … | "azurekms:" … | "hv:" …    a KMS or Vault

No message repeats more of a URI that cannot be parsed than its scheme: somebody may have put a PIN there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from securesystemslib.signer import CryptoSigner, Signer

from keys.encrypted_file import public_half
from keys.errors import KeyDamagedError, KeyInputError, KeyMissingError, KeysUnavailableError
from keys.foreign_key import needs_passphrase, read_foreign_key
from keys.key_alias import SCHEMES, URI, KeyAlias
from keys.listing import KeyListing
from keys.pem import MAX_BYTES
from keys.pkcs11_uri import Pkcs11Uri, parse_pkcs11_uri
from keys.public_key import PublicKey, parse_public_key
from keys.store import KeyStore
from keys.verified_signer import tuf_key

if TYPE_CHECKING:
    from keys.hsm import Hsm

__all__ = ["Sources", "is_elsewhere", "key_name", "open_signer", "open_uri", "public_key", "tuf_key"]

PassphraseSource = Callable[[str], str]
"""Takes the name of a key, returns its passphrase."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}):(.*)", re.DOTALL)
_ID_BYTES = 8
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _no_variable(_name: str) -> None:
    return None


def _no_tokens() -> Hsm:
    raise KeyInputError("tokens cannot be used here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where secrets come from: a passphrase for a name, a variable (removed by reading it), the tokens.

    ``hsm`` is a function, since loading it is dear; it returns the same object each time.
    """

    passphrase: PassphraseSource
    variable: Callable[[str], str | None] = _no_variable
    hsm: Callable[[], Hsm] = _no_tokens


def open_signer(key: str, *, store: KeyStore, sources: Sources) -> Signer:
    """Return the signer of ``key``; secrets are asked for once, after the name was found.

    Raises:
        KeyInputError: malformed.
        KeyMissingError, KeyExposedError, KeyDamagedError, WrongPassphraseError, KeysUnavailableError: as
            ``KeyStore.unlock``, ``Hsm.signer`` and ``kms.open_kms``.
    """
    if is_elsewhere(key):
        return open_uri(key, sources=sources)
    name = key_name(key)
    entry = store.entry(name)  # so that nobody types a passphrase for a key that is missing or damaged
    if isinstance(entry, KeyAlias):
        return open_uri(entry.uri, sources=sources, public=entry.public)
    private_key = store.unlock(name, sources.passphrase(name))
    return CryptoSigner(private_key, tuf_key(public_half(private_key)))


def open_uri(uri: str, *, sources: Sources, public: PublicKey | None = None) -> Signer:
    """Return the signer of a key that lives elsewhere; ``public`` is what was noted of it, if anything was.

    Raises:
        KeyInputError: malformed.
        KeyMissingError: there is no such key.
        KeyElsewhereError: where it lives does not answer, or has another key by now.
    """
    if URI.fullmatch(uri) is None:
        raise _unknown(uri)
    scheme, _, rest = uri.partition(":")
    if scheme == "envvar":
        return _from_variable(rest, sources=sources, public=public)
    if scheme == "pkcs11":
        parsed = parse_pkcs11_uri(uri)
        hsm = sources.hsm()
        return hsm.signer(parsed, public or hsm.public_key(parsed))
    from keys.kms import open_kms  # noqa: PLC0415 - dear, and hardly ever needed

    return open_kms(uri, public)


def is_elsewhere(key: str) -> bool:
    """Tell whether ``key`` is a URI of a key that is not in the store (it may be malformed)."""
    found = _SCHEME.fullmatch(key)
    return found is not None and found[1] in SCHEMES


def canonical_uri(uri: str) -> str:
    """Return ``uri`` as an alias holds it.

    Raises:
        KeyInputError: malformed.
    """
    return str(parse_pkcs11_uri(uri)) if uri.startswith("pkcs11:") else uri


def token_uri(uri: str, *, default_object: str, random: Callable[[int], bytes]) -> Pkcs11Uri:
    """Return the URI of a key to be made on a token, with a label (``default_object``) and an id (random).

    Labels need not be unique on a token, and two that make a key at once may both find one free: the id decides.

    Raises:
        KeyInputError: malformed, or no token's.
    """
    if not uri.startswith("pkcs11:"):
        raise KeyInputError(
            "keys are made in files and on tokens: expected file:NAME or pkcs11:token=T",
            hint="make it with the tool of the KMS, then: trust key import NAME URI",
        )
    parsed = parse_pkcs11_uri(uri)
    return replace(parsed, object=parsed.object or default_object, id=parsed.id or random(_ID_BYTES))


def public_key(key: str, *, listing: KeyListing) -> PublicKey:
    """Return the public half of ``key``, which may also be a file that holds a public key.

    What has a slash is a path (``./web.pem``), all else a name or a URI of the store; no secret is needed.

    Raises:
        KeyInputError: malformed, or not a public key.
        KeyMissingError, KeyExposedError, KeyDamagedError, KeysUnavailableError: as ``KeyListing.public_key``.
    """
    if is_file(key):
        return parse_public_key(_read_public(Path(key)), where=key)
    try:
        return listing.public_key(key_name(key))
    except KeyMissingError as err:
        if "." not in key:
            raise
        raise KeyMissingError(str(err), hint=f"a public key file is given with a slash: ./{key}") from err


def is_file(key: str) -> bool:
    """Tell whether ``key`` is the path of a public key file."""
    return "/" in key and _SCHEME.fullmatch(key) is None


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
    raise _unknown(key)


def _unknown(key: str) -> KeyInputError:
    found = _SCHEME.fullmatch(key)
    if found is not None and found[1] in SCHEMES:
        return KeyInputError(
            f"a {found[1]} URI cannot stand here: expected NAME or file:NAME",
            hint="give it a name: trust key import NAME URI",
        )
    scheme = found[1] if found is not None else "of none"
    return KeyInputError(
        f"unknown kind of key {scheme!r}: expected NAME, file:NAME, {', '.join(f'{each}:…' for each in SCHEMES)}",
        hint="trust key list shows the keys you have",
    )


def _from_variable(name: str, *, sources: Sources, public: PublicKey | None) -> Signer:
    if _VARIABLE.fullmatch(name) is None:
        raise KeyInputError("envvar: expected the name of a variable", hint="envvar:SIGNING_KEY")
    where = f"variable {name}"
    text = sources.variable(name)
    if text is None:
        raise KeyMissingError(f"{where} is not set: expected a private key in PEM")
    data = text.encode("utf-8", "surrogateescape")
    passphrase = sources.passphrase(name) if needs_passphrase(data, where=where) else None
    private_key = read_foreign_key(data, passphrase, where=where)
    found = public_half(private_key)
    if public is not None and public != found:
        raise KeyDamagedError(
            f"{where} holds key {found.keyid[:12]}, but {public.keyid[:12]} is noted here",
            hint="set the variable to the right key, or import the new one under another name",
        )
    return CryptoSigner(private_key, tuf_key(found))


def _read_public(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as err:
        raise KeyMissingError(f"no public key file {path}") from err
    except OSError as err:
        raise KeysUnavailableError(f"cannot read {path}: {err.strerror}") from err
