"""Keys on a token (SoftHSM 2): made there, used there, and the line that says what went wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keys.encrypted_file import generate_private_key, public_half
from keys.errors import (
    KeyElsewhereError,
    KeyExistsError,
    KeyInputError,
    KeyMissingError,
    KeysError,
    TokenUnavailableError,
    WrongPinError,
)
from keys.hsm import Hsm
from keys.hsm_errors import reporting
from keys.pkcs11_uri import Pkcs11Uri
from keys.public_key import KEY_TYPES, KeyType
from keys.verified_signer import tuf_key
from tests.simulators.token import PIN, Tokens, load_libraries, module

PKCS8 = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tokens]:
    """Give a machine with the token T, seen by this process."""
    load_libraries()
    tokens = Tokens(tmp_path)
    tokens.add("T")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tokens.configuration))
    yield tokens
    pkcs11.unload(str(module()))  # its configuration is read once


@pytest.fixture
def hsm(tokens: Tokens) -> Hsm:
    """Give the tokens to somebody who knows the PIN."""
    return Hsm(environ={}, pin=lambda _uri: PIN)


def uri(name: str | None = "root", *, label: str = "T", key_id: bytes | None = None) -> Pkcs11Uri:
    return Pkcs11Uri(token=label, object=name, id=key_id, module_path=str(module()))


def attributes(name: str) -> dict[str, Any]:
    """Return what the token says of the private key ``name``."""
    token = pkcs11.lib(str(module())).get_token(token_label="T")
    with token.open() as session:  # the process is logged in
        key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=name)
        names = ("SENSITIVE", "EXTRACTABLE", "NEVER_EXTRACTABLE", "LOCAL", "PRIVATE", "ID")
        return {each: key[pkcs11.Attribute[each]] for each in names}


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_key_is_made_on_the_token_signs_there_and_cannot_leave(hsm: Hsm, key_type: KeyType) -> None:
    public = hsm.generate(uri(key_id=b"\x07"), key_type)
    assert public.key_type == key_type
    assert hsm.public_key(uri()) == public
    signer = hsm.signer(uri(), public)
    assert signer.public_key == tuf_key(public)
    for payload in (b"", b"payload", bytes(100_000)):
        signer.public_key.verify_signature(signer.sign(payload), payload)
    said = attributes("root")
    assert said.pop("ID") == b"\x07"
    assert said == {
        "SENSITIVE": True,
        "EXTRACTABLE": False,
        "NEVER_EXTRACTABLE": True,
        "LOCAL": True,
        "PRIVATE": True,
    }


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_key_that_another_tool_put_there_is_used(hsm: Hsm, tokens: Tokens, key_type: KeyType) -> None:
    key = generate_private_key(key_type, random=os.urandom)
    tokens.put("T", "web", key.private_bytes(*PKCS8))
    assert hsm.public_key(uri("web")) == public_half(key)
    assert hsm.public_key(uri(None, key_id=b"\x01")) == public_half(key)


def test_label_that_is_taken_is_refused_and_the_key_stays(hsm: Hsm) -> None:
    public = hsm.generate(uri(key_id=b"\x07"), "ecdsa-p256")
    with pytest.raises(KeyExistsError, match="it was not touched"):
        hsm.generate(uri(key_id=b"\x07"), "ecdsa-p256")
    assert hsm.public_key(uri()) == public


def test_pin_is_asked_once_for_each_token(tokens: Tokens) -> None:
    asked: list[str] = []

    def answer(wanted: Pkcs11Uri) -> str:
        asked.append(wanted.where)
        return PIN

    hsm = Hsm(environ={}, pin=answer)
    publics = [hsm.generate(uri(f"k{number}", key_id=bytes([number])), "ecdsa-p256") for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        signers = list(pool.map(lambda n: hsm.signer(uri(f"k{n}"), publics[n]), range(3)))
        signatures = list(pool.map(lambda n: signers[n % 3].sign(b"payload"), range(60)))
    for number, signature in enumerate(signatures):
        tuf_key(publics[number % 3]).verify_signature(signature, b"payload")
    assert len(asked) <= 2  # one session that writes, one that reads
    again = Hsm(environ={}, pin=answer)  # another user of the same process
    assert again.public_key(uri("k0")) == publics[0]


def test_key_that_wants_the_pin_each_time_gets_it(tokens: Tokens) -> None:
    asked: list[str] = []

    def answer(wanted: Pkcs11Uri) -> str:
        asked.append(wanted.where)
        return PIN

    params = {pkcs11.Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}
    token = pkcs11.lib(str(module())).get_token(token_label="T")
    with token.open(rw=True, user_pin=PIN) as session:
        domain = session.create_domain_parameters(pkcs11.KeyType.EC, params, local=True)
        domain.generate_keypair(
            store=True,
            label="SIGN key",
            id=b"\x02",
            # As on a PIV card, the halves share their id and not their label.
            public_template={pkcs11.Attribute.LABEL: "SIGN pubkey"},
            private_template={pkcs11.Attribute.ALWAYS_AUTHENTICATE: True},
        )
    hsm = Hsm(environ={}, pin=answer)
    public = hsm.public_key(uri("SIGN key"))
    signer = hsm.signer(uri("SIGN key"), public)
    before = len(asked)
    for _ in range(3):
        signer.public_key.verify_signature(signer.sign(b"payload"), b"payload")
    assert len(asked) == before + 3


def test_wrong_pin_is_tried_once_however_many_keys_are_on_the_token(tokens: Tokens) -> None:
    asked: list[str] = []

    def answer(wanted: Pkcs11Uri) -> str:
        asked.append(wanted.where)
        return "9999"

    hsm = Hsm(environ={}, pin=answer)
    for name in ("a", "b"):
        with pytest.raises(WrongPinError, match="token T refused the PIN") as caught:
            hsm.public_key(uri(name))
        assert "9999" not in str(caught.value)
    assert asked == ["token T"]


def test_what_is_missing_is_named(hsm: Hsm, tmp_path: Path) -> None:
    with pytest.raises(TokenUnavailableError, match="token U is not there"):
        hsm.public_key(uri(label="U"))
    with pytest.raises(KeyMissingError, match="token T has no private key root"):
        hsm.public_key(uri())
    with pytest.raises(KeyInputError, match="the label and id of the new key"):
        hsm.generate(uri(None, key_id=b"\x07"), "ecdsa-p256")
    for name, content in (("text.so", b"no library"), ("empty.so", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TokenUnavailableError, match=f"{name} does not load"):
            hsm.public_key(Pkcs11Uri(token="T", module_path=str(tmp_path / name)))


def test_two_tokens_and_two_keys_of_one_name_are_told_apart_by_more(hsm: Hsm, tokens: Tokens) -> None:
    keys = [generate_private_key("ecdsa-p256", random=os.urandom) for _ in range(2)]
    for number, key in enumerate(keys):
        tokens.put("T", "web", key.private_bytes(*PKCS8), key_id=f"0{number + 1}")
    with pytest.raises(KeyInputError, match="2 private keys web"):
        hsm.public_key(uri("web"))
    assert hsm.public_key(uri("web", key_id=b"\x02")) == public_half(keys[1])


def test_two_tokens_of_one_name_are_told_apart_by_their_serial_number(tokens: Tokens) -> None:
    tokens.add("T")
    hsm = Hsm(environ={}, pin=lambda _uri: PIN)
    with pytest.raises(KeyInputError, match="2 tokens fit"):
        hsm.public_key(uri())


def test_rsa_key_is_refused(hsm: Hsm, tokens: Tokens) -> None:
    tokens.put("T", "old", rsa.generate_private_key(65537, 2048).private_bytes(*PKCS8))
    with pytest.raises(KeyInputError, match="not a usable key: expected"):
        hsm.public_key(uri("old"))


def test_token_pulled_out_in_mid_session_signs_nothing(hsm: Hsm, tokens: Tokens) -> None:
    public = hsm.generate(uri(key_id=b"\x07"), "ecdsa-p256")
    signer = hsm.signer(uri(), public)
    signer.sign(b"payload")
    tokens.unplug()
    with pytest.raises(TokenUnavailableError, match="token T"):
        signer.sign(b"payload")


def test_key_replaced_on_the_token_is_noticed(hsm: Hsm) -> None:
    hsm.generate(uri(key_id=b"\x07"), "ecdsa-p256")
    other = public_half(generate_private_key("ecdsa-p256", random=os.urandom))
    with pytest.raises(KeyElsewhereError, match="signed with another key than"):
        hsm.signer(uri(), other).sign(b"payload")


@pytest.mark.parametrize(
    ("error", "expected", "said"),
    [
        (pkcs11.exceptions.PinLocked, TokenUnavailableError, "is locked: too many wrong PINs"),
        (pkcs11.exceptions.PinLenRange, WrongPinError, "refused the PIN"),
        (pkcs11.exceptions.PinExpired, TokenUnavailableError, "wants a new PIN"),
        (pkcs11.exceptions.UserPinNotInitialized, TokenUnavailableError, "has no PIN yet"),
        (pkcs11.exceptions.DeviceRemoved, TokenUnavailableError, r"does not answer any more \(DeviceRemoved\)"),
        (pkcs11.exceptions.TokenNotPresent, TokenUnavailableError, "does not answer any more"),
        (pkcs11.exceptions.DeviceMemory, TokenUnavailableError, "is full"),
        (pkcs11.exceptions.TokenWriteProtected, TokenUnavailableError, "is write-protected"),
        (pkcs11.exceptions.MechanismInvalid, KeyInputError, "cannot do this kind of key"),
        (pkcs11.exceptions.GeneralError, TokenUnavailableError, r"failed \(GeneralError\)"),
    ],
)
def test_each_failure_of_a_token_has_its_line(
    error: type[Exception], expected: type[KeysError], said: str
) -> None:
    # SoftHSM never locks itself, and cannot be out of memory: these are what other modules return.
    with pytest.raises(expected, match=f"token T {said}"), reporting(uri()):
        raise error
