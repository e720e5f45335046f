"""Owns the ASN.1 around an encrypted private key: EncryptedPrivateKeyInfo with PBES2, and what its KDF may cost.

Parameters are read and judged before anything is derived: whoever writes the file chooses how much memory and
time its reader spends, and how little a thief does. Nothing is decrypted here.
Sources: RFC 5958 §3, RFC 8018 §6.2 and appendix A, RFC 7914 §7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from keys.errors import KeyDamagedError, KeyTooWeakError

MIB: Final = 1024 * 1024
AES_256_CBC: Final = "2.16.840.1.101.3.4.1.42"
HMAC_SHA1: Final = "1.2.840.113549.2.7"
HMAC_SHA256: Final = "1.2.840.113549.2.9"
_PBES2: Final = "1.2.840.113549.1.5.13"
_PBKDF2: Final = "1.2.840.113549.1.5.12"
_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"
_SHOWN_BITS = 64  # larger integers are rounded: Python refuses to print 4,300 digits
_IMPORT = "if it is yours, encrypt it anew: trust key import NAME FILE"

_Structure = TypeVar("_Structure")


@asn1.sequence
class _Algorithm:
    oid: ObjectIdentifier
    parameters: asn1.TLV


@asn1.sequence
class _EncryptedPrivateKeyInfo:
    algorithm: _Algorithm
    encrypted: bytes


@asn1.sequence
class _Pbes2Parameters:
    kdf: _Algorithm
    cipher: _Algorithm


@asn1.sequence
class _ScryptParameters:
    salt: bytes
    n: int
    r: int
    p: int
    key_bytes: int | None


@asn1.sequence
class _Pbkdf2Parameters:
    salt: bytes
    iterations: int
    key_bytes: int | None
    prf: _Algorithm | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScryptCost:
    """What scrypt is asked for: ``n`` blocks of 128 * ``r`` bytes, ``p`` times one after the other."""

    n: int
    r: int
    p: int

    @property
    def memory_bytes(self) -> int:
        """The memory that a thief needs for each guess."""
        return 128 * self.n * self.r

    @property
    def reader_bytes(self) -> int:
        """The memory that a reader needs: OpenSSL's table, two blocks beside it, and all ``p`` inputs twice.

        A small ``n`` with a large ``r`` hides it from ``memory_bytes``: N=2 r=131072 p=16 is 32 MiB there, and
        took 577 MiB.
        """
        return 128 * self.r * (self.n + 2 * self.p + 2)

    @property
    def is_valid(self) -> bool:
        """Whether scrypt is defined for these parameters (RFC 7914 §2)."""
        if min(self.n - 1, self.r, self.p) < 1 or self.n & (self.n - 1):
            return False
        return self.n.bit_length() - 1 < 16 * self.r

    def __str__(self) -> str:
        return f"scrypt N={_shown(self.n)} r={_shown(self.r)} p={_shown(self.p)} ({_size(self.memory_bytes)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrypt:
    """The scrypt of one file; ``key_bytes`` is the length it states for the derived key, if it does."""

    cost: ScryptCost
    salt: bytes
    key_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pbkdf2:
    """The PBKDF2 of one file: fit to be imported, never to be kept, since it costs a thief no memory.

    ``prf`` is the OID of its HMAC; RFC 8018 leaves HMAC with SHA-1 out.
    """

    iterations: int
    salt: bytes = b""
    prf: str = HMAC_SHA1


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An EncryptedPrivateKeyInfo with PBES2: how the key is derived, the cipher's OID and IV, the ciphertext."""

    kdf: Scrypt | Pbkdf2
    cipher: str
    iv: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLimits:
    """Between what costs a file is accepted; memory in bytes.

    ``min_n`` keeps a large ``r`` from making up for a small N: memory-hardness comes from N. ``max_p`` and
    ``max_iterations`` bound time: with the default, 16 passes over 1 GiB, about a minute.
    """

    min_memory_bytes: int
    min_n: int
    min_salt_bytes: int
    max_memory_bytes: int = 1025 * MIB  # N=2^20 r=8, the most that anybody recommends, and what it needs beside
    max_p: int = 16
    max_iterations: int = 10_000_000

    def check(self, kdf: Scrypt | Pbkdf2, *, where: str) -> None:
        """Return if ``kdf`` is within the limits; ``where`` begins each message.

        Raises:
            KeyDamagedError: above a cap, or no valid parameters at all.
            KeyTooWeakError: below the floor.
        """
        if isinstance(kdf, Pbkdf2):
            self._check_pbkdf2(kdf, where=where)
            return
        cost = kdf.cost
        if not cost.is_valid:
            raise KeyDamagedError(
                f"{where}: {cost} is not scrypt: expected N a power of two below 2^(16r), r and p at least 1"
            )
        if kdf.key_bytes not in (None, 16, 24, 32):
            raise KeyDamagedError(f"{where}: derives {_shown(kdf.key_bytes or 0)} bytes, expected 32")
        if cost.reader_bytes > self.max_memory_bytes or cost.p > self.max_p:
            raise KeyDamagedError(
                f"{where}: asks for {cost}, {_size(cost.reader_bytes)} to open it: "
                f"refused above {_size(self.max_memory_bytes)} or p={self.max_p}"
            )
        if cost.memory_bytes < self.min_memory_bytes or cost.n < self.min_n:
            raise KeyTooWeakError(
                f"{where}: too weak: {cost}, expected at least {_size(self.min_memory_bytes)} and N={self.min_n}",
                hint=_IMPORT,
            )
        if len(kdf.salt) < self.min_salt_bytes:
            raise KeyTooWeakError(
                f"{where}: too weak: salt of {len(kdf.salt)} bytes, expected at least {self.min_salt_bytes}",
                hint=_IMPORT,
            )

    def _check_pbkdf2(self, kdf: Pbkdf2, *, where: str) -> None:
        if not 1 <= kdf.iterations <= self.max_iterations:
            raise KeyDamagedError(
                f"{where}: asks for {_shown(kdf.iterations)} iterations of PBKDF2: "
                f"expected 1 to {self.max_iterations}"
            )
        if self.min_memory_bytes:
            raise KeyTooWeakError(
                f"{where}: too weak: PBKDF2 ({kdf.iterations} iterations) costs a thief no memory, "
                f"expected scrypt of at least {_size(self.min_memory_bytes)}",
                hint=_IMPORT,
            )


