"""An identity is read as openssl writes it; what cannot decrypt is refused by name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from keys.errors import KeyExposedError, KeyInputError, KeyMissingError, KeysError, WrongPassphraseError
from keys.identity import read_identity


def openssl(*argv: str, data: bytes | None = None) -> bytes:
    return subprocess.run(["openssl", *argv], input=data, capture_output=True, check=True).stdout


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def unasked() -> str:
    raise AssertionError("no passphrase is needed")


@pytest.mark.parametrize("words", [(), ("-aes256", "-pass", "pass:correct horse")])
def test_what_is_encrypted_to_an_identity_of_openssl_is_opened(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = written(tmp_path / "id.pem", openssl("genpkey", "-algorithm", "x25519", *words))
    pass_words = ["-passin", "pass:correct horse"] if words else []
    public = load_pem_public_key(openssl("pkey", "-in", str(path), "-pubout", *pass_words))
    assert isinstance(public, X25519PublicKey)
    data = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM).encrypt(b"key", public, b"info")
    identity = read_identity(path, passphrase=(lambda: "correct horse") if words else unasked)
    assert identity.opened(data, info=b"info") == b"key"
    assert identity.opened(data, info=b"other") is None
    assert identity.opened(data[:-1], info=b"info") is None
    assert identity.opened(b"", info=b"info") is None


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", KeyInputError, "id.pem"),
        (b"no key", KeyInputError, "id.pem"),
        (openssl("genpkey", "-algorithm", "ed25519"), KeyInputError, "cannot decrypt"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", KeyInputError, "damaged"),
        (openssl("genpkey", "-algorithm", "x25519") * 2, KeyInputError, "one private key"),
        (
            openssl("genpkey", "-algorithm", "x25519", "-aes256", "-pass", "pass:another"),
            WrongPassphraseError,
            "does not open it",
        ),
    ],
)
def test_file_that_is_no_identity_is_refused(
    tmp_path: Path, data: bytes, error: type[KeysError], words: str
) -> None:
    path = written(tmp_path / "id.pem", data)
    with pytest.raises(error, match=words):
        read_identity(path, passphrase=lambda: "correct horse")


def test_identity_that_others_can_read_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "id.pem", openssl("genpkey", "-algorithm", "x25519"))
    path.chmod(0o640)
    with pytest.raises(KeyExposedError, match="others can read"):
        read_identity(path, passphrase=unasked)
    with pytest.raises(KeyMissingError, match="cannot be read"):
        read_identity(tmp_path / "none.pem", passphrase=unasked)
