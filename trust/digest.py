"""Owns content digests: ``sha256:<64 lower-case hex>`` and ``sha512:<128 lower-case hex>``.

A digest is parsed once, before it can become a path or a URL (containers-image CVE-2024-3727); inside the
package there is no bare digest string.
"""

from __future__ import annotations

from sys import intern

from trust.errors import InputError
from trust.value import dataclass

HEX_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Digest:
    """A digest whose algorithm is known and whose hex is lower-case and of the right length."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    def matches(self, data: bytes) -> bool:
        """Tell whether ``data`` hashes to this digest."""
        import hashlib  # noqa: PLC0415 - a warm look-up hashes nothing, and OpenSSL costs 3 ms to load

        return hashlib.new(self.algorithm, data).hexdigest() == self.hex


def parse_digest(text: str) -> Digest:
    """Return the digest that ``text`` spells, byte for byte.

    Raises:
        InputError: no colon, an unknown algorithm, wrong length, or anything but lower-case hex.
    Source: OCI image-spec 1.1 "Digests".
    """
    algorithm, colon, hexadecimal = text.partition(":")
    if not colon:
        raise InputError(f"digest has no algorithm: expected sha256:<64 hex>, got {text[:80]!r}")
    length = HEX_LENGTHS.get(algorithm)
    if length is None:
        raise InputError(f"digest algorithm unknown: expected sha256 or sha512, got {algorithm[:40]!r}")
    if len(hexadecimal) != length:
        raise InputError(f"{algorithm} digest has wrong length: expected {length} hex, got {len(hexadecimal)}")
    if not _HEX.issuperset(hexadecimal):
        raise InputError(f"{algorithm} digest is not lower-case hex: got {hexadecimal[:80]!r}")
    return Digest(algorithm=intern(algorithm), hex=hexadecimal)


def sha256(data: bytes) -> Digest:
    """Return the sha256 digest of ``data``."""
    import hashlib  # noqa: PLC0415 - as above

    return Digest(algorithm="sha256", hex=hashlib.sha256(data).hexdigest())
