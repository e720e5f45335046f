"""Owns what a registry's refusal means to its user: its status and ``errors`` in one line, with a next step."""

from __future__ import annotations

import json

from trust.oci.errors import RegistryAnswerError

MESSAGE_MAX_LENGTH = 200
_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY, _FAULT = 401, 403, 429, 500


def answer_error(host: str, doing: str, status: int, untrusted_body: bytes) -> RegistryAnswerError:
    """Return the error for an answer of ``status`` to ``doing`` (``"read the manifest of acme/web:1.4"``)."""
    errors = _errors(untrusted_body)
    told = "; ".join(f"{code}: {message}" if message else code for code, message in errors)
    said = f" ({_one_line(told)})" if told else ""
    return RegistryAnswerError(
        f"{host} could not {doing}: expected success, got {status}{said}",
        status=status,
        codes=tuple(code for code, _ in errors),
        hint=_hint(host, status),
    )


def _errors(untrusted_body: bytes) -> list[tuple[str, str]]:
    try:
        listed = json.loads(untrusted_body)["errors"]
        return [(_one_line(str(e.get("code", ""))), str(e.get("message") or "")) for e in listed[:3]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def _one_line(text: str) -> str:
    """Return ``text`` without what could end a line or steer a terminal, cut to ``MESSAGE_MAX_LENGTH``."""
    plain = "".join(c if c.isprintable() else " " for c in text[: 4 * MESSAGE_MAX_LENGTH])
    return " ".join(plain.split())[:MESSAGE_MAX_LENGTH]


def _hint(host: str, status: int) -> str | None:
    if status == _UNAUTHORIZED:
        return f"trust login {host}"
    if status == _FORBIDDEN:
        return f"trust login {host}, as a user who may do this"
    if status == _TOO_MANY:
        return f"wait, or trust login {host}: registries allow more to who is logged in"
    return "try again later" if status >= _FAULT else None
