"""The journeys of a stored key, at full cost, on a real disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keys.encrypted_file import generate_private_key, public_half
from keys.errors import (
    KeyDamagedError,
    KeyExistsError,
    KeyInputError,
    KeyMissingError,
    KeyTooWeakError,
    WrongPassphraseError,
)
from keys.foreign_key import needs_passphrase
from keys.public_key import parse_public_key
from keys.store import KeyStore

ROOT = Path(__file__).parents[2]
PASSPHRASE = "correct horse"  # as in conftest.py
GENERATE = """
import sys
from pathlib import Path
from keys.errors import KeyExistsError
from keys.store import KeyStore
store = KeyStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(store.generate("web", "ed25519", sys.argv[2]).keyid)
except KeyExistsError:
    print("exists")
"""


def test_generated_key_is_listed_found_and_opens(home: Path) -> None:
    store = KeyStore(home)
    public = store.generate("web", "ed25519", PASSPHRASE)
    assert store.names() == ["web"]
    assert store.public_key("web") == public
    assert store.find(public.keyid) == "web"
    assert public_half(store.unlock("web", PASSPHRASE)) == public


def test_taken_name_is_refused_before_the_passphrase_costs_anything(store: KeyStore) -> None:
    before = store.export("web", private=True)
    with pytest.raises(KeyExistsError):
        store.generate("web", "ecdsa-p256", "")
    with pytest.raises(KeyExistsError):
        store.import_pem("web", b"", None, "")
    assert store.export("web", private=True) == before


def test_unknown_type_and_empty_passphrase_are_refused_and_leave_nothing(home: Path) -> None:
    store = KeyStore(home)
    with pytest.raises(
        KeyInputError, match="unknown key type: expected ed25519 or ecdsa-p256 or ecdsa-p384, got 'rsa'"
    ):
        store.generate("web", "rsa", PASSPHRASE)  # type: ignore[arg-type]
    with pytest.raises(KeyInputError, match="the passphrase is empty"):
        store.generate("web", "ed25519", "")
    assert not home.exists()


def test_wrong_passphrase_names_the_file(store: KeyStore) -> None:
    with pytest.raises(WrongPassphraseError, match=r"keys/web\.key: the passphrase does not open it"):
        store.unlock("web", "wrong")


def test_changed_passphrase_opens_and_the_old_one_does_not(store: KeyStore) -> None:
    public = store.public_key("web")
    store.change_passphrase("web", PASSPHRASE, "new")
    assert public_half(store.unlock("web", "new")) == public
    with pytest.raises(WrongPassphraseError):
        store.unlock("web", PASSPHRASE)


def test_wrong_old_passphrase_changes_nothing(store: KeyStore) -> None:
    before = store.export("web", private=True)
    with pytest.raises(WrongPassphraseError):
        store.change_passphrase("web", "wrong", "new")
    with pytest.raises(KeyInputError, match="empty"):
        store.change_passphrase("web", PASSPHRASE, "")
    assert store.export("web", private=True) == before


def test_exported_file_is_encrypted_and_can_be_imported_elsewhere(store: KeyStore, tmp_path: Path) -> None:
    exported = store.export("root", private=True)
    assert needs_passphrase(exported, where="f")
    elsewhere = KeyStore(tmp_path / "elsewhere")
    assert elsewhere.import_pem("copy", exported, PASSPHRASE, "other") == store.public_key("root")
    assert public_half(elsewhere.unlock("copy", "other")) == store.public_key("root")


def test_exported_public_half_holds_nothing_else(store: KeyStore) -> None:
    exported = store.export("root", private=False)
    assert parse_public_key(exported, where="f") == store.public_key("root")
    assert b"PRIVATE" not in exported


def test_imported_plain_key_is_stored_encrypted(home: Path) -> None:
    key = generate_private_key("ed25519", random=os.urandom)
    store = KeyStore(home)
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert store.import_pem("web", plain, None, PASSPHRASE) == public_half(key)
    assert b"ENCRYPTED PRIVATE KEY" in (home / "web.key").read_bytes()
    assert public_half(store.unlock("web", PASSPHRASE)) == public_half(key)


def test_removed_key_is_gone(store: KeyStore) -> None:
    public = store.public_key("web")
    store.remove("web")
    assert store.names() == ["root"]
    assert store.find(public.keyid) is None
    with pytest.raises(KeyMissingError):
        store.unlock("web", PASSPHRASE)


def test_damaged_key_hides_no_other_key(store: KeyStore, home: Path) -> None:
    web, root = store.public_key("web"), store.public_key("root")
    (home / "root.key").write_bytes(b"")
    assert store.find(web.keyid) == "web"
    with pytest.raises(KeyDamagedError, match=r"root\.key: empty"):
        store.find(root.keyid)


def test_weak_file_from_outside_is_not_used_in_place(store: KeyStore, home: Path) -> None:
    strong = (home / "web.key").read_bytes()
    changed = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-scrypt", "-passout", "pass:x"],
        input=store.unlock("web", PASSPHRASE).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        capture_output=True,
        check=True,
    ).stdout
    (home / "web.key").write_bytes(changed + strong[strong.index(b"-----BEGIN PUBLIC") :])
    with pytest.raises(KeyTooWeakError, match=r"scrypt N=16384 r=8 p=1 \(16 MiB\), expected at least 64 MiB"):
        store.unlock("web", "x")


def test_of_two_processes_that_generate_one_name_one_succeeds(home: Path) -> None:
    children = {
        passphrase: subprocess.Popen(
            [sys.executable, "-c", GENERATE, home, passphrase],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for passphrase in ("first", "second")
    }
    for child in children.values():
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children.values():
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    said = {passphrase: child.communicate()[0].strip() for passphrase, child in children.items()}
    winner = next(passphrase for passphrase, outcome in said.items() if outcome != "exists")
    store = KeyStore(home)
    assert sorted(said.values(), key=len) == ["exists", store.public_key("web").keyid]
    assert public_half(store.unlock("web", winner)).keyid == said[winner]
