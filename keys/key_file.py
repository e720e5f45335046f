"""Owns the shape of a key file: the encrypted private half, then the public half, both PEM, nothing else.

The public half is outside the encryption so that listing needs no passphrase. It is a claim until the private
half is opened and agrees (``encrypted_file``). A file is accepted only if it prints back byte for byte, which
leaves no room for garbage before, between or behind the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from keys.errors import KeyDamagedError, KeyInputError
from keys.pem import PemBlock, parse_pem
from keys.public_key import LABEL as PUBLIC_LABEL
from keys.public_key import PublicKey

PRIVATE_LABEL = "ENCRYPTED PRIVATE KEY"
_RESTORE = "restore it from a backup; `trust key import` takes keys that other programs wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """Both halves of a key; ``encrypted`` is a DER EncryptedPrivateKeyInfo, not looked into."""

    encrypted: bytes
    public: PublicKey

    def __bytes__(self) -> bytes:
        return bytes(PemBlock(label=PRIVATE_LABEL, der=self.encrypted)) + self.public.pem


def parse_key_file(untrusted_data: bytes, *, where: str) -> KeyFile:
    """Return the key file that ``untrusted_data`` spells; ``where`` begins each message.

    1. PEM blocks; 2. exactly the two labels, in order; 3. a public key of a type we use; 4. canonical bytes.

    Raises:
        KeyDamagedError: any of the four does not hold; the message says which and how.
    """
    blocks = parse_pem(untrusted_data, where=where)
    _check_labels([block.label for block in blocks], where=where)
    try:
        public = PublicKey(spki=blocks[1].der)
    except KeyInputError as err:
        raise KeyDamagedError(f"{where}: its public half is damaged: {err}", hint=_RESTORE) from err
    key_file = KeyFile(encrypted=blocks[0].der, public=public)
    _check_canonical(untrusted_data, bytes(key_file), where=where)
    return key_file


def _check_labels(labels: list[str], *, where: str) -> None:
    expected = [PRIVATE_LABEL, PUBLIC_LABEL]
    if labels == expected:
        return
    if labels == [PRIVATE_LABEL]:
        raise KeyDamagedError(f"{where}: truncated: its {PUBLIC_LABEL} block is missing", hint=_RESTORE)
    if labels[0] != PRIVATE_LABEL and labels[0].endswith("PRIVATE KEY"):
        raise KeyDamagedError(f"{where}: holds {labels[0]}, expected {PRIVATE_LABEL}", hint=_RESTORE)
    raise KeyDamagedError(
        f"{where}: wrong blocks: expected {', '.join(expected)}, got {', '.join(labels[:4])}", hint=_RESTORE
    )


def _check_canonical(untrusted_data: bytes, canonical: bytes, *, where: str) -> None:
    if untrusted_data == canonical:
        return
    if untrusted_data.startswith(canonical):
        surplus = len(untrusted_data) - len(canonical)
        raise KeyDamagedError(f"{where}: {surplus} bytes of garbage behind its last block", hint=_RESTORE)
    if canonical.startswith(untrusted_data):
        raise KeyDamagedError(f"{where}: truncated: its last line has no end", hint=_RESTORE)
    raise KeyDamagedError(
        f"{where}: not as it was written: expected lines of 64 columns, each ended by one newline, and nothing "
        "outside the two blocks",
        hint=_RESTORE,
    )
