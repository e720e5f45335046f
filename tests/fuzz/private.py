"""The parsers of key files: whoever gives us one chooses every byte of it."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from keys.encrypted_file import decrypt
from keys.envelope import CostLimits, Envelope, Scrypt, encode_envelope, parse_envelope
from keys.errors import KeyDamagedError, KeyInputError, WrongPassphraseError
from keys.foreign_key import read_foreign_key, role_of
from keys.key_alias import parse_entry
from keys.notary_key import as_version_0
from keys.pem import parse_pem
from keys.public_key import PublicKey, parse_public_key
from tests.fuzz.target import Target, require

# An attempt must cost nothing: what a file may ask for is tested elsewhere.
_CHEAP = CostLimits(
    min_memory_bytes=0, min_n=0, min_salt_bytes=0, max_memory_bytes=64 * 1024, max_p=1, max_iterations=10
)


def _byte_for_byte(untrusted: bytes, found: Any) -> None:
    require(bytes(found) == untrusted, "a key file prints back byte for byte")


def _public(_untrusted: bytes, found: PublicKey) -> None:
    second = load_der_public_key(found.spki)
    spki = second.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    require(spki == found.spki, "two readers, one public key")
    require(parse_public_key(found.pem, where="it") == found, "a public key prints back as itself")


def _envelope(untrusted: bytes, found: Envelope) -> None:
    if isinstance(found.kdf, Scrypt):
        require(
            parse_envelope(encode_envelope(found), where="it") == found, "an envelope is written as it is read"
        )


def _foreign(untrusted: bytes) -> Any:
    role_of(untrusted, where="it")
    return read_foreign_key(untrusted, None, where="it")


PRIVATE = (
    Target(name="pem", parse=lambda data: parse_pem(data, where="it"), refuses=(KeyDamagedError,)),
    Target(
        name="key_file", parse=lambda data: parse_entry(data, where="it"), refuses=(KeyDamagedError,),
        judge=_byte_for_byte,
    ),
    Target(
        name="public_key", parse=lambda data: parse_public_key(data, where="it"), refuses=(KeyInputError,),
        judge=_public,
    ),
    Target(
        name="envelope", parse=lambda data: parse_envelope(data, where="it"), refuses=(KeyDamagedError,),
        judge=_envelope, form="bytes",
    ),
    Target(
        name="encrypted", parse=lambda data: decrypt(data, "x", where="it", limits=_CHEAP),
        refuses=(KeyDamagedError, WrongPassphraseError),
    ),
    Target(name="foreign_key", parse=_foreign, refuses=(KeyInputError,), share=5),
    Target(name="notary_key", parse=as_version_0, refuses=(), form="bytes"),
)  # fmt: skip
