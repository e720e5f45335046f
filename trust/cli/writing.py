"""Owns edits inside a policy file: floors of one collection, and the local deny list. Pure: text to text.

What is not edited, comments too, stays as its owner wrote it.
"""

from __future__ import annotations

import re

import tomlkit
from tomlkit.items import Array

from trust.digest import parse_digest
from trust.errors import InputError
from trust.policy import Stanza
from trust.policy_document import parse_policy

_KEY_ID = re.compile(r"[0-9a-f]{64}")


def pinned_text(text: str, stanza: Stanza) -> str:
    """Return the policy ``text`` in which the collection of ``stanza`` has its floors.

    Raises:
        InputError: the text does not speak of the collection.
    """
    document = tomlkit.parse(text)
    for entry in document.get("collection", []):
        if entry["name"] == str(stanza.collection):
            floors = tomlkit.inline_table()
            floors.update(stanza.floors)
            entry["floors"] = floors
            return tomlkit.dumps(document)
    raise InputError(f"this policy file does not speak of {stanza.collection}")


def denied_text(text: str, subject: str, *, source: str) -> str:
    """Return the policy ``text`` in which ``subject``, a digest or a key id, is denied; unchanged if it was.

    ``source`` names the text in messages.

    Raises:
        InputError: ``subject`` is neither, or the text is no policy.
    """
    parse_policy(text, source=source)
    if _KEY_ID.fullmatch(subject):
        kind = "keys"
    elif ":" in subject:
        kind, subject = "digests", str(parse_digest(subject))
    else:
        raise InputError(f"expected sha256:<64 hex> or a key id of 64 hex, got {subject[:80]!r}")
    document = tomlkit.parse(text)
    denied = document.get("deny", {}).get(kind, [])
    if subject in denied:
        return text
    if "deny" not in document:
        # Before the first table: a key after one would belong to it.
        table = tomlkit.inline_table()
        table[kind] = [subject]
        return _with_deny(text, table.as_string())
    if isinstance(denied, Array):
        denied.append(subject)
    else:
        document["deny"][kind] = [subject]
    return tomlkit.dumps(document)


def _with_deny(text: str, table: str) -> str:
    lines = text.splitlines(keepends=True)
    place = next((number for number, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    before = "".join(lines[:place])
    gap = "" if not before or before.endswith("\n") else "\n"
    return f"{before}{gap}deny = {table}\n\n{''.join(lines[place:])}"
