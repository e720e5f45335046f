"""Owns the files by which snapshots are encrypted and decrypted: public keys of recipients, one's own identity."""

from __future__ import annotations

from pathlib import Path

from trust.cli.secrets import passphrase_of
from trust.errors import InputError
from trust.runtime.checkpoint_envelope import INFO, Opener, Recipient, parse_recipient

RECIPIENT_MAX_BYTES = 64 * 1024


def recipient_of(file: str) -> Recipient:
    """Return the recipient whose public key is in a file.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        with Path(file).open("rb") as public:
            return parse_recipient(public.read(RECIPIENT_MAX_BYTES), where=file)
    except OSError as err:
        raise InputError(f"recipient cannot be read: {file}: {err.strerror}") from err


def opener_of(file: str) -> Opener:
    """Return what opens what was encrypted to the identity in a file.

    Raises:
        KeysError: it cannot be read, others can read it, or it is none.
    """
    from keys.core_dumps import forbid_core_dumps  # noqa: PLC0415 - few snapshots are encrypted
    from keys.identity import read_identity  # noqa: PLC0415 - dear

    forbid_core_dumps()  # before it is read: one without a passphrase asks for none
    path = Path(file)
    identity = read_identity(path, passphrase=lambda: passphrase_of(path.stem))
    return lambda encrypted: identity.opened(encrypted, info=INFO)
