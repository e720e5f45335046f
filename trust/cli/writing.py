"""Owns edits inside a policy file: floors of one collection, and the local deny list. Pure: text to text.

The file is written anew from its values, so that a comment in it is lost; the hint of each command says so.
"""

from __future__ import annotations

import re
import sys

import tomli_w

from trust.digest import parse_digest
from trust.errors import InputError
from trust.policy import Stanza
from trust.policy_document import parse_policy

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KEY_ID = re.compile(r"[0-9a-f]{64}")


def pinned_text(text: str, stanza: Stanza) -> str:
    """Return the policy ``text`` in which the collection of ``stanza`` has its floors."""
    document = tomllib.loads(text)
    for entry in document["collection"]:
        if entry["name"] == str(stanza.collection):
            entry["floors"] = dict(stanza.floors)
    return tomli_w.dumps(document)


def denied_text(text: str, subject: str) -> str:
    """Return the policy ``text`` in which ``subject``, a digest or a key id, is denied; unchanged if it was.

    Raises:
        InputError: ``subject`` is neither, or the text is no policy.
    """
    parse_policy(text, source="policy")
    if _KEY_ID.fullmatch(subject):
        kind = "keys"
    elif ":" in subject:
        kind, subject = "digests", str(parse_digest(subject))
    else:
        raise InputError(f"expected sha256:<64 hex> or a key id of 64 hex, got {subject[:80]!r}")
    document = tomllib.loads(text)
    denied = document.setdefault("deny", {}).setdefault(kind, [])
    if subject in denied:
        return text
    denied.append(subject)
    return tomli_w.dumps(document)
