"""Owns the public half of a key: its type, its SubjectPublicKeyInfo, and the key id TUF metadata knows it by.

Only the standard library is imported, so that listing keys costs no cryptography: both key types have exactly
one DER form (RFC 8410 §4; RFC 5480 §2 with the named curve and the uncompressed point).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, get_args

from keys.errors import KeyDamagedError, KeyInputError
from keys.pem import PemBlock, parse_pem

KeyType = Literal["ed25519", "ecdsa-p256"]
KEY_TYPES: Final[tuple[KeyType, ...]] = get_args(KeyType)
LABEL = "PUBLIC KEY"

_ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")
_ED25519_BYTES = 32
_P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_P256_COORDINATE_BYTES = 32
_P256_UNCOMPRESSED = 0x04
# SP 800-186 §3.2.1.3: y² = x³ - 3x + b over the field of this prime.
_P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
_P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key of a type we use; ``spki`` is its DER SubjectPublicKeyInfo, checked when it is made.

    Raises:
        KeyInputError: another type of key, another encoding, or a point that is not on the curve.
    """

    spki: bytes

    def __post_init__(self) -> None:
        if self.spki.startswith(_ED25519_PREFIX) and len(self.spki) == len(_ED25519_PREFIX) + _ED25519_BYTES:
            return
        if not self.spki.startswith(_P256_PREFIX) or not _on_p256(self.spki[len(_P256_PREFIX) :]):
            raise KeyInputError(
                "not a usable public key: expected ed25519 or an uncompressed point of P-256, "
                f"got {len(self.spki)} bytes of something else"
            )

    @property
    def key_type(self) -> KeyType:
        """The key's type, as ``--type`` spells it."""
        return "ed25519" if self.spki.startswith(_ED25519_PREFIX) else "ecdsa-p256"

    @property
    def keytype(self) -> str:
        """The ``keytype`` field of TUF metadata."""
        return "ed25519" if self.key_type == "ed25519" else "ecdsa"

    @property
    def scheme(self) -> str:
        """The ``scheme`` field of TUF metadata."""
        return "ed25519" if self.key_type == "ed25519" else "ecdsa-sha2-nistp256"

    @property
    def keyval(self) -> str:
        """The ``keyval.public`` field of TUF metadata: 64 hex for ed25519, PEM for ECDSA (TUF 1.0 §4.2.1)."""
        return self.spki[len(_ED25519_PREFIX) :].hex() if self.key_type == "ed25519" else self.pem.decode("ascii")

    @property
    def pem(self) -> bytes:
        """The key as a canonical ``PUBLIC KEY`` block."""
        return bytes(PemBlock(label=LABEL, der=self.spki))

    @property
    def keyid(self) -> str:
        """64 hex: sha256 over the canonical JSON of keytype, keyval and scheme, securesystemslib's default."""
        # Canonical JSON escapes the quote and the backslash alone, which neither hex nor PEM has; a newline stays.
        canonical = (
            f'{{"keytype":"{self.keytype}","keyval":{{"public":"{self.keyval}"}},"scheme":"{self.scheme}"}}'
        )
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def parse_public_key(untrusted_pem: bytes, *, where: str) -> PublicKey:
    """Return the key of a file that holds exactly one ``PUBLIC KEY`` block; ``where`` begins each message.

    Raises:
        KeyInputError: not PEM, not exactly one block, another label or another type of key.
    """
    try:
        blocks = parse_pem(untrusted_pem, where=where)
    except KeyDamagedError as err:
        raise KeyInputError(str(err), hint=err.hint) from err
    labels = [block.label for block in blocks]
    if labels != [LABEL]:
        raise KeyInputError(f"{where}: expected one {LABEL} block, got {', '.join(labels[:4])}")
    try:
        return PublicKey(spki=blocks[0].der)
    except KeyInputError as err:
        raise KeyInputError(f"{where}: {err}") from err


def _on_p256(point: bytes) -> bool:
    if len(point) != 1 + 2 * _P256_COORDINATE_BYTES or point[0] != _P256_UNCOMPRESSED:
        return False
    x = int.from_bytes(point[1 : 1 + _P256_COORDINATE_BYTES], "big")
    y = int.from_bytes(point[1 + _P256_COORDINATE_BYTES :], "big")
    if x >= _P256_PRIME or y >= _P256_PRIME:
        return False
    return (y * y - (x * x * x - 3 * x + _P256_B)) % _P256_PRIME == 0
