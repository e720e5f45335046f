"""Owns the encryption of a snapshot's blobs, by which the same content under the same key is the same blob.

    magic (8) | name (32) | segments: each a MiB of content, the last one less, and a tag of 16 bytes

1. the name of a content is its HMAC-SHA256: whoever has no key cannot tell what it is of, only what is the same
2. a key of the blob's own is made of that name, so that no key ever encrypts two contents
3. each segment is AES-256-GCM under it; its nonce is its number and whether it is the last, so that segments
   cannot be left out, doubled or moved

The key of all is made of a secret of the container's and of its recipients. What is encrypted is the compressed
stream, hence read twice. Accepted: sizes, and which blobs of one container are the same, are seen.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from trust.errors import InputError, StateError

KEY_BYTES = 32
SEGMENT_BYTES = 1 << 20

_MAGIC = b"ctseal1\n"
_NAME_BYTES, _TAG_BYTES = 32, 16
_SECRET = "seal.secret"  # noqa: S105 - the name of its file


class Sealing:
    """A ``Seal`` under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def sealed(self, content: IO[bytes]) -> Iterator[bytes]:
        """Yield what a file holds, from its beginning, encrypted; nothing writes to it meanwhile."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - dear; few are encrypted

        content.seek(0)
        tagged = hmac.new(self.key, b"content\0", hashlib.sha256)
        while piece := content.read(SEGMENT_BYTES):
            tagged.update(piece)
        name = tagged.digest()
        yield _MAGIC + name
        cipher = AESGCM(self._key_of(name))
        content.seek(0)
        segment, number = content.read(SEGMENT_BYTES), 0
        while following := content.read(SEGMENT_BYTES):
            yield cipher.encrypt(_nonce(number, is_last=False), segment, None)
            segment, number = following, number + 1
        yield cipher.encrypt(_nonce(number, is_last=True), segment, None)

    def opened(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what was encrypted; every piece is authentic, and there is an end only where it was whole.

        Raises:
            InputError: another key, or other bytes.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        held, cipher, number = bytearray(), None, 0
        whole = SEGMENT_BYTES + _TAG_BYTES
        try:
            for piece in pieces:
                held += piece
                if cipher is None and len(held) >= len(_MAGIC) + _NAME_BYTES:
                    cipher = AESGCM(self._key_of(_name(held)))
                    del held[: len(_MAGIC) + _NAME_BYTES]
                while cipher is not None and len(held) > whole:
                    yield cipher.decrypt(_nonce(number, is_last=False), bytes(held[:whole]), None)
                    del held[:whole]
                    number += 1
            if cipher is None:
                raise _malformed()
            yield cipher.decrypt(_nonce(number, is_last=True), bytes(held), None)
        except InvalidTag as err:
            raise _malformed() from err

    def _key_of(self, name: bytes) -> bytes:
        return hmac.new(self.key, b"key\0" + name, hashlib.sha256).digest()


def sealing_for(directory: Path, recipients: Iterable[bytes]) -> Sealing:
    """Return the seal of the container in ``directory`` for these public keys: the same ones, the same seal.

    Its secret is made at the first time, stays in that directory, and goes with the container.

    Raises:
        StateError: it cannot be kept.
    """
    secret = _kept_secret(directory / _SECRET)
    words = b"recipients\0" + b"".join(sorted(set(recipients)))
    return Sealing(hmac.new(secret, words, hashlib.sha256).digest())


def _kept_secret(path: Path) -> bytes:
    try:
        if not path.exists():
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(os.urandom(KEY_BYTES))
            partial.replace(path)
        secret = path.read_bytes()
    except OSError as err:
        raise StateError(f"secret of a container cannot be kept: {err.strerror}: {path}") from err
    if len(secret) != KEY_BYTES:
        raise StateError(f"secret of a container is damaged: expected {KEY_BYTES} bytes: {path}")
    return secret


def _name(head: bytes | bytearray) -> bytes:
    if not head.startswith(_MAGIC):
        raise _malformed()
    return bytes(head[len(_MAGIC) : len(_MAGIC) + _NAME_BYTES])


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _malformed() -> InputError:
    return InputError("checkpoint cannot be decrypted: a blob is not whole, or was encrypted under another key")
