"""Owns the journeys of a stored private key: made, imported, opened, given a new passphrase, exported, removed.

Joins the encryption (``encrypted_file``, pure) with the disk (``directory``, knows no key). Each journey derives
before it takes the directory's lock, so that writers wait for milliseconds, not for scrypt. A key is written
only after its file was seen to open again, and returned only after it was read back.
"""

from __future__ import annotations

import os

from keys.encrypted_file import PrivateKey, Random, decrypt, encrypt, generate_private_key, public_half
from keys.errors import KeyInputError
from keys.foreign_key import read_foreign_key
from keys.key_alias import KeyAlias, parse_entry
from keys.listing import KeyListing
from keys.name import check_name
from keys.public_key import KEY_TYPES, KeyType, PublicKey


class KeyStore(KeyListing):
    """The keys in a directory, with their private halves; see ``KeyListing`` for its arguments and errors.

    Every passphrase is 1 to 1,023 bytes of UTF-8, ``KeyInputError`` otherwise. Each one that is derived from
    costs 64 MiB and about 0.2 s.
    """

    def generate(self, name: str, key_type: KeyType, passphrase: str, *, random: Random = os.urandom) -> PublicKey:
        """Return the public half of the new key ``name``, which is on the disk.

        Raises:
            KeyInputError: name, type or passphrase.
            KeyExistsError: the name is taken, maybe since a moment ago; that key was not touched.
        """
        self.check_free(name)
        if key_type not in KEY_TYPES:
            raise KeyInputError(f"unknown key type: expected {' or '.join(KEY_TYPES)}, got {key_type[:80]!r}")
        return self._add(name, generate_private_key(key_type, random=random), passphrase, random=random)

    def import_pem(
        self,
        name: str,
        untrusted_data: bytes,
        passphrase_in: str | None,
        passphrase: str,
        *,
        random: Random = os.urandom,
    ) -> PublicKey:
        """Return the public half of the key in ``untrusted_data``, now stored as ``name`` under ``passphrase``.

        ``passphrase_in`` opens the data, if they are encrypted (``foreign_key.needs_passphrase``).

        Raises:
            KeyInputError: name, data or passphrase.
            WrongPassphraseError: ``passphrase_in`` does not open the data.
            KeyExistsError: the name is taken.
        """
        self.check_free(name)
        private_key = read_foreign_key(untrusted_data, passphrase_in, where="the key to import")
        return self._add(name, private_key, passphrase, random=random)

    def add_alias(self, name: str, alias: KeyAlias, *, random: Random = os.urandom) -> None:
        """Make ``name`` stand for a key that lives elsewhere.

        Raises:
            KeyInputError: not a key name.
            KeyExistsError: the name is taken.
        """
        self.check_free(name)
        self._files.create(name, bytes(alias), random=random)

    def unlock(self, name: str, passphrase: str) -> PrivateKey:
        """Return the private key ``name``; threads unlock side by side.

        Raises:
            KeyInputError, KeyMissingError: no such name.
            WrongPassphraseError: ask again.
            KeyDamagedError, KeyTooWeakError: see ``encrypted_file.decrypt``.
        """
        return decrypt(self.require_file(name), passphrase, where=str(self._files.file(name)))

    def change_passphrase(
        self, name: str, passphrase: str, new_passphrase: str, *, random: Random = os.urandom
    ) -> None:
        """Make ``new_passphrase`` the one that opens the key ``name``.

        Copies and backups of the old file still open with the old one.

        Raises:
            KeyInputError, KeyMissingError, WrongPassphraseError, KeyDamagedError: as ``unlock``.
            KeyChangedError: another process changed it meanwhile; nothing was written.
        """
        old = self.require_file(name)
        private_key = decrypt(old, passphrase, where=str(self._files.file(name)))
        new = encrypt(private_key, new_passphrase, random=random)
        self._files.replace(name, old=old, new=new, random=random)

    def export(self, name: str, *, private: bool) -> bytes:
        """Return the key ``name`` as PEM: its public half, or the whole file, still encrypted.

        The file opens with its passphrase wherever it is imported; a plain private key never leaves.

        Raises:
            KeyInputError, KeyMissingError, KeyDamagedError: as ``public_key``.
        """
        public = self.public_key(name)
        return self.require_file(name) if private else public.pem

    def remove(self, name: str) -> None:
        """Make the key ``name`` be gone; its bytes may stay on the medium, still encrypted.

        Of an alias, only the alias: the key stays where it lives.

        Raises:
            KeyInputError, KeyMissingError: no such name.
        """
        self._files.remove(name)

    def check_free(self, name: str) -> None:
        """Return if no key has this name yet.

        Spares the user a passphrase, and a token a key; what decides is ``KeyDirectory.create``.

        Raises:
            KeyInputError: not a key name.
            KeyExistsError: the name is taken.
        """
        if check_name(name) in self.names():
            raise self._files.taken(name)

    def require_file(self, name: str) -> bytes:
        """Return the bytes of the key ``name``, whose private half is in them.

        Raises:
            KeyInputError, KeyMissingError: no such name, or it is an alias.
            KeyDamagedError: see ``key_file``.
        """
        data = self._files.read(name)
        entry = parse_entry(data, where=str(self._files.file(name)))
        if isinstance(entry, KeyAlias):
            raise KeyInputError(
                f"key {name} is not in a file: its private half is at {entry.uri}",
                hint="its passphrase or PIN is changed there, with its own tool",
            )
        return data

    def _add(self, name: str, private_key: PrivateKey, passphrase: str, *, random: Random) -> PublicKey:
        data = encrypt(private_key, passphrase, random=random)
        self._files.create(name, data, random=random)
        return public_half(private_key)
