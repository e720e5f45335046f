"""Keys that other programs wrote: what can be imported, and the message for what cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.asn1 import encode_der
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from keys.encrypted_file import PrivateKey, encrypt, generate_private_key, public_half
from keys.envelope import (
    _PBES2,
    _PBKDF2,
    AES_256_CBC,
    MIB,
    Envelope,
    Scrypt,
    ScryptCost,
    _algorithm,
    _EncryptedPrivateKeyInfo,
    _Pbes2Parameters,
    _Pbkdf2Parameters,
    encode_envelope,
)
from keys.errors import KeyInputError, WrongPassphraseError
from keys.foreign_key import needs_passphrase, read_foreign_key
from keys.pem import PemBlock

# Made by Notary 0.7.0 for this test (`notary key generate ecdsa`, passphrase "password1"); signs nothing.
NOTARY = b"""-----BEGIN ENCRYPTED PRIVATE KEY-----
role: root

MIHuMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAge2k6htRexkQICCAAw
HQYJYIZIAWUDBAEqBBCS4DJeJAzuk804C5wdXVMJBIGgCTe0uOFt0A0j4Xx5qVie
fq2ydVHcj3+iGTcII2PbVQrhJCYYdmzBjJOdG+qBgY0xt+5ZfirHTfw0eLbXv9XR
9oZYSO4KbZEQeOGIAts3qO0pSqZRN8pSRMrVp1nINuNYkONiw/3nu+RpGGomp5Ta
Atflq59AOWuyTQhTmtLjkdCUf3fOdn8LLR0+gWs4+xY7PpGX5PlREbYp9fbQMefS
vg==
-----END ENCRYPTED PRIVATE KEY-----
"""

PASSPHRASE = "x"
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["ed25519", "ecdsa-p256", "ecdsa-p384"])
def key(request: pytest.FixtureRequest) -> PrivateKey:
    """Give a private key of each type."""
    return generate_private_key(request.param, random=os.urandom)


def plain_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def openssl(arguments: list[str], stdin: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def refusal(data: bytes, passphrase: str | None = PASSPHRASE) -> KeyInputError:
    with pytest.raises(KeyInputError) as caught:
        read_foreign_key(data, passphrase, where="the file")
    assert str(caught.value).startswith("the file: ")
    return caught.value


def asking_for(cost: ScryptCost) -> bytes:
    """Return a file that costs so much to read, and holds no key."""
    kdf = Scrypt(cost=cost, salt=bytes(16))
    envelope = Envelope(kdf=kdf, cipher=AES_256_CBC, iv=bytes(16), ciphertext=bytes(64))
    return bytes(PemBlock(label="ENCRYPTED PRIVATE KEY", der=encode_envelope(envelope)))


def test_plain_pkcs8_is_read(key: PrivateKey) -> None:
    data = plain_pem(key)
    assert not needs_passphrase(data, where="f")
    assert public_half(read_foreign_key(data, None, where="f")) == public_half(key)


def test_pbkdf2_of_cryptography_is_read(key: PrivateKey) -> None:
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    assert needs_passphrase(data, where="f")
    assert public_half(read_foreign_key(data, "x", where="f")) == public_half(key)


@pytest.mark.parametrize(
    "options", [["-scrypt"], ["-v2", "aes-128-cbc"], ["-v2", "aes256", "-v2prf", "hmacWithSHA1"]]
)
def test_keys_that_openssl_encrypted_are_read(key: PrivateKey, options: list[str]) -> None:
    data = openssl(["pkcs8", "-topk8", "-passout", "pass:x", *options], plain_pem(key))
    assert public_half(read_foreign_key(data, "x", where="f")) == public_half(key)


def test_ec_key_with_parameters_beside_it_is_read() -> None:
    data = openssl(["ecparam", "-name", "prime256v1", "-genkey"], b"")
    assert b"BEGIN EC PARAMETERS" in data
    assert public_half(read_foreign_key(data, None, where="f")).key_type == "ecdsa-p256"


def test_file_of_ours_is_read(key: PrivateKey) -> None:
    data = encrypt(key, "x", random=os.urandom, cost=ScryptCost(n=16, r=1, p=1))
    assert public_half(read_foreign_key(data, "x", where="f")) == public_half(key)


def test_wrong_passphrase_is_told_from_a_bad_file(key: PrivateKey) -> None:
    data = encrypt(key, "x", random=os.urandom, cost=ScryptCost(n=16, r=1, p=1))
    with pytest.raises(WrongPassphraseError):
        read_foreign_key(data, "y", where="f")


def test_missing_passphrase_is_asked_for(key: PrivateKey) -> None:
    data = encrypt(key, "x", random=os.urandom, cost=ScryptCost(n=16, r=1, p=1))
    assert "its passphrase is needed" in str(refusal(data, None))


def test_notary_key_is_read_as_it_is() -> None:
    assert needs_passphrase(NOTARY, where="f")
    assert public_half(read_foreign_key(NOTARY, "password1", where="f")).key_type == "ecdsa-p256"
    with pytest.raises(WrongPassphraseError):
        read_foreign_key(NOTARY, "password2", where="f")
    without_headers = b"\n".join(line for line in NOTARY.split(b"\n") if b":" not in line)
    assert public_half(read_foreign_key(without_headers, "password1", where="f")).key_type == "ecdsa-p256"


@pytest.mark.parametrize(
    "cost",
    [
        ScryptCost(n=2**21, r=8, p=1),
        ScryptCost(n=2**14, r=8, p=17),
        ScryptCost(n=2**100, r=8, p=1),
        ScryptCost(n=2, r=2**18, p=16),  # 64 MiB by N and r, 1.1 GiB in truth
    ],
)
def test_absurd_scrypt_is_refused_before_anything_is_derived(cost: ScryptCost) -> None:
    data = asking_for(cost)
    before = time.process_time()
    assert "refused above 1025 MiB or p=16" in str(refusal(data))
    assert time.process_time() - before < 0.05


@pytest.mark.parametrize(
    "cost", [ScryptCost(n=2, r=2**15, p=16), ScryptCost(n=2**10, r=2**9, p=1), ScryptCost(n=2**16, r=8, p=1)]
)
def test_memory_that_a_key_is_counted_as_is_what_opening_it_takes(cost: ScryptCost) -> None:
    code = (
        "import re, sys; from keys.errors import WrongPassphraseError\n"
        "from keys.foreign_key import read_foreign_key\n"
        "peak = lambda: 1024 * int(re.search('VmHWM:\\\\s*([0-9]+) kB', open('/proc/self/status').read())[1])\n"
        "data, before = sys.stdin.buffer.read(), peak()\n"
        "try: read_foreign_key(data, 'x', where='f')\n"
        "except WrongPassphraseError: print(peak() - before)\n"
    )
    argv = [sys.executable, "-c", code]
    taken = int(subprocess.run(argv, input=asking_for(cost), capture_output=True, check=True, cwd=ROOT).stdout)
    assert 0.9 * cost.reader_bytes < taken < cost.reader_bytes + 8 * MIB


READ_KEY = "read_foreign_key(Path(sys.argv[1]).read_bytes(), 'x', where='f')"
READ_IDENTITY = "read_identity(Path(sys.argv[1]), passphrase=lambda: 'x')"
OUT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from keys.errors import KeysError
from keys.foreign_key import read_foreign_key
from keys.identity import read_identity
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), -1))
try: %s
except KeysError as err: print(type(err).__name__, err.exit_code, err)
"""


