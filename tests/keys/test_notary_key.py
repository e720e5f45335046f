"""Keys of Notary and Docker Content Trust, made by the real client: the same key, here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from keys.encrypted_file import public_half
from keys.errors import WrongPassphraseError
from keys.foreign_key import read_foreign_key
from keys.notary_key import _PrivateKeyInfo, as_version_0, notary_role
from keys.pem import PemBlock, parse_pem

PASSPHRASE = "password1"


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "targets/releases"])
def test_key_that_notary_made_is_read(tmp_path: Path, role: str) -> None:
    variables = dict.fromkeys(("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"), PASSPHRASE)
    environ = {**os.environ, **{f"NOTARY_{name}_PASSPHRASE": value for name, value in variables.items()}}
    command = ["notary", "-d", str(tmp_path), "key", "generate", "ecdsa", "--role", role]
    subprocess.run(command, env=environ, check=True, capture_output=True)
    (file,) = (tmp_path / "private").glob("*.key")
    data = file.read_bytes()
    key = read_foreign_key(data, PASSPHRASE, where="f")
    assert public_half(key).key_type == "ecdsa-p256"
    assert notary_role(parse_pem(data, where="f")[0]) == role
    with pytest.raises(WrongPassphraseError):
        read_foreign_key(data, "password2", where="f")
    # OpenSSL, which minds the headers alone, agrees on which key this is.
    plain = b"\n".join(line for line in data.split(b"\n") if b":" not in line)
    command = ["openssl", "pkey", "-passin", f"pass:{PASSPHRASE}", "-pubout"]
    done = subprocess.run(command, input=plain, capture_output=True, check=True)
    assert done.stdout == public_half(key).pem


def test_role_and_collection_are_what_the_headers_say() -> None:
    headers = ("role: targets", "gun: docker.io/acme/web")
    assert notary_role(PemBlock(label="X", der=b"", headers=headers)) == "targets of docker.io/acme/web"
    assert notary_role(PemBlock(label="X", der=b"", headers=("gun: docker.io/acme/web",))) is None
    assert notary_role(PemBlock(label="X", der=b"")) is None


def test_plain_key_of_version_1_without_a_public_key_is_read() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    info = asn1.decode_der(_PrivateKeyInfo, der)
    lying = asn1.encode_der(_PrivateKeyInfo(version=1, algorithm=info.algorithm, private_key=info.private_key))
    data = bytes(PemBlock(label="PRIVATE KEY", der=lying))
    assert public_half(read_foreign_key(data, None, where="f")) == public_half(key)


@given(st.binary(max_size=80))
def test_other_bytes_stay_as_they_are(noise: bytes) -> None:
    assert as_version_0(noise) == noise
