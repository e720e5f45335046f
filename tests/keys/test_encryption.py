"""The encryption of a private key: standard, at the cost we promise, and closed to hostile parameters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.encrypted_file import (
    PrivateKey,
    _check_opens,
    decrypt,
    encrypt,
    generate_private_key,
    passphrase_bytes,
    public_half,
)
from keys.envelope import (
    AES_256_CBC,
    IMPORT_LIMITS,
    CostLimits,
    Envelope,
    Scrypt,
    ScryptCost,
    encode_envelope,
    parse_envelope,
)
from keys.errors import (
    KeyDamagedError,
    KeyInputError,
    KeysError,
    KeysUnavailableError,
    KeyTooWeakError,
    WrongPassphraseError,
)
from keys.key_file import KeyFile, parse_key_file
from keys.pem import PemBlock, parse_pem
from keys.public_key import KEY_TYPES, KeyType

ROOT = Path(__file__).parents[2]
PASSPHRASE = "correct horse"  # as in conftest.py
CHEAP = ScryptCost(n=16, r=1, p=1)
PASSPHRASES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def plain(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def cheap_file(key_type: KeyType = "ed25519", passphrase: str = PASSPHRASE) -> bytes:
    key = generate_private_key(key_type, random=os.urandom)
    return encrypt(key, passphrase, random=os.urandom, cost=CHEAP)


def file_asking_for(cost: ScryptCost, *, salt: bytes = bytes(16), key_bytes: int | None = None) -> bytes:
    public = parse_key_file(cheap_file(), where="f").public
    kdf = Scrypt(cost=cost, salt=salt, key_bytes=key_bytes)
    envelope = Envelope(kdf=kdf, cipher=AES_256_CBC, iv=bytes(16), ciphertext=bytes(64))
    return bytes(KeyFile(encrypted=encode_envelope(envelope), public=public))


def refusal(data: bytes, kind: type[KeysError] = KeyDamagedError) -> str:
    with pytest.raises(kind) as caught:
        decrypt(data, PASSPHRASE, where="web.key")
    assert type(caught.value) is kind
    return str(caught.value)


@settings(max_examples=40)
@given(st.sampled_from(KEY_TYPES), PASSPHRASES)
def test_what_was_encrypted_opens_here_and_in_cryptography(key_type: KeyType, passphrase: str) -> None:
    key = generate_private_key(key_type, random=os.urandom)
    data = encrypt(key, passphrase, random=os.urandom, cost=CHEAP)
    assert plain(decrypt(data, passphrase, where="f", limits=IMPORT_LIMITS)) == plain(key)
    elsewhere = load_pem_private_key(data, passphrase.encode())
    assert elsewhere.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) == plain(key)


@settings(max_examples=100)
@given(PASSPHRASES)
def test_another_passphrase_does_not_open(passphrase: str) -> None:
    data = cheap_file(passphrase=passphrase + "!")
    with pytest.raises(WrongPassphraseError):
        decrypt(data, passphrase, where="f", limits=IMPORT_LIMITS)


@settings(max_examples=300)
@given(st.sampled_from(KEY_TYPES), st.data())
def test_a_changed_envelope_never_gives_another_key(key_type: KeyType, data: st.DataObject) -> None:
    key_file = parse_key_file(cheap_file(key_type), where="f")
    changed = bytearray(key_file.encrypted)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    limits = CostLimits(min_memory_bytes=0, min_n=2, min_salt_bytes=0, max_memory_bytes=2**20)
    try:
        key = decrypt(
            bytes(KeyFile(encrypted=bytes(changed), public=key_file.public)), PASSPHRASE, where="f", limits=limits
        )
    except KeysError:
        return
    assert public_half(key) == key_file.public


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_openssl_opens_it_within_its_memory_limit(key_type: KeyType, tmp_path: Path) -> None:
    key = generate_private_key(key_type, random=os.urandom)
    file = tmp_path / "cheaper.key"
    file.write_bytes(encrypt(key, PASSPHRASE, random=os.urandom, cost=ScryptCost(n=2**14, r=8, p=1)))
    command = ["openssl", "pkey", "-in", str(file), "-passin", f"pass:{PASSPHRASE}"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == bytes(PemBlock(label="PRIVATE KEY", der=plain(key)))


def test_files_meet_the_floor_as_openssl_reads_them(ed25519_file: bytes, tmp_path: Path) -> None:
    file = tmp_path / "web.key"
    file.write_bytes(ed25519_file)
    done = subprocess.run(["openssl", "asn1parse", "-in", file], capture_output=True, text=True, check=True)
    n, r, p = (int(number, 16) for number in re.findall(r"INTEGER +:([0-9A-F]+)", done.stdout))
    assert 128 * n * r >= 64 * 1024 * 1024
    assert (n, r, p) == (65536, 8, 1)
    assert re.findall(r"OBJECT +:(\S+)", done.stdout) == ["PBES2", "scrypt", "aes-256-cbc"]
    salt, iv, _ciphertext = re.findall(r"OCTET STRING +\[HEX DUMP\]:([0-9A-F]+)", done.stdout)
    assert (len(salt), len(iv)) == (32, 32)


def test_openssl_reads_the_public_half(ed25519_file: bytes, tmp_path: Path) -> None:
    file = tmp_path / "web.key"
    file.write_bytes(ed25519_file)
    done = subprocess.run(["openssl", "pkey", "-pubin", "-in", file], capture_output=True, check=True)
    assert done.stdout == parse_key_file(ed25519_file, where="f").public.pem


def test_full_cost_files_open_here_and_in_cryptography(p256_file: bytes) -> None:
    key = decrypt(p256_file, PASSPHRASE, where="f")
    elsewhere = load_pem_private_key(p256_file, PASSPHRASE.encode())
    assert elsewhere.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) == plain(key)


def test_no_two_files_share_salt_or_iv() -> None:
    key = generate_private_key("ed25519", random=os.urandom)
    envelopes = [
        parse_envelope(
            parse_key_file(encrypt(key, "x", random=os.urandom, cost=CHEAP), where="f").encrypted, where="f"
        )
        for _ in range(2)
    ]
    assert envelopes[0].kdf != envelopes[1].kdf
    assert envelopes[0].iv != envelopes[1].iv


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (ScryptCost(n=2**15, r=8, p=1), "too weak: scrypt N=32768 r=8 p=1 (32 MiB), expected at least 64 MiB"),
        (
            ScryptCost(n=2**10, r=2**9, p=1),
            "too weak: scrypt N=1024 r=512 p=1 (64 MiB), expected at least 64 MiB and",
        ),
        (ScryptCost(n=2, r=1, p=16), "too weak: scrypt N=2 r=1 p=16 (256 bytes), expected at least 64 MiB"),
    ],
)
def test_kdf_below_the_floor_is_refused_with_import_as_the_way(cost: ScryptCost, message: str) -> None:
    with pytest.raises(KeyTooWeakError) as caught:
        decrypt(file_asking_for(cost), PASSPHRASE, where="web.key")
    assert message in str(caught.value)
    assert "trust key import" in str(caught.value.hint)


def test_short_salt_is_refused_with_import_as_the_way() -> None:
    message = refusal(file_asking_for(ScryptCost(n=2**16, r=8, p=1), salt=bytes(8)), KeyTooWeakError)
    assert "salt of 8 bytes, expected at least 16" in message


def test_pbkdf2_is_refused_with_import_as_the_way() -> None:
    key = generate_private_key("ed25519", random=os.urandom)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    data = bytes(KeyFile(encrypted=parse_pem(pem, where="f")[0].der, public=public_half(key)))
    with pytest.raises(KeyTooWeakError, match=r"PBKDF2 .* costs a thief no memory, expected scrypt") as caught:
        decrypt(data, "x", where="web.key")
    assert "trust key import" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (
            ScryptCost(n=2**21, r=8, p=1),
            "asks for scrypt N=2097152 r=8 p=1 (2048 MiB), 2048 MiB to open it: refused above 1025 MiB or p=16",
        ),
        (
            ScryptCost(n=2**16, r=8, p=17),
            "asks for scrypt N=65536 r=8 p=17 (64 MiB), 64 MiB to open it: refused above 1025 MiB or p=16",
        ),
        (ScryptCost(n=2**62, r=2**20, p=1), "refused above 1025 MiB"),
        (ScryptCost(n=2, r=2**19, p=16), "r=524288 p=16 (128 MiB), 2304 MiB to open it: refused above 1025 MiB"),
        (ScryptCost(n=2**20000, r=2**20000, p=1), "N=2^20000 or more r=2^20000 or more p=1 (2^39987 or more MiB)"),
        (ScryptCost(n=2**16, r=8, p=0), "is not scrypt"),
        (ScryptCost(n=2**16, r=0, p=1), "is not scrypt"),
        (ScryptCost(n=2**16, r=-8, p=1), "is not scrypt"),
        (ScryptCost(n=2**16 + 1, r=8, p=1), "is not scrypt"),
        (ScryptCost(n=1, r=2**19, p=1), "is not scrypt"),
        (ScryptCost(n=0, r=8, p=1), "is not scrypt"),
        (ScryptCost(n=-(2**16), r=8, p=1), "is not scrypt"),
        (ScryptCost(n=2**19, r=1, p=1), "is not scrypt"),
    ],
)
def test_absurd_kdf_is_refused_before_anything_is_derived(cost: ScryptCost, message: str) -> None:
    data = file_asking_for(cost)
    before = time.process_time()
    assert message in refusal(data)
    assert time.process_time() - before < 0.05  # the cheapest of those that could run at all takes 0.2 s


@pytest.mark.parametrize("key_bytes", [0, 16, 33, 2**40])
def test_other_lengths_of_the_derived_key_are_refused(key_bytes: int) -> None:
    assert "expected" in refusal(file_asking_for(ScryptCost(n=2**16, r=8, p=1), key_bytes=key_bytes))


def test_stated_length_of_the_derived_key_is_accepted() -> None:
    data = file_asking_for(CHEAP, key_bytes=32)
    with pytest.raises(WrongPassphraseError):
        decrypt(data, PASSPHRASE, where="f", limits=IMPORT_LIMITS)


def test_other_ciphers_and_schemes_are_refused() -> None:
    key_file = parse_key_file(file_asking_for(ScryptCost(n=2**16, r=8, p=1)), where="f")
    for old, new, message in (
        ("60864801650304012a", "608648016503040102", "cipher not supported: expected AES-256-CBC"),
        ("2b06010401da47040b", "2b06010401da47040c", "key derivation not supported: expected scrypt"),
        ("2a864886f70d01050d", "2a864886f70d01050a", "encryption not supported: expected PBES2"),
    ):
        encrypted = bytes.fromhex(key_file.encrypted.hex().replace(old, new))
        assert encrypted != key_file.encrypted
        assert message in refusal(bytes(KeyFile(encrypted=encrypted, public=key_file.public)))


def test_asn1_that_is_cut_or_too_long_is_refused() -> None:
    key_file = parse_key_file(cheap_file(), where="f")
    for encrypted in (key_file.encrypted[:-1], key_file.encrypted + b"\0", b"", b"\x30\x80\0\0"):
        assert "not an encrypted PKCS#8 key" in refusal(
            bytes(KeyFile(encrypted=encrypted, public=key_file.public))
        )


def test_public_half_of_another_key_is_refused() -> None:
    mine, other = (parse_key_file(cheap_file(), where="f") for _ in range(2))
    edited = bytes(KeyFile(encrypted=mine.encrypted, public=other.public))
    with pytest.raises(KeyDamagedError, match="its halves do not belong together") as caught:
        decrypt(edited, PASSPHRASE, where="f", limits=IMPORT_LIMITS)
    assert mine.public.keyid in str(caught.value)
    assert other.public.keyid in str(caught.value)


def test_other_type_of_key_inside_is_refused() -> None:
    inner = rsa.generate_private_key(65537, 2048)
    pem = inner.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    public = parse_key_file(cheap_file(), where="f").public
    data = bytes(KeyFile(encrypted=parse_pem(pem, where="f")[0].der, public=public))
    with pytest.raises(KeyDamagedError):
        decrypt(data, "x", where="f", limits=IMPORT_LIMITS)


@pytest.mark.parametrize(
    ("passphrase", "message"),
    [("", "empty"), ("secret\udc80", "not text"), ("s" * 1024, "too long: at most 1023 bytes, got 1024")],
)
def test_unusable_passphrase_is_refused_and_not_repeated(passphrase: str, message: str) -> None:
    with pytest.raises(KeyInputError, match=message) as caught:
        passphrase_bytes(passphrase)
    error: BaseException | None = caught.value
    assert "sss" not in str(error)
    while error is not None:
        assert getattr(error, "object", None) is None
        error = error.__cause__ or error.__context__


def test_wrong_passphrase_enters_no_message() -> None:
    data = cheap_file()
    with pytest.raises(WrongPassphraseError) as caught:
        decrypt(data, "hunter2", where="f", limits=IMPORT_LIMITS)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_new_file_that_does_not_open_again_is_never_written() -> None:
    key = generate_private_key("ed25519", random=os.urandom)
    data = encrypt(key, PASSPHRASE, random=os.urandom, cost=CHEAP)
    envelope = parse_envelope(parse_key_file(data, where="f").encrypted, where="f")
    assert isinstance(envelope.kdf, Scrypt)
    with pytest.raises(KeysUnavailableError, match="nothing was written: it does not open again"):
        _check_opens(data, envelope.kdf, bytes(32))
    other = Scrypt(cost=CHEAP, salt=bytes(16))
    with pytest.raises(KeysUnavailableError, match="nothing was written"):
        _check_opens(data, other, bytes(32))


def test_unlocking_leaves_the_interpreter_to_other_threads(ed25519_file: bytes) -> None:
    unlocking = threading.Thread(target=decrypt, args=(ed25519_file, PASSPHRASE), kwargs={"where": "f"})
    unlocking.start()
    turns = 0
    while unlocking.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 10  # 2 or 3 where the derivation holds the GIL, some 150 where it does not


def test_too_little_memory_is_said_plainly(ed25519_file: bytes, tmp_path: Path) -> None:
    file = tmp_path / "web.key"
    file.write_bytes(ed25519_file)
    code = (
        "import resource, sys; from pathlib import Path; from keys.encrypted_file import decrypt\n"
        "from keys.errors import KeysUnavailableError\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, used + 2**25))\n"
        "try: decrypt(data, sys.argv[2], where='f')\n"
        "except KeysUnavailableError as err: print(err)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file, PASSPHRASE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "not enough memory for scrypt N=65536 r=8 p=1 (64 MiB)\n"