@pytest.mark.parametrize("read", [READ_KEY, READ_IDENTITY])
@pytest.mark.parametrize(
    ("cost", "left"), [(ScryptCost(n=2**18, r=8, p=1), 128 * MIB), (ScryptCost(n=2, r=2**15, p=16), 120 * MIB)]
)
def test_lack_of_memory_is_no_wrong_passphrase(tmp_path: Path, read: str, cost: ScryptCost, left: int) -> None:
    file = tmp_path / "hungry.pem"
    file.write_bytes(asking_for(cost))
    file.chmod(0o600)
    argv = [sys.executable, "-c", OUT_OF_MEMORY % read, str(file), str(left)]
    done = subprocess.run(argv, capture_output=True, check=True, cwd=ROOT, text=True)
    assert done.stdout.startswith("KeysUnavailableError 3 "), done.stdout
    assert "not enough memory to open it" in done.stdout


@pytest.mark.parametrize("iterations", [10_000_001, 2**31, 2**5000, 0, -1])
def test_absurd_pbkdf2_is_refused_before_anything_is_derived(iterations: int) -> None:
    parameters = _Pbkdf2Parameters(salt=bytes(16), iterations=iterations, key_bytes=None, prf=None)
    pbes2 = _Pbes2Parameters(kdf=_algorithm(_PBKDF2, parameters), cipher=_algorithm(AES_256_CBC, bytes(16)))
    info = _EncryptedPrivateKeyInfo(algorithm=_algorithm(_PBES2, pbes2), encrypted=bytes(64))
    before = time.process_time()
    data = bytes(PemBlock(label="ENCRYPTED PRIVATE KEY", der=encode_der(info)))
    assert "iterations of PBKDF2: expected 1 to 10000000" in str(refusal(data))
    assert time.process_time() - before < 0.05


