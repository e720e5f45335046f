"""Owns the encryption of a private key: key file bytes ⇄ private key. Pure: no disk, no clock.

Opening a file, in this order:
1. its shape (``key_file``); 2. its KDF parameters against floor and cap, before anything is derived; 3. scrypt;
4. AES-256-CBC and its padding; 5. a PKCS#8 key of a type we use; 6. its public half is the one in the file.

CBC does not authenticate, so a wrong passphrase and a damaged ciphertext look alike in steps 4 and 5; step 6
catches a ciphertext edited so that another key comes out. The passphrase goes in as UTF-8, not normalised, as
OpenSSL and cryptography read it. scrypt releases the GIL: keys unlock side by side in threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt as ScryptKdf
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from keys.envelope import (
    AES_256_CBC,
    STORED_COST,
    STORED_LIMITS,
    CostLimits,
    Envelope,
    Scrypt,
    ScryptCost,
    encode_envelope,
    parse_envelope,
)
from keys.errors import KeyDamagedError, KeyInputError, KeysUnavailableError, WrongPassphraseError
from keys.key_file import KeyFile, parse_key_file
from keys.pkcs8 import UNREADABLE, load_private_key
from keys.public_key import KEY_TYPES, KeyType, PublicKey

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
Random = Callable[[int], bytes]

_TYPES = " or ".join(KEY_TYPES)
_AES_KEY_BYTES = 32
_BLOCK_BYTES = 16
_SALT_BYTES = 16
_PASSPHRASE_MAX_BYTES = 1023  # what OpenSSL and cryptography read; more is a file given by mistake
# The order of each curve's group: SP 800-186 §3.2.1.3 and §3.2.1.4.
_CURVES: Final[dict[KeyType, tuple[ec.EllipticCurve, int]]] = {
    "ecdsa-p256": (ec.SECP256R1(), 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
    "ecdsa-p384": (
        ec.SECP384R1(),
        int(
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16
        ),
    ),
}


def generate_private_key(key_type: KeyType, *, random: Random) -> PrivateKey:
    """Return a new private key made of ``random`` bytes.

    Source: RFC 8032 §5.1.5 (32 bytes); FIPS 186-5 appendix A.2.1 (64 bits more than the order has).
    """
    if key_type == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(random(32))
    curve, order = _CURVES[key_type]
    surplus = int.from_bytes(random((order.bit_length() + 64) // 8), "big")
    return ec.derive_private_key(surplus % (order - 1) + 1, curve)


def public_half(private_key: PrivateKey) -> PublicKey:
    """Return the public key that belongs to ``private_key``."""
    spki = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(spki=spki)


def passphrase_bytes(passphrase: str) -> bytes:
    """Return the passphrase as it enters the key derivation: UTF-8.

    Raises:
        KeyInputError: empty, above 1,023 bytes, or not text.
    """
    if not passphrase:
        raise KeyInputError("the passphrase is empty: expected at least one character")
    if any("\ud800" <= character <= "\udfff" for character in passphrase):
        # Tested beforehand, because a UnicodeEncodeError would carry the passphrase in its ``object``.
        raise KeyInputError("the passphrase is not text: expected UTF-8")
    encoded = passphrase.encode("utf-8")
    if len(encoded) > _PASSPHRASE_MAX_BYTES:
        raise KeyInputError(
            f"the passphrase is too long: at most {_PASSPHRASE_MAX_BYTES} bytes, got {len(encoded)}"
        )
    return encoded


def encrypt(private_key: PrivateKey, passphrase: str, *, random: Random, cost: ScryptCost = STORED_COST) -> bytes:
    """Return the bytes of a key file that ``passphrase`` opens, checked by opening them.

    Raises:
        KeyInputError: the passphrase (see ``passphrase_bytes``).
        KeysUnavailableError: not enough memory, or the bytes do not open again.
    """
    kdf = Scrypt(cost=cost, salt=random(_SALT_BYTES))
    derived = _derive(kdf, passphrase)
    iv = random(_BLOCK_BYTES)
    padder = PKCS7(8 * _BLOCK_BYTES).padder()
    der = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    encryptor = Cipher(algorithms.AES256(derived), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(der) + padder.finalize()) + encryptor.finalize()
    envelope = Envelope(kdf=kdf, cipher=AES_256_CBC, iv=iv, ciphertext=ciphertext)
    data = bytes(KeyFile(encrypted=encode_envelope(envelope), public=public_half(private_key)))
    _check_opens(data, kdf, derived)
    return data


def decrypt(
    untrusted_data: bytes, passphrase: str, *, where: str, limits: CostLimits = STORED_LIMITS
) -> PrivateKey:
    """Return the private key of the key file ``untrusted_data``; ``where`` begins each message.

    It costs what the file says, within ``limits``: 64 MiB and 0.2 s for a file of ours.

    Raises:
        KeyInputError: the passphrase (see ``passphrase_bytes``).
        KeyDamagedError: the file, in steps 1, 2, 5 or 6; KeyTooWeakError below the floor of step 2.
        WrongPassphraseError: steps 4 and 5.
        KeysUnavailableError: not enough memory.
    """
    key_file = parse_key_file(untrusted_data, where=where)
    envelope = parse_envelope(key_file.encrypted, where=where)
    limits.check(envelope.kdf, where=where)
    if not isinstance(envelope.kdf, Scrypt) or envelope.kdf.key_bytes not in (None, _AES_KEY_BYTES):
        raise KeyDamagedError(f"{where}: expected scrypt with a derived key of {_AES_KEY_BYTES} bytes")
    if envelope.cipher != AES_256_CBC or len(envelope.iv) != _BLOCK_BYTES:
        raise KeyDamagedError(
            f"{where}: cipher not supported: expected AES-256-CBC ({AES_256_CBC}), got {envelope.cipher}"
        )
    return _open(key_file, envelope, _derive(envelope.kdf, passphrase), where=where)


def check_type(key: object, *, where: str) -> PrivateKey:
    """Return ``key``, now known to be an ed25519, ECDSA P-256 or ECDSA P-384 private key.

    Raises:
        KeyInputError: it is another type of key.
    """
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        raise KeyInputError(f"{where}: expected a key of type {_TYPES}, got curve {key.curve.name}")
    raise KeyInputError(f"{where}: expected a key of type {_TYPES}, got {type(key).__name__}")


def _derive(kdf: Scrypt, passphrase: str) -> bytes:
    secret = passphrase_bytes(passphrase)
    cost = kdf.cost
    try:
        return ScryptKdf(salt=kdf.salt, length=_AES_KEY_BYTES, n=cost.n, r=cost.r, p=cost.p).derive(secret)
    except MemoryError as err:
        raise KeysUnavailableError(f"not enough memory for {cost}") from err


def _open(key_file: KeyFile, envelope: Envelope, derived: bytes, *, where: str) -> PrivateKey:
    decryptor = Cipher(algorithms.AES256(derived), modes.CBC(envelope.iv)).decryptor()
    unpadder = PKCS7(8 * _BLOCK_BYTES).unpadder()
    try:
        padded = decryptor.update(envelope.ciphertext) + decryptor.finalize()
        loaded = load_private_key(unpadder.update(padded) + unpadder.finalize(), None, where=where)
    except UNREADABLE as err:
        raise WrongPassphraseError(
            f"{where}: the passphrase does not open it",
            hint="a damaged file looks the same: if you are sure of the passphrase, restore it from a backup",
        ) from err
    try:
        private_key = check_type(loaded, where=where)
    except KeyInputError as err:
        raise KeyDamagedError(str(err)) from err
    if public_half(private_key) != key_file.public:
        raise KeyDamagedError(
            f"{where}: its halves do not belong together: the file says key {key_file.public.keyid}, "
            f"the encrypted half is {public_half(private_key).keyid}",
            hint="somebody or something edited it: do not trust its public half; restore it from a backup",
        )
    return private_key


def _check_opens(data: bytes, kdf: Scrypt, derived: bytes) -> None:
    # The derivation itself is not repeated (0.2 s): its inputs are compared, all behind it is done again.
    where = "the new key file"
    try:
        key_file = parse_key_file(data, where=where)
        envelope = parse_envelope(key_file.encrypted, where=where)
        _open(key_file, envelope, derived, where=where)
    except (KeyDamagedError, WrongPassphraseError) as err:
        raise KeysUnavailableError(f"nothing was written: it does not open again: {err}") from err
    if envelope.kdf != kdf:
        raise KeysUnavailableError(f"nothing was written: {where} does not name the KDF that was used")
