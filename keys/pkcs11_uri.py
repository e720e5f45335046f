"""Owns the URI of a key on a token: text ⇄ parsed attributes. Pure; never holds a PIN.

    pkcs11:token=T;object=O[;id=%01][;serial=S][;manufacturer=M][;model=P]
    [?module-path=FILE | module-name=NAME][&pin-source=FILE]

Source: RFC 7512. ``type=private``, which other tools print, says nothing new and is dropped. Attributes that name
no key of a token (``library-…``, ``slot-…``) are refused, and so is ``pin-value``: a URI is an argument,
and is kept in a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from keys.errors import KeyInputError

SCHEME: Final = "pkcs11:"
_MAX_CHARACTERS = 2048
_PATH = ("token", "manufacturer", "serial", "model", "object", "id")
_ANY_KEY = "type=private"
_QUERY = ("module-path", "module-name", "pin-source")
# RFC 7512 §2.3: what may stand unescaped in a value; quote_from_bytes leaves letters, digits and ``_.-~`` alone.
_PATH_SAFE = ":[]@!$'()*+,=&"
_QUERY_SAFE = ":[]@!$'()*+,=/?|"
_ESCAPES = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Uri:
    """Which key, on which token, behind which module; what is None was not said. ``str()`` is canonical."""

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    object: str | None = None
    id: bytes | None = None
    module_path: str | None = None
    module_name: str | None = None
    pin_source: str | None = None

    def __str__(self) -> str:
        path = [f"{name}={quoted}" for name in _PATH if (quoted := self._quoted(name, _PATH_SAFE)) is not None]
        query = [f"{name}={quoted}" for name in _QUERY if (quoted := self._quoted(name, _QUERY_SAFE)) is not None]
        return f"{SCHEME}{';'.join(path)}{'?' if query else ''}{'&'.join(query)}"

    def _quoted(self, name: str, safe: str) -> str | None:
        value = getattr(self, name.replace("-", "_"))
        if isinstance(value, bytes):
            return "".join(f"%{byte:02X}" for byte in value)
        return None if value is None else quote_from_bytes(value.encode("utf-8"), safe=safe)

    @property
    def where(self) -> str:
        """The token, as messages name it."""
        named = self.token or self.serial or self.model or self.manufacturer
        return f"token {named}" if named else "the token"


def parse_pkcs11_uri(untrusted_text: str) -> Pkcs11Uri:
    """Return the parts of ``untrusted_text``; no message repeats more than the names of its attributes.

    Raises:
        KeyInputError: not of this form, an attribute twice, an attribute that is not supported, or a PIN.
    """
    if not untrusted_text.startswith(SCHEME) or len(untrusted_text) > _MAX_CHARACTERS:
        raise KeyInputError("not the URI of a key on a token: expected pkcs11:token=T;object=O")
    path, _, query = untrusted_text.removeprefix(SCHEME).partition("?")
    found: dict[str, bytes] = {}
    for known, parts in ((_PATH, path.split(";")), (_QUERY, query.split("&"))):
        for part in filter(lambda each: each not in ("", _ANY_KEY), parts):
            name, equals, value = part.partition("=")
            _check_attribute(name, equals, known, found)
            if _ESCAPES.search(value) or not value:
                raise KeyInputError(f"pkcs11 URI: {name} is empty or has a stray '%'")
            if _CONTROL.search(value):
                raise KeyInputError(f"pkcs11 URI: {name} has control characters")
            found[name] = unquote_to_bytes(value)
    uri = Pkcs11Uri(**{name.replace("-", "_"): _value(name, value) for name, value in found.items()})  # type: ignore[arg-type]
    if all(getattr(uri, field.name) is None for field in fields(uri)):
        raise KeyInputError("pkcs11 URI names nothing: expected pkcs11:token=T;object=O")
    if len(str(uri)) > _MAX_CHARACTERS:
        raise KeyInputError(f"pkcs11 URI is too long: expected at most {_MAX_CHARACTERS} characters as it is kept")
    if uri.module_path is not None and uri.module_name is not None:
        raise KeyInputError("pkcs11 URI: expected module-path or module-name, got both")
    return uri


def _check_attribute(name: str, equals: str, known: tuple[str, ...], found: dict[str, bytes]) -> None:
    if name == "pin-value":
        raise KeyInputError(
            "pkcs11 URI: pin-value is refused: a secret is never an argument",
            hint="type it when asked, set TRUST_PIN, or name a file that holds it: pin-source=FILE",
        )
    if not equals or name not in known:
        shown = name[:40] if re.fullmatch(r"[a-z-]+", name) else "something else"
        raise KeyInputError(f"pkcs11 URI: expected {', '.join(known)}, got {shown}")
    if name in found:
        raise KeyInputError(f"pkcs11 URI: {name} is said twice")


def _value(name: str, value: bytes) -> str | bytes:
    if name == "id":
        return value
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as err:
        raise KeyInputError(f"pkcs11 URI: {name} is not UTF-8") from err
    if _CONTROL.search(text):
        raise KeyInputError(f"pkcs11 URI: {name} has control characters")
    if name == "pin-source":
        text = text.removeprefix("file://") if text.startswith("file:///") else text.removeprefix("file:")
        if not text or text.startswith("|") or ":" in text.partition("/")[0]:
            raise KeyInputError("pkcs11 URI: pin-source: expected a file, got a program or another kind of URI")
    return text
