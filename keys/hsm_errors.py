"""Owns what a token's failures mean to its user: PKCS#11 return values → our errors, one line each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from keys.errors import KeyInputError, KeysUnavailableError, TokenUnavailableError, WrongPinError
from keys.late_import import late_import
from keys.pkcs11_uri import Pkcs11Uri

_WRONG_PIN = ("PinIncorrect", "PinInvalid", "PinLenRange")
_GONE = (
    "DeviceError", "DeviceRemoved", "KeyHandleInvalid", "ObjectHandleInvalid", "SessionClosed",
    "SessionHandleInvalid", "SlotIDInvalid", "TokenNotPresent", "TokenNotRecognised", "UserNotLoggedIn",
)  # fmt: skip
_CANNOT = (
    "AttributeTypeInvalid", "AttributeValueInvalid", "DomainParamsInvalid", "FunctionNotSupported", "KeySizeRange",
    "KeyTypeInconsistent", "MechanismInvalid", "MechanismParamInvalid", "TemplateInconsistent",
)  # fmt: skip
_STATES = {
    "PinLocked": ("is locked: too many wrong PINs", "its security officer can unlock it; no key on it was lost"),
    "PinExpired": ("wants a new PIN", "change it with the token's own tool"),
    "UserPinNotInitialized": ("has no PIN yet", "set one with the token's own tool"),
    "TokenWriteProtected": ("is write-protected", None),
    "SessionReadOnly": ("is write-protected", None),
    "DeviceMemory": ("is full", "remove what it no longer needs with its own tool"),
}


def library() -> Any:  # noqa: ANN401 - a module, dear to import
    """Return python-pkcs11.

    Raises:
        KeysUnavailableError: it is not installed.
    """
    try:
        return late_import("pkcs11")
    except ImportError as err:
        raise KeysUnavailableError(
            f"python-pkcs11 cannot be imported: {err}", hint="install content-trust anew: it belongs to it"
        ) from err


@contextlib.contextmanager
def reporting(uri: Pkcs11Uri) -> Iterator[None]:
    """Make what python-pkcs11 raises inside one of our errors; its own text is empty more often than not."""
    try:
        yield
    except library().exceptions.PKCS11Error as err:
        names = {each.__name__ for each in type(err).__mro__}
        raise _meaning(uri, names, type(err).__name__) from err


def _meaning(uri: Pkcs11Uri, names: set[str], name: str) -> Exception:
    if names.intersection(_WRONG_PIN):
        return WrongPinError(
            f"{uri.where} refused the PIN", hint="be sure before the next try: a token locks itself after a few"
        )
    for state, (text, hint) in _STATES.items():
        if state in names:
            return TokenUnavailableError(f"{uri.where} {text}", hint=hint)
    if names.intersection(_GONE):
        return TokenUnavailableError(
            f"{uri.where} does not answer any more ({name})", hint="plug it in again and repeat the command"
        )
    if names.intersection(_CANNOT):
        return KeyInputError(f"{uri.where} cannot do this kind of key ({name})", hint="try --type ecdsa-p256")
    return TokenUnavailableError(f"{uri.where} failed ({name})", hint="its module's own log may say more")