def test_other_private_keys_are_refused() -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    traditional = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert "expected a PKCS#8 or EC private key, got RSA PRIVATE KEY" in str(refusal(traditional))
    pkcs8 = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "expected a key of type ed25519 or ecdsa-p256 or ecdsa-p384, got RSAPrivateKey" in str(refusal(pkcs8))
    p521 = ec.generate_private_key(ec.SECP521R1())
    assert "got curve secp521r1" in str(
        refusal(p521.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    )
    ssh = ed25519.Ed25519PrivateKey.generate()
    openssh = ssh.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    assert "got OPENSSH PRIVATE KEY" in str(refusal(openssh))


def test_old_openssl_encryption_is_refused_with_the_conversion() -> None:
    data = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")
    )
    error = refusal(data)
    assert "encrypted in OpenSSL's old way" in str(error)
    assert "openssl pkcs8 -topk8 -scrypt" in str(error.hint)


def test_no_key_and_two_keys_are_refused(key: PrivateKey) -> None:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert "expected one private key, got 0" in str(refusal(public))
    assert "expected one private key, got 2" in str(refusal(plain_pem(key) * 2))


def test_public_key_of_another_key_beside_it_is_refused(key: PrivateKey) -> None:
    other = generate_private_key("ed25519", random=os.urandom)
    assert "its public key does not belong" in str(refusal(plain_pem(key) + public_half(other).pem))


def test_key_of_the_wrong_length_for_its_type_is_refused() -> None:
    # cryptography answers these with an InternalError, which is neither a ValueError nor an UnsupportedAlgorithm.
    for last_byte in ("6f", "71", "72"):  # X448, ed448, and no type at all, each with 32 bytes
        der = bytes.fromhex(f"302e020100300506032b65{last_byte}04220420") + bytes(32)
        assert "damaged or of an unknown type" in str(refusal(bytes(PemBlock(label="PRIVATE KEY", der=der))))


def test_damaged_and_foreign_bytes_are_refused(key: PrivateKey) -> None:
    assert "empty" in str(refusal(b""))
    assert "not PEM" in str(refusal(b"\x30\x2e"))
    assert "truncated" in str(refusal(plain_pem(key)[:60]))
    assert "too large" in str(refusal(plain_pem(key) + b" " * 65536))
    assert "damaged" in str(refusal(bytes(PemBlock(label="PRIVATE KEY", der=b"\x30\x00"))))
    assert "not an encrypted PKCS#8 key" in str(
        refusal(bytes(PemBlock(label="ENCRYPTED PRIVATE KEY", der=b"0\0")))
    )
