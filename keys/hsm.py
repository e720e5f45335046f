"""Owns keys on PKCS#11 tokens: found, made there, used there. The private key never enters this process.

Our own signer, because securesystemslib's finds keys by a number alone, takes its module from one variable of the
environment, knows no Ed25519, and logs in anew for each signature. Each signature is verified before it is handed
on: a token that was swapped, or a key replaced on it, is noticed here and not by a consumer.

Sources: PKCS#11 2.40 (a login holds for all sessions of a process), RFC 7512, PKCS#11 3.0 §6.3 (Edwards curves).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from securesystemslib.signer import Signer

from keys.errors import KeyExistsError, KeyInputError, KeyMissingError, TokenUnavailableError
from keys.hsm_errors import library, reporting
from keys.pkcs11_module import module_path
from keys.pkcs11_uri import Pkcs11Uri
from keys.public_key import KeyType, PublicKey, public_key_of
from keys.verified_signer import VerifiedSigner, require_signature

if TYPE_CHECKING:
    import pkcs11

PinSource = Callable[[Pkcs11Uri], str]
"""Takes the URI of a key, returns the PIN of its token."""

Held = Any
"""A token, a session, an object on one: the library's own types know neither methods nor attributes of a key."""

# CKA_EC_PARAMS: the curve's OID, and for ed25519 also its name, which is all that some tokens know.
_CURVES: Final[dict[KeyType, tuple[bytes, ...]]] = {
    "ecdsa-p256": (bytes.fromhex("06082a8648ce3d030107"),),
    "ecdsa-p384": (bytes.fromhex("06052b81040022"),),
    "ed25519": (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519"),
}
_HASHES: Final[dict[str, str]] = {"ecdsa-sha2-nistp256": "sha256", "ecdsa-sha2-nistp384": "sha384"}
_TRIAL = b"content-trust: is this the key?"


class Hsm:
    """The tokens of this machine, each logged in to once; ``pin`` is asked only where a PIN is needed.

    Every method raises ``WrongPinError``, ``TokenUnavailableError`` and ``KeyInputError`` (no such kind of key on
    the token). One thread at a time talks to a token: modules are not told that there are several.
    """

    def __init__(self, *, environ: Mapping[str, str], pin: PinSource) -> None:
        self._environ = environ
        self._pin = pin
        self._sessions: dict[tuple[str, int, bool], pkcs11.Session] = {}
        self._refused: dict[tuple[str, int], Exception] = {}
        self._lock = threading.RLock()

    def generate(self, uri: Pkcs11Uri, key_type: KeyType) -> PublicKey:
        """Return the public half of a new key that was made on the token and cannot leave it.

        ``uri`` says its label and its id.

        Raises:
            KeyExistsError: the token has a key of this label; it was not touched.
        """
        if uri.object is None or uri.id is None:
            raise KeyInputError("pkcs11 URI: expected object=NAME and id=%01, the label and id of the new key")
        pkcs11 = library()
        with self._lock, reporting(uri):
            session = self._session(uri, rw=True)
            taken = _wanted(replace(uri, id=None))
            if list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, **taken})):
                raise KeyExistsError(
                    f"{uri.where} has a key {uri.object} already: it was not touched",
                    hint=f"use it: trust key import NAME '{replace(uri, id=None)}'",
                )
            public, private = _generated(session, uri, key_type)
            found = _public_half(public, key_type)
            require_signature(found, self._signed(private, found, _TRIAL, uri), _TRIAL, where=uri.where)
            return found

    def public_key(self, uri: Pkcs11Uri) -> PublicKey:
        """Return the public half of a key that is on the token, after a trial signature.

        Raises:
            KeyMissingError: the token has no such key, or does not tell its public half.
        """
        pkcs11 = library()
        with self._lock, reporting(uri):
            session = self._session(uri)
            private = _one(session, uri, pkcs11.ObjectClass.PRIVATE_KEY)
            # Halves share an id; their labels differ on PIV cards ("SIGN key", "SIGN pubkey").
            key_id = private[pkcs11.Attribute.ID]
            half = replace(uri, object=None, id=key_id) if key_id else uri
            public = _one(session, half, pkcs11.ObjectClass.PUBLIC_KEY)
            found = _public_half(public, _type_of(public))
            require_signature(found, self._signed(private, found, _TRIAL, uri), _TRIAL, where=uri.where)
            return found

    def signer(self, uri: Pkcs11Uri, public: PublicKey) -> Signer:
        """Return the signer of the key whose public half is ``public``, logged in.

        Raises:
            KeyMissingError: the token has no such key.
        """
        with self._lock, reporting(uri):
            private = _one(self._session(uri), uri, library().ObjectClass.PRIVATE_KEY)

        def sign(payload: bytes) -> bytes:
            with self._lock, reporting(uri):
                return self._signed(private, public, payload, uri)

        return VerifiedSigner(public, sign, where=uri.where)

    def _signed(self, private: Held, public: PublicKey, payload: bytes, uri: Pkcs11Uri) -> bytes:
        pkcs11 = library()
        # PIV's slot 9c, for one, wants the PIN for each signature: whoever gave it is asked again.
        again = {"pin": self._pin(uri)} if _is_true(private, pkcs11.Attribute.ALWAYS_AUTHENTICATE) else {}
        if public.key_type == "ed25519":
            return bytes(private.sign(payload, mechanism=pkcs11.Mechanism.EDDSA, **again))
        digest = hashlib.new(_HASHES[public.scheme], payload).digest()
        raw = private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA, **again)
        return bytes(pkcs11.util.ec.encode_ecdsa_signature(raw))

    def _session(self, uri: Pkcs11Uri, *, rw: bool = False) -> Held:
        pkcs11 = library()
        token = _token(uri, self._environ)
        place = (str(token.slot), token.slot.slot_id, rw)
        if place in self._sessions:
            return self._sessions[place]
        if place[:2] in self._refused:
            # The same PIN again would count again: two keys on one token, opened side by side, would lock it.
            raise self._refused[place[:2]]
        try:
            if token.flags & pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH:
                session = token.open(rw=rw, user_pin=pkcs11.PROTECTED_AUTH)
            else:
                session = token.open(rw=rw, user_pin=self._pin(uri))
        except (pkcs11.exceptions.PinIncorrect, pkcs11.exceptions.PinLocked) as err:
            self._refused[place[:2]] = err
            raise
        except pkcs11.exceptions.UserAlreadyLoggedIn:
            session = token.open(rw=rw)  # a login is the process's, not the session's
        self._sessions[place] = session
        return session


