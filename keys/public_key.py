"""Owns the public half of a key: its type, its SubjectPublicKeyInfo, and the key id TUF metadata knows it by.

Only the standard library is imported, so that listing keys costs no cryptography: each key type has exactly
one DER form (RFC 8410 §4; RFC 5480 §2 with the named curve and the uncompressed point).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, get_args

from keys.errors import KeyDamagedError, KeyInputError
from keys.pem import PemBlock, parse_pem

KeyType = Literal["ed25519", "ecdsa-p256", "ecdsa-p384"]
KEY_TYPES: Final[tuple[KeyType, ...]] = get_args(KeyType)
LABEL = "PUBLIC KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A type of key: the DER before the key's own bytes, how many those are, its names in TUF metadata."""

    prefix: bytes
    size_bytes: int
    keytype: str
    scheme: str


_KINDS: Final[dict[KeyType, _Kind]] = {
    "ed25519": _Kind(
        prefix=bytes.fromhex("302a300506032b6570032100"), size_bytes=32, keytype="ed25519", scheme="ed25519"
    ),
    "ecdsa-p256": _Kind(
        prefix=bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
        size_bytes=65,
        keytype="ecdsa",
        scheme="ecdsa-sha2-nistp256",
    ),
    "ecdsa-p384": _Kind(
        prefix=bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"),
        size_bytes=97,
        keytype="ecdsa",
        scheme="ecdsa-sha2-nistp384",
    ),
}
_UNCOMPRESSED = 0x04
# SP 800-186 §3.2.1.3 and §3.2.1.4: y² = x³ - 3x + b over the field of this prime.
_CURVES: Final[dict[KeyType, tuple[int, int]]] = {
    "ecdsa-p256": (
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "ecdsa-p384": (
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        int(
            "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF", 16
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key of a type we use; ``spki`` is its DER SubjectPublicKeyInfo, checked when it is made.

    Raises:
        KeyInputError: another type of key, another encoding, or a point that is not on the curve.
    """

    spki: bytes

    def __post_init__(self) -> None:
        key_type = _type_of(self.spki)
        if key_type is None or not (key_type == "ed25519" or _on_curve(key_type, self._own_bytes)):
            raise KeyInputError(
                "not a usable public key: expected ed25519 or an uncompressed point of P-256 or P-384, "
                f"got {len(self.spki)} bytes of something else"
            )

    @property
    def key_type(self) -> KeyType:
        """The key's type, as ``--type`` spells it."""
        found = _type_of(self.spki)
        if found is None:
            raise AssertionError("checked when it was made")
        return found

    @property
    def keytype(self) -> str:
        """The ``keytype`` field of TUF metadata."""
        return _KINDS[self.key_type].keytype

    @property
    def scheme(self) -> str:
        """The ``scheme`` field of TUF metadata."""
        return _KINDS[self.key_type].scheme

    @property
    def keyval(self) -> str:
        """The ``keyval.public`` field of TUF metadata: 64 hex for ed25519, PEM for ECDSA (TUF 1.0 §4.2.1)."""
        return self._own_bytes.hex() if self.key_type == "ed25519" else self.pem.decode("ascii")

    @property
    def _own_bytes(self) -> bytes:
        return self.spki[len(_KINDS[self.key_type].prefix) :]

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


def public_key_of(key_type: KeyType, own_bytes: bytes) -> PublicKey:
    """Return the key whose own bytes (the 32 of ed25519, the uncompressed point of a curve) are given.

    Raises:
        KeyInputError: they are no key of this type.
    """
    return PublicKey(spki=_KINDS[key_type].prefix + own_bytes)


def _type_of(spki: bytes) -> KeyType | None:
    for key_type, kind in _KINDS.items():
        if spki.startswith(kind.prefix) and len(spki) == len(kind.prefix) + kind.size_bytes:
            return key_type
    return None


def _on_curve(key_type: KeyType, point: bytes) -> bool:
    prime, b = _CURVES[key_type]
    half = 1 + len(point) // 2
    x, y = int.from_bytes(point[1:half], "big"), int.from_bytes(point[half:], "big")
    if point[0] != _UNCOMPRESSED or x >= prime or y >= prime:
        return False
    return (y * y - (x * x * x - 3 * x + b)) % prime == 0
