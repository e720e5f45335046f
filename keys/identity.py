"""Owns identities: private keys that decrypt what was encrypted to them, and sign nothing.

A file of its own, as ``openssl genpkey -algorithm x25519`` writes it: PKCS#8 in PEM, plain or with a passphrase
(PBES2). It is no key of the store: whoever may publish need not be able to read what is published.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from keys.encrypted_file import passphrase_bytes
from keys.envelope import IMPORT_LIMITS, parse_envelope
from keys.errors import KeyDamagedError, KeyExposedError, KeyInputError, KeyMissingError, WrongPassphraseError
from keys.key_file import PRIVATE_LABEL
from keys.pem import MAX_BYTES, parse_pem
from keys.pkcs8 import UNREADABLE, load_private_key

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PLAIN_LABEL = "PRIVATE KEY"
_MAKE = "make one: openssl genpkey -algorithm x25519 -out FILE"


class Identity:
    """One private key of X25519."""

    def __init__(self, private_key: X25519PrivateKey) -> None:
        self._private_key = private_key

    def opened(self, encrypted: bytes, *, info: bytes) -> bytes | None:
        """Return what was encrypted to this identity; None: it was not, or not for ``info``.

        Source: RFC 9180, base mode: X25519, HKDF-SHA256, AES-256-GCM.
        """
        suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
        try:
            return suite.decrypt(encrypted, self._private_key, info)
        except (InvalidTag, ValueError):
            return None


def read_identity(path: Path, *, passphrase: Callable[[], str]) -> Identity:
    """Return the identity in a file; ``passphrase`` is asked where it is encrypted.

    Raises:
        KeyMissingError, KeyExposedError: no such file, or others can read it.
        KeyInputError, WrongPassphraseError: it holds no private key of X25519, or does not open.
        KeysUnavailableError: not enough memory.
    """
    data = _private_bytes(path)
    try:
        blocks = [block for block in parse_pem(data, where=str(path)) if block.label.endswith("PRIVATE KEY")]
        if len(blocks) != 1 or blocks[0].label not in (_PLAIN_LABEL, PRIVATE_LABEL):
            raise KeyInputError(f"{path}: expected one private key in PKCS#8", hint=_MAKE)
        secret = None
        if blocks[0].label == PRIVATE_LABEL:
            IMPORT_LIMITS.check(parse_envelope(blocks[0].der, where=str(path)).kdf, where=str(path))
            secret = passphrase_bytes(passphrase())
    except KeyDamagedError as err:
        raise KeyInputError(str(err), hint=err.hint) from err
    try:
        private_key = load_private_key(blocks[0].der, secret, where=str(path))
    except UNREADABLE as err:
        if secret is not None:
            raise WrongPassphraseError(f"{path}: the passphrase does not open it, or it is damaged") from err
        raise KeyInputError(f"{path}: its private key is damaged or of an unknown type", hint=_MAKE) from err
    if not isinstance(private_key, X25519PrivateKey):
        raise KeyInputError(f"{path}: this key cannot decrypt: expected one of X25519", hint=_MAKE)
    return Identity(private_key)


def _private_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_BYTES + 1)
    except OSError as err:
        raise KeyMissingError(f"identity cannot be read: {path}: {err.strerror}", hint=_MAKE) from err
    if mode & _OTHERS:
        raise KeyExposedError(f"others can read the identity: {path}", hint=f"chmod 600 {path}")
    return data
