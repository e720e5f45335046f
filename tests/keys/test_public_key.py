"""The public half: the same key, and the same key id, as cryptography and securesystemslib see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import SSlibKey

from keys.encrypted_file import generate_private_key, public_half
from keys.errors import KeyInputError
from keys.public_key import _CURVES, KEY_TYPES, KeyType, PublicKey, parse_public_key, public_key_of
from keys.signers import tuf_key

ROOT = Path(__file__).parents[2]


@given(st.sampled_from(KEY_TYPES), st.binary(min_size=56, max_size=56))
def test_key_is_the_one_securesystemslib_makes(key_type: KeyType, seed: bytes) -> None:
    private_key = generate_private_key(key_type, random=lambda size: seed[:size])
    public = public_half(private_key)
    expected = SSlibKey.from_crypto(private_key.public_key())
    assert public.key_type == key_type
    assert tuf_key(public) == expected
    assert public.keyid == expected.keyid
    assert parse_public_key(public.pem, where="f") == public


@given(st.sampled_from(["ecdsa-p256", "ecdsa-p384"]), st.binary(min_size=96, max_size=96), st.booleans())
def test_points_are_accepted_exactly_when_cryptography_accepts_them(
    key_type: KeyType,
    noise: bytes,
    on_curve: bool,  # noqa: FBT001
) -> None:
    private_key = generate_private_key(key_type, random=lambda size: noise[:size])
    spki = public_half(private_key).spki
    if not on_curve:
        size = 64 if key_type == "ecdsa-p256" else 96
        spki = spki[:-size] + noise[:size]
    try:
        load_der_public_key(spki)
    except ValueError:
        with pytest.raises(KeyInputError):
            PublicKey(spki=spki)
    else:
        assert PublicKey(spki=spki).key_type == key_type


@pytest.mark.parametrize("key_type", _CURVES)
def test_coordinate_above_the_prime_is_refused(key_type: KeyType) -> None:
    prime, b = _CURVES[key_type]
    size = prime.bit_length() // 8
    # Both primes are 3 modulo 4, where this power is the square root of what has one.
    squares = ((x, x**3 - 3 * x + b) for x in range(1, 100))
    x, y = next(
        (x, pow(y2, (prime + 1) // 4, prime)) for x, y2 in squares if pow(y2, (prime - 1) // 2, prime) == 1
    )
    assert public_key_of(key_type, b"\x04" + x.to_bytes(size, "big") + y.to_bytes(size, "big"))
    with pytest.raises(KeyInputError):
        public_key_of(key_type, b"\x04" + (x + prime).to_bytes(size, "big") + y.to_bytes(size, "big"))


def test_other_types_of_keys_are_refused() -> None:
    others: list[ec.EllipticCurvePublicKey | rsa.RSAPublicKey] = [
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
    ]
    for other in others:
        with pytest.raises(KeyInputError, match="expected ed25519 or an uncompressed point of P-256"):
            parse_public_key(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), where="f")


def test_longer_and_shorter_keys_are_refused() -> None:
    spki = (
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    for wrong in (spki + b"\0", spki[:-1], b""):
        with pytest.raises(KeyInputError):
            PublicKey(spki=wrong)


def test_listing_keys_imports_no_cryptography() -> None:
    code = "import keys.listing, sys; print({'cryptography', 'securesystemslib', 'tuf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
