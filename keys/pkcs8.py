"""Owns the reading of PKCS#8 by OpenSSL, and what its errors mean: no memory is no wrong passphrase."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key

from keys.errors import KeysUnavailableError

# All that cryptography raises on bytes that are no key: InternalError, for one, where an ed448 key is too short.
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)

_NO_MEMORY: Final = (b"malloc failure", b"memory limit exceeded")  # openssl/err.h, providers' scrypt


def load_private_key(untrusted_der: bytes, secret: bytes | None, *, where: str) -> object:
    """Return the private key in ``untrusted_der``, whose costs were judged; ``secret`` opens it.

    Raises:
        KeysUnavailableError: not enough memory; nothing is known of the passphrase.
        UNREADABLE: it is no key, or the passphrase is another.
    """
    try:
        return load_der_private_key(untrusted_der, secret)
    except MemoryError as err:
        raise _no_memory(where) from err
    except InternalError as err:
        if any(each.reason_text in _NO_MEMORY for each in err.err_code or ()):
            raise _no_memory(where) from err
        raise


def _no_memory(where: str) -> KeysUnavailableError:
    return KeysUnavailableError(
        f"{where}: not enough memory to open it", hint="its key derivation asks for it: give it, and repeat"
    )
