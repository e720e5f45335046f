"""What the programs that we start find of our environment: all that they need, and no secret of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from keys.foreign_key import read_foreign_key
from tests.keys.test_foreign_key import NOTARY
from trust.children import child_environment
from trust.errors import UnavailableError
from trust.reference import parse_reference
from trust.transfer import EngineName, find_engine

KEY = ec.generate_private_key(ec.SECP256R1())
PLAIN = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
NEEDED = {
    "HOME": "/home/me",
    "PATH": "/usr/bin",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus",
    "AWS_SECRET_ACCESS_KEY": "of the helper",
    "GOOGLE_CREDENTIALS": '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMII"}',
    "CERTIFICATE": PUBLIC.decode(),
    "TRUST_HOME": "/var/lib/trust",
    "EMPTY": "",
}


def test_what_children_need_is_theirs() -> None:
    assert child_environment(NEEDED) == NEEDED


@pytest.mark.parametrize("name", ["", "_FILE", "_WEB", "_WEB_NEW", "_OLD_IMPORT"])
def test_passphrases_and_pins_are_no_childs(name: str) -> None:
    ours = {f"TRUST_PASSPHRASE{name}": "hunter2", "TRUST_PIN": "1234"}
    assert child_environment({**NEEDED, **ours}) == NEEDED


@pytest.mark.parametrize(
    ("pem", "passphrase"),
    [
        (PLAIN, None),
        (PUBLIC + PLAIN, None),
        (b"\r\n" + PLAIN.replace(b"\n", b"\r\n"), None),
        (KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")), "x"),
        (KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()), None),
        (NOTARY, "password1"),
    ],
)
def test_variable_that_can_be_an_envvar_key_is_no_childs(pem: bytes, passphrase: str | None) -> None:
    assert read_foreign_key(pem, passphrase, where="it")
    assert child_environment({**NEEDED, "ANY_NAME": pem.decode()}) == NEEDED


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_engine_of_the_user_finds_no_secret_of_ours(tmp_path: Path, engine: EngineName) -> None:
    program = tmp_path / engine
    program.write_text(f"#!/bin/sh\nenv > {tmp_path}/found\nexit 1\n")
    program.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    environ = {"PATH": path, "HOME": "/home/me", "TRUST_PIN": "hunter2", "K": PLAIN.decode()}
    local = find_engine(engine, plain_http=False, environ=environ)
    with pytest.raises(UnavailableError):
        local.push(parse_reference("registry.test/acme/web:1"))
    found = (tmp_path / "found").read_text()
    assert {f"PATH={path}", "HOME=/home/me"} < set(found.splitlines())
    assert "hunter2" not in found + repr(local)
    assert "PRIVATE KEY" not in found + repr(local)
