"""A legitimate world: one key of each type, encrypted at full cost once for the whole run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keys.directory import KeyDirectory
from keys.encrypted_file import encrypt, generate_private_key
from keys.public_key import KeyType
from keys.store import KeyStore

PASSPHRASE = "correct horse"


def _make(key_type: KeyType) -> bytes:
    return encrypt(generate_private_key(key_type, random=os.urandom), PASSPHRASE, random=os.urandom)


@pytest.fixture(scope="session")
def ed25519_file() -> bytes:
    """Give a key file that PASSPHRASE opens."""
    return _make("ed25519")


@pytest.fixture(scope="session")
def p256_file() -> bytes:
    """Give a key file that PASSPHRASE opens."""
    return _make("ecdsa-p256")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give the path of a key directory that nobody made yet."""
    return tmp_path / "home" / "keys"


@pytest.fixture
def store(home: Path, ed25519_file: bytes, p256_file: bytes) -> KeyStore:
    """Give a store that holds ``web`` (ed25519) and ``root`` (ecdsa-p256)."""
    files = KeyDirectory(home)
    files.create("web", ed25519_file, random=os.urandom)
    files.create("root", p256_file, random=os.urandom)
    return KeyStore(home)
