"""Owns the writing of policy files: one stanza added, the rest untouched, the old file or the new one on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomli_w

from trust.errors import InputError, StateError
from trust.policy import Stanza
from trust.policy_document import parse_policy


def stanza_document(stanza: Stanza) -> dict[str, Any]:
    """Return ``stanza`` as the table of a policy file; defaults are left out."""
    document: dict[str, Any] = {
        "name": str(stanza.collection),
        "root": str(stanza.root),
        "metadata": stanza.metadata,
    }
    if stanza.publish:
        document["publish"] = stanza.publish
    if stanza.registries:
        document["registries"] = list(stanza.registries)
    return document


def stanza_text(stanza: Stanza) -> str:
    """Return ``stanza`` as TOML."""
    return tomli_w.dumps({"collection": [stanza_document(stanza)]})


def add_stanza(path: Path, stanza: Stanza) -> bool:
    """Make ``stanza`` part of the policy file ``path``; return whether it was not there before.

    Raises:
        InputError: the file speaks of the collection already, with other words.
        StateError: it cannot be written; it is as before.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else "schema = 1\n"
    for known in parse_policy(text, source=str(path)).stanzas:
        if known.collection == stanza.collection:
            if known.root == stanza.root and known.metadata == stanza.metadata:
                return False
            raise InputError(
                f"policy {path} has another root or address for {stanza.collection}: it pins {known.root}",
                hint="remove that stanza first, if you are sure",
            )
    write_text(path, f"{text.rstrip()}\n\n{stanza_text(stanza)}")
    return True


def write_text(path: Path, text: str) -> None:
    """Make ``text`` the content of ``path``: synced beside it, then renamed over it.

    Raises:
        StateError: it cannot be written; the file is as before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as err:
        temporary.unlink(missing_ok=True)
        raise StateError(f"file cannot be written: {path}: {err.strerror}") from err
