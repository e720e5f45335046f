"""Owns the reading of private keys that other programs wrote: PEM bytes → private key, to be encrypted anew.

Taken: PKCS#8, plain or encrypted with PBES2 (scrypt or PBKDF2, also far below our floor: it is not kept), and
SEC 1 ``EC PRIVATE KEY``. The caps on cost hold here too, since the file names them. Keys of Notary and Docker
Content Trust are taken as well (``notary_key``), which no library reads.
"""

from __future__ import annotations

from keys.encrypted_file import PrivateKey, check_type, passphrase_bytes, public_half
from keys.envelope import IMPORT_LIMITS, parse_envelope
from keys.errors import KeyDamagedError, KeyInputError, WrongPassphraseError
from keys.key_file import PRIVATE_LABEL
from keys.notary_key import as_version_0, decrypt_notary_key, notary_role
from keys.pem import PemBlock, parse_pem
from keys.pkcs8 import UNREADABLE, load_private_key
from keys.public_key import LABEL as PUBLIC_LABEL

_PLAIN_LABELS = ("PRIVATE KEY", "EC PRIVATE KEY")
_CONVERT = "convert it: openssl pkcs8 -topk8 -scrypt -in FILE -out NEW"


def needs_passphrase(untrusted_data: bytes, *, where: str) -> bool:
    """Tell whether the private key in ``untrusted_data`` is encrypted.

    Raises:
        KeyInputError: see ``read_foreign_key``.
    """
    return _private_block(_blocks(untrusted_data, where=where), where=where).label == PRIVATE_LABEL


def role_of(untrusted_data: bytes, *, where: str) -> str | None:
    """Return what a key of Notary was for, None of any other.

    Raises:
        KeyInputError: see ``read_foreign_key``.
    """
    return notary_role(_private_block(_blocks(untrusted_data, where=where), where=where))


def read_foreign_key(untrusted_data: bytes, passphrase: str | None, *, where: str) -> PrivateKey:
    """Return the one private key in ``untrusted_data``; ``where`` begins each message.

    A passphrase for a key that is not encrypted is ignored. Public keys beside it must belong to it, other
    blocks (certificates, EC parameters) are ignored.

    Raises:
        KeyInputError: not PEM, not one private key, another format or type, costs above the cap, no passphrase.
        WrongPassphraseError: the passphrase does not open it.
        KeysUnavailableError: not enough memory.
    """
    blocks = _blocks(untrusted_data, where=where)
    block = _private_block(blocks, where=where)
    if block.label == PRIVATE_LABEL:
        loaded = _decrypt(block, passphrase, where=where)
    else:
        try:
            loaded = load_private_key(as_version_0(block.der), None, where=where)
        except UNREADABLE as err:
            raise KeyInputError(f"{where}: its {block.label} block is damaged or of an unknown type") from err
    private_key = check_type(loaded, where=where)
    public = public_half(private_key)
    if any(other.der != public.spki for other in blocks if other.label == PUBLIC_LABEL):
        raise KeyInputError(f"{where}: its public key does not belong to its private key")
    return private_key


def _blocks(untrusted_data: bytes, *, where: str) -> tuple[PemBlock, ...]:
    try:
        return parse_pem(untrusted_data, where=where)
    except KeyDamagedError as err:
        raise KeyInputError(str(err), hint=err.hint) from err


def _private_block(blocks: tuple[PemBlock, ...], *, where: str) -> PemBlock:
    private = [block for block in blocks if block.label.endswith("PRIVATE KEY")]
    if len(private) != 1:
        raise KeyInputError(f"{where}: expected one private key, got {len(private)}")
    block = private[0]
    if block.label not in (PRIVATE_LABEL, *_PLAIN_LABELS):
        raise KeyInputError(f"{where}: expected a PKCS#8 or EC private key, got {block.label}", hint=_CONVERT)
    if any(header.startswith("DEK-Info") for header in block.headers):
        raise KeyInputError(f"{where}: encrypted in OpenSSL's old way, expected PKCS#8", hint=_CONVERT)
    return block


def _decrypt(block: PemBlock, passphrase: str | None, *, where: str) -> object:
    try:
        envelope = parse_envelope(block.der, where=where)
        IMPORT_LIMITS.check(envelope.kdf, where=where)
    except KeyDamagedError as err:
        raise KeyInputError(str(err), hint=err.hint) from err
    if passphrase is None:
        raise KeyInputError(f"{where}: encrypted: its passphrase is needed")
    secret = passphrase_bytes(passphrase)
    try:
        return load_private_key(block.der, secret, where=where)
    except UNREADABLE as err:
        decrypted = decrypt_notary_key(envelope, secret)
        if decrypted is None:
            raise WrongPassphraseError(
                f"{where}: the passphrase does not open it, or what it opens is not a key we can read",
                hint=_CONVERT,
            ) from err
    try:
        return load_private_key(decrypted, None, where=where)
    except UNREADABLE as err:
        raise KeyInputError(f"{where}: what is encrypted in it is damaged or of an unknown type") from err
