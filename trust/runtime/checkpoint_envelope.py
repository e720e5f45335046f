"""Owns the envelope of an encrypted snapshot, its artifact's configuration: keys that open it, and its document.

    {"schema": 1, "keys": ["<base64>", …], "document": "<base64>"}

``keys`` is the one key of the snapshot, encrypted to each recipient (RFC 9180, base mode: X25519, HKDF-SHA256,
AES-256-GCM); nothing says who they are. ``document`` is the snapshot's document under that key.
Private keys are not read here: whoever restores brings what opens one of ``keys``.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from trust.errors import InputError
from trust.runtime.checkpoint_facts import read_json
from trust.runtime.checkpoint_seal import KEY_BYTES, Sealing
from trust.value import dataclass

ENVELOPE_TYPE = "application/vnd.content-trust.checkpoint.sealed.v1+json"
ENVELOPE_MAX_BYTES = 6 * 1024 * 1024  # a document of 4 MiB in base64
RECIPIENTS_MAX = 64
INFO = b"content-trust checkpoint v1"
_SCHEMA = 1

Opener = Callable[[bytes], bytes | None]  # of one of ``keys``; None: it is for somebody else


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Who can open a snapshot: the 32 bytes of a public key of X25519."""

    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An envelope that was read; nothing in it is decrypted."""

    keys: tuple[bytes, ...]
    document: bytes


def parse_recipient(untrusted_pem: bytes, *, where: str) -> Recipient:
    """Return the recipient of a public key file.

    Raises:
        InputError: it is none of X25519.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - dear; few are encrypted
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    hint = "make one: openssl genpkey -algorithm x25519 -out ID; openssl pkey -in ID -pubout -out RECIPIENT"
    try:
        key = load_pem_public_key(untrusted_pem)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise InputError(f"recipient is no public key in PEM: {where}", hint=hint) from err
    if not isinstance(key, X25519PublicKey):
        raise InputError(f"recipient is a key that cannot encrypt: expected one of X25519: {where}", hint=hint)
    return Recipient(key=key.public_bytes_raw())


def envelope_bytes(document: bytes, sealing: Sealing, recipients: Sequence[Recipient]) -> bytes:
    """Return the envelope of a document: encrypted, and its key to each recipient.

    Raises:
        InputError: more than 64 recipients, or a key that is none.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite  # noqa: PLC0415

    everyone = sorted({recipient.key for recipient in recipients})
    if not 1 <= len(everyone) <= RECIPIENTS_MAX:
        raise InputError(f"recipients: expected 1 to {RECIPIENTS_MAX}, got {len(everyone)}")
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    try:
        keys = [suite.encrypt(sealing.key, X25519PublicKey.from_public_bytes(one), INFO) for one in everyone]
    except ValueError as err:  # a point of low order
        raise InputError("recipient is no usable key of X25519") from err
    envelope = {
        "schema": _SCHEMA,
        "keys": [_spelled(key) for key in keys],
        "document": _spelled(b"".join(sealing.sealed(io.BytesIO(document)))),
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def parse_envelope(data: bytes) -> Envelope:
    """Return the envelope that ``data`` is.

    Raises:
        InputError: malformed.
    """
    envelope = read_json(data, max_bytes=ENVELOPE_MAX_BYTES)
    if envelope.get("schema") != _SCHEMA:
        raise InputError(f"checkpoint schema unsupported: expected {_SCHEMA}, got {envelope.get('schema')!r:.40}")
    keys = envelope.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= RECIPIENTS_MAX:
        raise InputError(f"checkpoint is malformed: expected 1 to {RECIPIENTS_MAX} recipients")
    return Envelope(keys=tuple(map(_read, keys)), document=_read(envelope.get("document")))


def opened(envelope: Envelope, opener: Opener | None) -> tuple[bytes, Sealing]:
    """Return the document in an envelope, and what opens the snapshot's blobs.

    Raises:
        InputError: no identity is given, or none that it is for; or other bytes.
    """
    if opener is None:
        raise InputError(
            "checkpoint is encrypted: the identity of one of its recipients opens it",
            hint="trust restore --identity FILE",
        )
    key = next((key for one in envelope.keys if (key := opener(one)) is not None), None)
    if key is None:
        raise InputError(
            "checkpoint is encrypted to others: this identity does not open it",
            hint="whoever made it says who its recipients are: trust checkpoint --encrypt-to",
        )
    if len(key) != KEY_BYTES:
        raise InputError("checkpoint is malformed: its key is none")
    sealing = Sealing(key)
    return b"".join(sealing.opened([envelope.document])), sealing


def _spelled(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _read(text: Any) -> bytes:  # noqa: ANN401 - JSON is any shape
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as err:
        raise InputError("checkpoint is malformed: its envelope is no base64") from err
