"""Owns how metadata becomes bytes: canonical JSON, over which roles are signed, and the file that holds it.

Canonical JSON is what securesystemslib's ``encode_canonical`` makes of a value, byte for byte: other clients
compute it anew before they believe a signature. orjson makes the same bytes many times quicker, unless it escapes:
then its output has a backslash. So

  1. orjson encodes the value, with sorted keys; what it refuses goes to step 3
  2. its bytes are taken if no backslash is in them and every value is of a type that both encode alike
  3. otherwise ``encode_canonical`` decides, and refuses floats and whatever else is no canonical JSON

orjson sorts keys by their UTF-8 bytes and Python by code point, which is one order. See ADR 0011.
"""

from __future__ import annotations

import gc
from typing import Any

import orjson
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Metadata, Signed
from tuf.api.serialization import SerializationError, SignedSerializer

from trust.errors import InputError

_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
# Exactly these: orjson writes floats, UUIDs and enumerations as well, and infinity as null.
_LEAVES = frozenset({str, int, bool, type(None)})
_ALIKE = _LEAVES | {dict, list, tuple}
_SHOWN = 120


def canonical_bytes(value: object) -> bytes:
    """Return ``value`` as canonical JSON in UTF-8, by the steps of this module.

    Raises:
        InputError: it has none: a float, a key that is no text, a lone surrogate, a depth without end.
    """
    quick = _quick(value)
    if quick is not None:
        return quick
    try:
        return (encode_canonical(value) or "").encode("utf-8")  # type: ignore[arg-type]  # it judges itself
    except (FormatError, AttributeError, TypeError, ValueError, RecursionError) as err:
        cause = str(err)[-_SHOWN:]  # it tells the whole document before it tells what is wrong with it
        raise InputError(f"value has no canonical JSON: {type(err).__name__}: {cause}") from err


def _quick(value: object) -> bytes | None:
    """Return the canonical JSON of ``value`` by orjson (steps 1 and 2), None where it might differ."""
    try:
        data = orjson.dumps(value, option=_OPTIONS)
    except TypeError:  # no text as a key, 2^64 and above, a surrogate, a type or a depth beyond it
        return None
    return None if b"\\" in data or not _is_alike(value) else data


def _is_alike(value: object) -> bool:
    """Tell whether every value in ``value`` is of a type that both encode alike.

    Level by level, and by the collector's own walk: a call for each value would take longer than the encoding. It
    ends, since orjson has refused what contains itself.
    """
    level: list[Any] = [value]
    while not (types := set(map(type, level))) <= _LEAVES:
        if not types <= _ALIKE:
            return False
        level = gc.get_referents(*level)  # of text and numbers there are none
    return True


class CanonicalSerializer(SignedSerializer):
    """What python-tuf's ``CanonicalJSONSerializer`` makes, the same bytes, quicker."""

    def serialize(self, signed_obj: Signed) -> bytes:
        """Return the bytes over which ``signed_obj`` is signed.

        Raises:
            SerializationError: it has no canonical JSON.
        """
        try:
            return canonical_bytes(signed_obj.to_dict())
        except (InputError, AttributeError, TypeError, ValueError) as err:
            raise SerializationError(f"role has no canonical JSON: {err}") from err


CANONICAL = CanonicalSerializer()


def signed_bytes(metadata: Metadata[Any]) -> bytes:
    """Return the bytes over which ``metadata`` is signed.

    Raises:
        SerializationError: it has no canonical JSON.
    """
    return CANONICAL.serialize(metadata.signed)


def metadata_bytes(metadata: Metadata[Any]) -> bytes:
    """Return the file of ``metadata``: compact JSON in UTF-8, sorted keys, signatures as they are.

    Nobody signs or compares these bytes but by their own hash, so they need not be canonical.

    Raises:
        SerializationError: it has no JSON.
    """
    try:
        return orjson.dumps(metadata.to_dict(), option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return metadata.to_bytes()  # numbers of any size