STORED_COST: Final = ScryptCost(n=2**16, r=8, p=1)  # 64 MiB, 0.2 s: the floor is what we write
STORED_LIMITS: Final = CostLimits(min_memory_bytes=64 * MIB, min_n=2**14, min_salt_bytes=16)
IMPORT_LIMITS: Final = CostLimits(min_memory_bytes=0, min_n=2, min_salt_bytes=0)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the DER of an envelope with scrypt.

    Raises:
        TypeError: the envelope has another KDF, which we never write.
    """
    if not isinstance(envelope.kdf, Scrypt):
        raise TypeError(f"only scrypt is written, got {type(envelope.kdf).__name__}")
    cost = envelope.kdf.cost
    parameters = _ScryptParameters(
        salt=envelope.kdf.salt, n=cost.n, r=cost.r, p=cost.p, key_bytes=envelope.kdf.key_bytes
    )
    pbes2 = _Pbes2Parameters(kdf=_algorithm(_SCRYPT, parameters), cipher=_algorithm(envelope.cipher, envelope.iv))
    info = _EncryptedPrivateKeyInfo(algorithm=_algorithm(_PBES2, pbes2), encrypted=envelope.ciphertext)
    return asn1.encode_der(info)


def parse_envelope(untrusted_der: bytes, *, where: str) -> Envelope:
    """Return the envelope that ``untrusted_der`` is; its costs are not judged yet (``CostLimits.check``).

    Raises:
        KeyDamagedError: not DER of this structure, or another scheme than PBES2 with scrypt or PBKDF2.
    """
    info = _decode(_EncryptedPrivateKeyInfo, untrusted_der, where=where)
    if (scheme := info.algorithm.oid.dotted_string) != _PBES2:
        _refuse("encryption", scheme, "PBES2", where=where)
    pbes2 = _parse(_Pbes2Parameters, info.algorithm, where=where)
    kdf: Scrypt | Pbkdf2
    if (derivation := pbes2.kdf.oid.dotted_string) == _SCRYPT:
        scrypt = _parse(_ScryptParameters, pbes2.kdf, where=where)
        cost = ScryptCost(n=scrypt.n, r=scrypt.r, p=scrypt.p)
        kdf = Scrypt(cost=cost, salt=scrypt.salt, key_bytes=scrypt.key_bytes)
    elif derivation == _PBKDF2:
        pbkdf2 = _parse(_Pbkdf2Parameters, pbes2.kdf, where=where)
        prf = HMAC_SHA1 if pbkdf2.prf is None else pbkdf2.prf.oid.dotted_string
        kdf = Pbkdf2(iterations=pbkdf2.iterations, salt=pbkdf2.salt, prf=prf)
    else:
        _refuse("key derivation", derivation, "scrypt", where=where)
    iv = _parse(bytes, pbes2.cipher, where=where)
    return Envelope(kdf=kdf, cipher=pbes2.cipher.oid.dotted_string, iv=iv, ciphertext=info.encrypted)


def _algorithm(oid: str, parameters: object) -> _Algorithm:
    tlv = asn1.decode_der(asn1.TLV, asn1.encode_der(parameters))
    return _Algorithm(oid=ObjectIdentifier(oid), parameters=tlv)


def _decode(structure: type[_Structure], untrusted_der: bytes, *, where: str) -> _Structure:
    try:
        return asn1.decode_der(structure, untrusted_der)
    except ValueError as err:
        raise KeyDamagedError(f"{where}: not an encrypted PKCS#8 key: {err}") from err


def _parse(structure: type[_Structure], algorithm: _Algorithm, *, where: str) -> _Structure:
    try:
        parsed: Any = algorithm.parameters.parse(structure)
    except ValueError as err:
        raise KeyDamagedError(f"{where}: its encryption parameters are damaged: {err}") from err
    if not isinstance(parsed, structure):
        raise TypeError(f"expected {structure.__name__}, got {type(parsed).__name__}")
    return parsed


def _refuse(what: str, oid: str, expected: str, *, where: str) -> NoReturn:
    raise KeyDamagedError(
        f"{where}: {what} not supported: expected {expected}, got {oid}",
        hint="convert it: openssl pkcs8 -topk8 -scrypt -in FILE -out NEW",
    )


def _shown(number: int) -> str:
    if number.bit_length() <= _SHOWN_BITS:
        return str(number)
    return f"{'-' if number < 0 else ''}2^{number.bit_length() - 1} or more"


def _size(size_bytes: int) -> str:
    if abs(size_bytes) < MIB:
        return f"{size_bytes} bytes"
    return f"{_shown(size_bytes // MIB)} MiB"
