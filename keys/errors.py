"""The errors of the package: one class for each thing a caller would do differently.

KeysError
├── KeyInputError          mend what was given: name, type, URI, passphrase, file to import
├── WrongPassphraseError   ask again
│   └── WrongPinError      ask again, but rarely: a token counts, and locks itself
├── KeyDamagedError        the file is damaged or hostile: restore it from a backup
│   └── KeyTooWeakError    sound, but encrypted below the floor: import it, which encrypts it anew
├── KeyExposedError        others can read or replace it: take their access away, consider a new key
├── KeyMissingError        no key has this name: choose another, or make it
├── KeyExistsError         the name is taken: choose another
├── KeyChangedError        another process was first, nothing was written: repeat
└── KeysUnavailableError   disk full, no permission, no memory: mend the machine, repeat
    └── KeyElsewhereError  the token, KMS or Vault that has the key does not answer, or not as it should
        └── TokenUnavailableError  no module, no token, locked, or pulled out
"""

from __future__ import annotations


class KeysError(Exception):
    """Something failed; ``str()`` is one line that says what, what was expected and what came.

    ``hint`` is the safe next step, without the word "hint", or None. Neither ever holds a secret.
    ``exit_code`` is what a command ends with that fails so.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class KeyInputError(KeysError):
    """What was given is malformed or not supported: mend it and repeat."""


class WrongPassphraseError(KeysError):
    """The passphrase does not open the key: ask again."""


class WrongPinError(WrongPassphraseError):
    """The token refused the PIN, and counts; it is never tried again by itself."""


class KeyDamagedError(KeysError):
    """The key file is not one of ours, is damaged, or asks for absurd resources: it is not used."""

    exit_code = 3


class KeyTooWeakError(KeyDamagedError):
    """The key file is sound, but a thief could try passphrases too cheaply: it is not used."""


class KeyExposedError(KeysError):
    """Somebody else can read, replace or owns the key file or its directory: it is not used."""

    exit_code = 3


class KeyMissingError(KeysError):
    """No key has this name."""


class KeyExistsError(KeysError):
    """A key of this name exists; it was not touched."""


class KeyChangedError(KeysError):
    """The key changed while we worked on it; nothing was written."""

    exit_code = 4


class KeysUnavailableError(KeysError):
    """Disk, permissions or memory did not allow it; the keys are as they were, unless the message says more."""

    exit_code = 3


class KeyElsewhereError(KeysUnavailableError):
    """Where the private key lives, no (right) signature was made; nothing here was changed."""


class TokenUnavailableError(KeyElsewhereError):
    """A token cannot be used now: its module, itself, or its lock."""
