"""From the name or URI of a key to a signer, and to nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keys.errors import KeyDamagedError, KeyInputError, KeyMissingError, KeysUnavailableError, WrongPassphraseError
from keys.signers import Sources, open_signer, public_key, tuf_key
from keys.store import KeyStore

PASSPHRASE = "correct horse"  # as in conftest.py


def sources(passphrase: Callable[[str], str]) -> Sources:
    return Sources(passphrase=passphrase)


def never(name: str) -> str:
    raise AssertionError(f"asked for the passphrase of {name}")


@pytest.mark.parametrize("key", ["web", "file:web", "root", "file:root"])
def test_signature_verifies_under_the_stored_public_key(store: KeyStore, key: str) -> None:
    asked: list[str] = []

    def answer(name: str) -> str:
        asked.append(name)
        return PASSPHRASE

    signer = open_signer(key, store=store, sources=sources(answer))
    name = key.removeprefix("file:")
    assert asked == [name]
    assert signer.public_key == tuf_key(store.public_key(name))
    signer.public_key.verify_signature(signer.sign(b"payload"), b"payload")


def test_wrong_passphrase_opens_no_signer(store: KeyStore) -> None:
    with pytest.raises(WrongPassphraseError):
        open_signer("web", store=store, sources=sources(lambda _: "wrong"))


def test_nobody_is_asked_for_a_missing_or_damaged_key(store: KeyStore, home: Path) -> None:
    with pytest.raises(KeyMissingError):
        open_signer("other", store=store, sources=sources(never))
    (home / "web.key").write_bytes(b"")
    with pytest.raises(KeyDamagedError):
        open_signer("web", store=store, sources=sources(never))


@pytest.mark.parametrize("scheme", ["pkcs11", "awskms", "gcpkms", "azurekms", "hv", "envvar"])
def test_uri_that_cannot_be_parsed_is_not_repeated(store: KeyStore, scheme: str) -> None:
    for attempt in (
        lambda: open_signer(f"{scheme}:token=T?pin-value=1234 ", store=store, sources=sources(never)),
        lambda: public_key(f"{scheme}:token=T?pin-value=1234", listing=store),
    ):
        with pytest.raises(KeyInputError) as caught:
            attempt()
        assert "1234" not in f"{caught.value} {caught.value.hint}"


def test_unknown_scheme_is_refused(store: KeyStore) -> None:
    for key in ("ftp:web", "FILE:web", "File:web"):
        with pytest.raises(KeyInputError, match="unknown kind of key"):
            open_signer(key, store=store, sources=sources(never))


def test_paths_are_no_names(store: KeyStore) -> None:
    for key in ("", "../web", "file:", "file:../web", "file:///etc/passwd", "./web", "web\n"):
        with pytest.raises(KeyInputError, match="not a key name"):
            open_signer(key, store=store, sources=sources(never))


def test_public_half_comes_from_a_name_a_uri_or_a_file(store: KeyStore, tmp_path: Path) -> None:
    expected = store.public_key("root")
    file = tmp_path / "root.pem"
    file.write_bytes(store.export("root", private=False))
    assert public_key("root", listing=store) == expected
    assert public_key("file:root", listing=store) == expected
    assert public_key(str(file), listing=store) == expected


def test_file_that_is_no_public_key_is_refused(store: KeyStore, home: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyInputError, match="expected one PUBLIC KEY block"):
        public_key(str(home / "web.key"), listing=store)
    with pytest.raises(KeyMissingError, match="no public key file"):
        public_key(str(tmp_path / "none.pem"), listing=store)
    with pytest.raises(KeysUnavailableError, match="Is a directory"):
        public_key(f"{tmp_path}/", listing=store)
    (tmp_path / "big.pem").write_bytes(b"\n" * 70000)
    with pytest.raises(KeyInputError, match="too large"):
        public_key(str(tmp_path / "big.pem"), listing=store)


def test_file_without_a_slash_is_told_how_to_be_a_file(store: KeyStore) -> None:
    with pytest.raises(KeyMissingError) as caught:
        public_key("alice.pub", listing=store)
    assert caught.value.hint == "a public key file is given with a slash: ./alice.pub"
