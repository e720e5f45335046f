"""Owns what Notary 0.x (Docker Content Trust) writes differently: its private keys, and the role in their headers.

``~/.docker/trust/private/*.key`` is PEM with the headers ``role`` and, for some, ``gun``; inside, PBES2 and PBKDF2
around a PKCS#8 that says version 1 (RFC 5958: a public key follows) where none follows. OpenSSL minds the headers,
cryptography the version. Made version 0, which it is in all but name, it is an ordinary key.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7

from keys.envelope import AES_256_CBC, HMAC_SHA1, HMAC_SHA256, Envelope, Pbkdf2
from keys.pem import PemBlock

_BLOCK_BYTES = 16
_KEY_BYTES = 32
_HASHES: Final[dict[str, type[HashAlgorithm]]] = {HMAC_SHA1: SHA1, HMAC_SHA256: SHA256}
_SHOWN_CHARACTERS = 200


@asn1.sequence
class _PrivateKeyInfo:
    version: int
    algorithm: asn1.TLV
    private_key: bytes


def notary_role(block: PemBlock) -> str | None:
    """Return what the key was for, as its headers say (``targets of docker.io/acme/web``), or None."""
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in block.headers)}
    if not headers.get("role"):
        return None
    gun = f" of {headers['gun']}" if headers.get("gun") else ""
    return f"{headers['role']}{gun}"[:_SHOWN_CHARACTERS]


def as_version_0(untrusted_der: bytes) -> bytes:
    """Return a PKCS#8 that says version 1 and carries no public key as version 0; all else as it is."""
    try:
        info = asn1.decode_der(_PrivateKeyInfo, untrusted_der)
    except ValueError:
        return untrusted_der
    if info.version != 1:
        return untrusted_der
    return asn1.encode_der(_PrivateKeyInfo(version=0, algorithm=info.algorithm, private_key=info.private_key))


def decrypt_notary_key(envelope: Envelope, passphrase: bytes) -> bytes | None:
    """Return the PKCS#8 in ``envelope`` (costs judged already) as version 0; None if it is no such key.

    None too where the passphrase is wrong: without authentication the two look alike.
    """
    kdf = envelope.kdf
    if not isinstance(kdf, Pbkdf2) or kdf.prf not in _HASHES or envelope.cipher != AES_256_CBC:
        return None
    if len(envelope.iv) != _BLOCK_BYTES:
        return None
    hashing = _HASHES[kdf.prf]()
    derived = PBKDF2HMAC(hashing, _KEY_BYTES, kdf.salt, kdf.iterations).derive(passphrase)
    decryptor = Cipher(algorithms.AES256(derived), modes.CBC(envelope.iv)).decryptor()
    unpadder = PKCS7(8 * _BLOCK_BYTES).unpadder()
    try:
        padded = decryptor.update(envelope.ciphertext) + decryptor.finalize()
        der = unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        return None
    plain = as_version_0(der)
    return None if plain is der else plain
