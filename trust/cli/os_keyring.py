"""Owns the reading of passphrases from the desktop's keyring (Secret Service, KWallet, macOS), by an extra.

Only read: ``keyring set content-trust NAME`` puts one there. Asked only where ``TRUST_KEYRING`` says so: a keyring
gives to whatever runs as its user, which a prompt does not.
"""

from __future__ import annotations

from keys.late_import import late_import
from trust.errors import InputError

SERVICE = "content-trust"


def passphrase_in_keyring(name: str) -> str | None:
    """Return the passphrase of key ``name``; None where the keyring has none.

    Raises:
        InputError: there is no keyring, or it does not open.
    """
    try:
        keyring = late_import("keyring")
    except ImportError as err:
        raise InputError(
            "TRUST_KEYRING is set, and the keyring library is not installed",
            hint="pip install 'content-trust[keyring]', or unset it",
        ) from err
    try:
        found = keyring.get_password(SERVICE, name)
    except Exception as err:  # its backends raise what they like
        raise InputError(
            f"the keyring gave no passphrase for key {name}: {str(err) or type(err).__name__}",
            hint="unlock it, or unset TRUST_KEYRING",
        ) from err
    return None if found is None else str(found)
