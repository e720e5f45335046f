"""Owns the writing of policy files: one stanza added, the rest untouched, the old file or the new one on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomlkit

from trust.errors import InputError, StateError
from trust.policy import Stanza
from trust.policy_document import parse_policy, require_one_voice


def stanza_document(stanza: Stanza) -> dict[str, Any]:
    """Return ``stanza`` as the table of a policy file; what is as it is without saying is left out."""
    document: dict[str, Any] = {
        "name": str(stanza.collection),
        "root": str(stanza.root),
        "metadata": stanza.metadata,
    }
    further: dict[str, Any] = {
        "publish": stanza.publish,
        "registries": list(stanza.registries),
        "rewrite": [{"from": each.source, "to": each.to} for each in stanza.rewrites],
        "roles": list(stanza.roles),
        "attestations": list(stanza.attestations),
        "digests": stanza.digests if stanza.digests != "signed" else None,
        "fresh": stanza.fresh if stanza.fresh != "allow" else None,
        "mode": stanza.mode if stanza.mode != "enforce" else None,
        "max_age": f"{int(stanza.max_age.total_seconds())}s" if stanza.max_age else None,
        "floors": dict(stanza.floors),
    }
    return document | {key: value for key, value in further.items() if value}


def stanza_text(stanza: Stanza) -> str:
    """Return ``stanza`` as TOML."""
    return tomlkit.dumps({"collection": [stanza_document(stanza)]})


def add_stanza(path: Path, stanza: Stanza) -> bool:
    """Make ``stanza`` part of the policy file ``path``; return whether it was not there before.

    Raises:
        InputError: the file speaks of the collection already, with other words, or of its images by another name.
        StateError: it cannot be written; it is as before.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else "schema = 1\n"
    there = parse_policy(text, source=str(path)).stanzas
    for known in there:
        if known.collection == stanza.collection:
            if known.root == stanza.root and known.metadata == stanza.metadata:
                return False
            raise InputError(
                f"policy {path} has another root or address for {stanza.collection}: it pins {known.root}",
                hint="remove that stanza first, if you are sure",
            )
    require_one_voice((*there, stanza))
    write_text(path, f"{text.rstrip()}\n\n{stanza_text(stanza)}")
    return True


def absolute_url(url: str) -> str:
    """Return ``url`` with a path that means the same from everywhere."""
    if url.startswith("file:") and not url.startswith("file:/"):
        return f"file:{os.path.abspath(url[5:])}"  # noqa: PTH100 - Path.resolve would follow links
    return url


def write_text(path: Path, text: str) -> None:
    """Make ``text`` the content of ``path``: synced beside it, then renamed over it.

    Raises:
        StateError: it cannot be written; the file is as before.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Make ``data`` the content of ``path``; see ``write_text``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as err:
        temporary.unlink(missing_ok=True)
        raise StateError(f"file cannot be written: {path}: {err.strerror}") from err
