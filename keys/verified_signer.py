"""Owns signers whose private key is elsewhere: each signature is verified before it is handed on.

A token, a KMS or a Vault is asked by a name, and what answers to that name may have changed. The public half that
was noted when the key was made or imported decides.
"""

from __future__ import annotations

from collections.abc import Callable

from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Key, Signature, Signer, SSlibKey

from keys.errors import KeyElsewhereError
from keys.public_key import PublicKey, parse_public_key, public_key_of


def tuf_key(public: PublicKey) -> SSlibKey:
    """Return ``public`` as TUF metadata holds it."""
    return SSlibKey(public.keyid, public.keytype, public.scheme, {"public": public.keyval})


def public_half_of(key: Key) -> PublicKey:
    """Return ``key``, which stands in TUF metadata, as a key that we use.

    Raises:
        KeyInputError: another type of key.
    """
    keyval = str(key.keyval.get("public", ""))
    if key.scheme == "ed25519":
        return public_key_of("ed25519", bytes.fromhex(keyval))
    return parse_public_key(keyval.encode("utf-8"), where=f"a key of scheme {key.scheme}")


def require_signature(public: PublicKey, untrusted_signature: bytes, payload: bytes, *, where: str) -> Signature:
    """Return the signature, now known to be of ``payload`` by the key ``public``.

    Raises:
        KeyElsewhereError: it is not.
    """
    signature = Signature(public.keyid, untrusted_signature.hex())
    try:
        tuf_key(public).verify_signature(signature, payload)
    except (UnverifiedSignatureError, VerificationError) as err:
        raise KeyElsewhereError(
            f"{where} signed with another key than {public.keyid[:12]}, which is noted here: nothing was signed",
            hint="find out who changed the key; trust key import NAME URI notes a new one",
        ) from err
    return signature


class VerifiedSigner(Signer):
    """Signs with ``sign`` (payload → signature: DER for ECDSA, 64 bytes for ed25519) at ``where``."""

    def __init__(self, public: PublicKey, sign: Callable[[bytes], bytes], *, where: str) -> None:
        self._public = public
        self._sign = sign
        self._where = where

    @property
    def public_key(self) -> Key:
        """The public key, as TUF metadata holds it."""
        return tuf_key(self._public)

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> Signer:
        """Refuse: ``keys.signers`` is the only dispatch on URIs."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        """Return the signature of ``payload``, verified.

        Raises:
            KeyElsewhereError: none was made, or one of another key.
        """
        return require_signature(self._public, self._sign(payload), payload, where=self._where)
