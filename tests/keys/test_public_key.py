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
from keys.public_key import _P256_B, _P256_PREFIX, _P256_PRIME, KEY_TYPES, KeyType, PublicKey, parse_public_key
from keys.signers import tuf_key

ROOT = Path(__file__).parents[2]


@given(st.sampled_from(KEY_TYPES), st.binary(min_size=40, max_size=40))
def test_key_is_the_one_securesystemslib_makes(key_type: KeyType, seed: bytes) -> None:
    private_key = generate_private_key(key_type, random=lambda size: seed[:size])
    public = public_half(private_key)
    expected = SSlibKey.from_crypto(private_key.public_key())
    assert public.key_type == key_type
    assert tuf_key(public) == expected
    assert public.keyid == expected.keyid
    assert parse_public_key(public.pem, where="f") == public


@given(st.binary(min_size=64, max_size=64), st.booleans())
def test_points_are_accepted_exactly_when_cryptography_accepts_them(noise: bytes, on_curve: bool) -> None:  # noqa: FBT001
    private_key = generate_private_key("ecdsa-p256", random=lambda size: noise[:size])
    spki = public_half(private_key).spki
    if not on_curve:
        spki = spki[:-64] + noise
    try:
        load_der_public_key(spki)
    except ValueError:
        with pytest.raises(KeyInputError):
            PublicKey(spki=spki)
    else:
        assert PublicKey(spki=spki).key_type == "ecdsa-p256"


def test_coordinate_above_the_prime_is_refused() -> None:
    x, y = 5, pow(5**3 - 3 * 5 + _P256_B, (_P256_PRIME + 1) // 4, _P256_PRIME)
    assert PublicKey(spki=_P256_PREFIX + b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big"))
    same = _P256_PREFIX + b"\x04" + (x + _P256_PRIME).to_bytes(32, "big") + y.to_bytes(32, "big")
    with pytest.raises(KeyInputError):
        PublicKey(spki=same)


def test_other_types_of_keys_are_refused() -> None:
    others: list[ec.EllipticCurvePublicKey | rsa.RSAPublicKey] = [
        ec.generate_private_key(ec.SECP384R1()).public_key(),
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
