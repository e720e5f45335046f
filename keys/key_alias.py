"""Owns the shape of a key alias: a file of the store that says where a private key lives. It holds no secret.

    URI: pkcs11:token=T;object=O
    -----BEGIN PUBLIC KEY-----
    …

The public half is what was seen when the alias was made, and what each signature is verified against. As with
``key_file``, a file is accepted only if it prints back byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from keys.errors import KeyDamagedError, KeyInputError
from keys.key_file import KeyFile, parse_key_file
from keys.pkcs11_uri import parse_pkcs11_uri
from keys.public_key import PublicKey, parse_public_key

SCHEMES: Final = ("pkcs11", "awskms", "gcpkms", "azurekms", "hv", "envvar")
URI: Final = re.compile(rf"({'|'.join(SCHEMES)}):[!-~]+")
_MAX_CHARACTERS = 2048
_HEADER: Final = b"URI: "


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAlias:
    """A name for a key that lives elsewhere: its URI (printable ASCII, a scheme of ``SCHEMES``), its public half.

    Raises:
        KeyInputError: not such a URI.
    """

    uri: str
    public: PublicKey

    def __post_init__(self) -> None:
        if URI.fullmatch(self.uri) is None or len(self.uri) > _MAX_CHARACTERS:
            raise KeyInputError(f"not the URI of a key that lives elsewhere: expected one of {', '.join(SCHEMES)}")

    def __bytes__(self) -> bytes:
        return _HEADER + self.uri.encode("ascii") + b"\n" + self.public.pem


def place_of(uri: str) -> str:
    """Return where the key of an alias lives, so that two in one place are seen to be: a token, a service.

    Two keys in one KMS account, or in one environment, fall to one theft of its credentials.
    """
    scheme = uri.partition(":")[0]
    if scheme == "pkcs11":
        return parse_pkcs11_uri(uri).where
    return {
        "awskms": "AWS KMS",
        "gcpkms": "Google Cloud KMS",
        "azurekms": "Azure Key Vault",
        "hv": "Vault",
        "envvar": "the environment",
    }[scheme]


def parse_entry(untrusted_data: bytes, *, where: str) -> KeyFile | KeyAlias:
    """Return what a file of the store holds: an encrypted key, or an alias.

    Raises:
        KeyDamagedError: neither, or not to the byte.
    """
    if not untrusted_data.startswith(_HEADER):
        return parse_key_file(untrusted_data, where=where)
    line, _, pem = untrusted_data.partition(b"\n")
    try:
        uri = line.removeprefix(_HEADER).decode("ascii")
        alias = KeyAlias(uri=uri, public=parse_public_key(pem, where=where))
    except (KeyInputError, UnicodeDecodeError) as err:
        raise KeyDamagedError(f"{where}: a damaged key alias", hint="remove it, and import the key anew") from err
    if bytes(alias) != untrusted_data:
        raise KeyDamagedError(
            f"{where}: a key alias, but not as it was written", hint="remove it, and import anew"
        )
    return alias
