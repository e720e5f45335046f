"""Owns what can be known of the stored keys without a passphrase: names and public halves.

Imports the standard library alone: listing keys must not wait for cryptography. A public half is what the file
claims; that the private half agrees is known once it was opened (``encrypted_file``).
"""

from __future__ import annotations

from pathlib import Path

from keys.directory import KeyDirectory
from keys.errors import KeysError
from keys.key_alias import KeyAlias, parse_entry, place_of
from keys.key_file import KeyFile
from keys.public_key import PublicKey


class KeyListing:
    """The keys in ``directory``, which need not exist; ``owner_uid`` must own it, default: the effective user.

    Every method raises ``KeysUnavailableError`` where the operating system refuses, and ``KeyExposedError``
    where the directory or a file is open to others.
    """

    def __init__(self, directory: Path, *, owner_uid: int | None = None) -> None:
        self._files = KeyDirectory(directory, owner_uid=owner_uid)

    @property
    def directory(self) -> Path:
        """Where the key files are."""
        return self._files.path

    def names(self) -> list[str]:
        """Return the names of all keys, sorted."""
        return self._files.names()

    def entry(self, name: str) -> KeyFile | KeyAlias:
        """Return what is stored as ``name``: an encrypted key, or the alias of one that lives elsewhere.

        Raises:
            KeyInputError, KeyMissingError: no such name.
            KeyDamagedError: see ``key_file`` and ``key_alias``.
        """
        return parse_entry(self._files.read(name), where=str(self._files.file(name)))

    def public_key(self, name: str) -> PublicKey:
        """Return the public half of the key ``name``.

        Raises:
            KeyInputError, KeyMissingError, KeyDamagedError: as ``entry``.
        """
        return self.entry(name).public

    def uri(self, name: str) -> str:
        """Return where the private half of ``name`` lives.

        Raises:
            KeyInputError, KeyMissingError, KeyDamagedError: as ``entry``.
        """
        entry = self.entry(name)
        return entry.uri if isinstance(entry, KeyAlias) else f"file:{name}"

    def place(self, name: str) -> str:
        """Return where the private half of ``name`` lives, so that two in one place are seen to be.

        Raises:
            KeyInputError, KeyMissingError, KeyDamagedError: as ``entry``.
        """
        entry = self.entry(name)
        return place_of(entry.uri) if isinstance(entry, KeyAlias) else f"files in {self.directory}"

    def changed_at(self, name: str) -> float:
        """Return when the file of ``name`` was last written (seconds since 1970): made, or its passphrase changed.

        Raises:
            KeyInputError, KeyMissingError: no such name.
        """
        return self._files.changed_at(name)

    def find(self, keyid: str) -> str | None:
        """Return the first name whose key id is ``keyid`` (64 hex), or None if no key has it.

        Raises:
            KeysError: no readable key has it, but one could not be read, which may be the one.
        """
        unreadable: KeysError | None = None
        for name in self.names():
            public = self._public_or_error(name)
            if isinstance(public, KeysError):
                unreadable = unreadable or public
            elif public.keyid == keyid:
                return name
        if unreadable is not None:
            raise unreadable
        return None

    def _public_or_error(self, name: str) -> PublicKey | KeysError:
        try:
            return self.public_key(name)
        except KeysError as err:
            return err