def _generated(session: pkcs11.Session, uri: Pkcs11Uri, key_type: KeyType) -> tuple[Held, Held]:
    pkcs11 = library()
    kind = pkcs11.KeyType.EC_EDWARDS if key_type == "ed25519" else pkcs11.KeyType.EC
    kept = {
        pkcs11.Attribute.SENSITIVE: True,
        pkcs11.Attribute.EXTRACTABLE: False,
        pkcs11.Attribute.PRIVATE: True,
    }
    failure: Exception | None = None
    for curve in _CURVES[key_type]:
        domain = session.create_domain_parameters(kind, {pkcs11.Attribute.EC_PARAMS: curve}, local=True)
        try:
            return domain.generate_keypair(
                id=uri.id,
                label=uri.object,
                store=True,
                capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
                private_template=kept,
            )
        except pkcs11.exceptions.PKCS11Error as err:
            failure = failure or err
    raise failure or AssertionError("a curve has a name")


def _token(uri: Pkcs11Uri, environ: Mapping[str, str]) -> Held:
    module = module_path(uri, environ=environ)
    pkcs11 = library()
    try:
        loaded = pkcs11.lib(str(module))
    except (pkcs11.exceptions.PKCS11Error, RuntimeError) as err:
        raise TokenUnavailableError(f"PKCS#11 module {module} does not load: {err}") from err
    wanted = {"label": uri.token, "serial": uri.serial, "manufacturer_id": uri.manufacturer, "model": uri.model}
    tokens = [
        token
        for token in loaded.get_tokens(token_flags=pkcs11.TokenFlag.TOKEN_INITIALIZED)
        if all(value is None or _text(getattr(token, name)) == value for name, value in wanted.items())
    ]
    if not tokens:
        raise TokenUnavailableError(f"{uri.where} is not there (module {module})", hint="plug it in and repeat")
    if len(tokens) > 1:
        raise KeyInputError(
            f"{uri.where}: {len(tokens)} tokens fit", hint="say which: serial=S beside token=T in the URI"
        )
    return tokens[0]


def _one(session: pkcs11.Session, uri: Pkcs11Uri, kind: pkcs11.ObjectClass) -> Held:
    found = list(session.get_objects({library().Attribute.CLASS: kind, **_wanted(uri)}))
    if len(found) == 1:
        return found[0]
    name = uri.object or (uri.id.hex() if uri.id else "at all")
    half = "private" if kind == library().ObjectClass.PRIVATE_KEY else "public"
    if not found:
        raise KeyMissingError(f"{uri.where} has no {half} key {name}")
    raise KeyInputError(
        f"{uri.where} has {len(found)} {half} keys {name}", hint="say which: id=%01 beside object=O"
    )


def _wanted(uri: Pkcs11Uri) -> dict[Any, str | bytes]:
    pkcs11 = library()
    wanted = {pkcs11.Attribute.LABEL: uri.object, pkcs11.Attribute.ID: uri.id}
    return {name: value for name, value in wanted.items() if value is not None}


def _type_of(public: Held) -> KeyType:
    pkcs11 = library()
    curve = public[pkcs11.Attribute.EC_PARAMS] if public.key_type in _kinds() else b""
    for key_type, names in _CURVES.items():
        if curve in names:
            return key_type
    raise KeyInputError(f"not a usable key: expected {' or '.join(_CURVES)}, got {public.key_type!s}")


def _kinds() -> tuple[Any, ...]:
    return library().KeyType.EC, library().KeyType.EC_EDWARDS


def _public_half(public: Held, key_type: KeyType) -> PublicKey:
    """Return the public half: CKA_EC_POINT holds the point in an OCTET STRING, of some tokens the bare point."""
    point = bytes(public[library().Attribute.EC_POINT])
    size = {"ed25519": 32, "ecdsa-p256": 65, "ecdsa-p384": 97}[key_type]
    return public_key_of(key_type, point[-size:] if len(point) in (size, size + 2) else point)


def _is_true(private: Held, attribute: Held) -> bool:
    try:
        return bool(private[attribute])
    except library().exceptions.PKCS11Error:
        return False  # a token that does not know the attribute does not ask again


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace").rstrip() if isinstance(value, bytes) else value.rstrip()
