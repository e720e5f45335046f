"""Owns ``WWW-Authenticate``: what a registry says it wants, read strictly.

Pure: text in, values out. Source: RFC 9110 §11.6.1; distribution "Token Authentication Specification".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from trust.errors import UnreachableError
from trust.value import dataclass

CHALLENGE_MAX_LENGTH = 8192

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's word for a word
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+|$)", re.ASCII)
_PARAMETER = re.compile(rf"\s*({_TOKEN})\s*=\s*(?:({_TOKEN})|\"((?:[^\"\\]|\\.)*)\")\s*(?:,|$)", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way in: ``scheme`` in lower case (``basic``, ``bearer``, …) and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(untrusted_values: Iterable[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all ``WWW-Authenticate`` fields of one answer, in their order.

    Raises:
        UnreachableError: malformed, too long, or a parameter that stands twice.
    """
    found: list[Challenge] = []
    for value in untrusted_values:
        if len(value) > CHALLENGE_MAX_LENGTH:
            raise UnreachableError(f"login challenge is too long: expected at most {CHALLENGE_MAX_LENGTH} bytes")
        position = 0
        while position < len(value):
            scheme = _SCHEME.match(value, position)
            if scheme is None:
                raise _malformed(value)
            position = scheme.end()
            parameters: dict[str, str] = {}
            while (parameter := _PARAMETER.match(value, position)) is not None:
                name = parameter[1].lower()
                if name in parameters:
                    raise _malformed(value)
                quoted = parameter[3]
                parameters[name] = parameter[2] if quoted is None else _ESCAPED.sub(r"\1", quoted)
                position = parameter.end()
            found.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return tuple(found)


def _malformed(value: str) -> UnreachableError:
    return UnreachableError(f'login challenge is malformed: expected SCHEME NAME="VALUE", …, got {value[:120]!r}')
