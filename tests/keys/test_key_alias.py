"""Aliases of keys that live elsewhere: their file's shape, and their place among the other keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.encrypted_file import generate_private_key, public_half
from keys.errors import KeyDamagedError, KeyExistsError, KeyInputError
from keys.key_alias import KeyAlias, parse_entry
from keys.public_key import KEY_TYPES, KeyType
from keys.store import KeyStore

URI = "pkcs11:token=T;object=root"


def alias(key_type: KeyType = "ed25519", uri: str = URI) -> KeyAlias:
    return KeyAlias(uri=uri, public=public_half(generate_private_key(key_type, random=os.urandom)))


@given(st.sampled_from(KEY_TYPES), st.text("abc:;=%?/&1", min_size=1, max_size=40))
def test_alias_prints_back(key_type: KeyType, rest: str) -> None:
    made = alias(key_type, f"pkcs11:{rest}")
    assert parse_entry(bytes(made), where="f") == made


@given(st.binary(max_size=80), st.integers(0, 200))
def test_damaged_alias_is_refused(noise: bytes, place: int) -> None:
    data = bytes(ALIAS)
    damaged = data[:place] + noise + data[place + len(noise) :]
    try:
        found = parse_entry(damaged, where="f")
    except KeyDamagedError:
        return
    assert bytes(found) == damaged


ALIAS = alias()


@pytest.mark.parametrize(
    "uri", ["file:web", "ftp:x", "pkcs11:", "pkcs11:a b", "pkcs11:a\nb", "awskms:ä", "hv:" + "x" * 3000]
)
def test_other_uris_make_no_alias(uri: str) -> None:
    with pytest.raises(KeyInputError):
        KeyAlias(uri=uri, public=ALIAS.public)


def test_truncated_alias_is_refused() -> None:
    for size in range(5, len(bytes(ALIAS))):
        with pytest.raises(KeyDamagedError):
            parse_entry(bytes(ALIAS)[:size], where="f")


def test_alias_is_a_key_among_others_but_has_no_private_half_here(store: KeyStore, home: Path) -> None:
    store.add_alias("token", ALIAS)
    assert store.names() == ["root", "token", "web"]
    assert store.find(ALIAS.public.keyid) == "token"
    assert (store.uri("token"), store.uri("web")) == (URI, "file:web")
    assert store.export("token", private=False) == ALIAS.public.pem
    assert (home / "token.key").stat().st_mode & 0o777 == 0o600
    for refused in (
        lambda: store.unlock("token", "x"),
        lambda: store.change_passphrase("token", "x", "y"),
        lambda: store.export("token", private=True),
    ):
        with pytest.raises(KeyInputError, match="its private half is at pkcs11:"):
            refused()
    with pytest.raises(KeyExistsError):
        store.add_alias("web", ALIAS)
    store.remove("token")
    assert store.names() == ["root", "web"]
