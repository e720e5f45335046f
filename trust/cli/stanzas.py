"""Owns the writing of policy files: one stanza added, the rest untouched, the old file or the new one on disk.

What is written can be read: a policy that cannot allows nothing, and takes no urgent denial either.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tomlkit

from trust.cli.user_file import edit_text
from trust.errors import InputError
from trust.policy import Stanza
from trust.policy_document import join_policies, parse_policy, require_one_voice
from trust.policy_files import policy_files, read_policy


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


def edit_policy(path: Path, edit: Callable[[str | None], str], *, beside: Iterable[Path] = ()) -> bool:
    """Make what ``edit`` makes of it the policy file ``path``, as ``edit_text`` does; return whether it changed.

    Raises:
        InputError: nobody could read it then, alone or together with the files ``beside`` it; it is as before.
        StateError: it cannot be written; it is as before.
    """

    def readable(text: str | None) -> str:
        edited = edit(text)
        if edited != text:
            _require_readable(edited, path, beside)
        return edited

    return edit_text(path, readable)


def _require_readable(text: str, path: Path, beside: Iterable[Path]) -> None:
    source = f"{path}, so edited,"
    others = read_policy(beside)
    try:
        join_policies([(source, parse_policy(text, source=source)), ("policy.d", others)])
    except InputError as err:
        raise InputError(str(err), hint=f"the policy is as before; {err.hint or 'see docs/policy.md'}") from err


def add_stanza(path: Path, stanza: Stanza, *, beside: Iterable[Path] = ()) -> bool:
    """Make ``stanza`` part of the policy file ``path``; return whether it was not there before.

    Raises:
        InputError: the file speaks of the collection already, with other words, or of its images by another name;
            or nobody could read it then, together with the files ``beside`` it.
        StateError: it cannot be written; it is as before.
    """
    empty = "schema = 1\n"
    return edit_policy(
        path, lambda text: _with_stanza(empty if text is None else text, stanza, path), beside=beside
    )


def add_to_policy(path: Path, stanza: Stanza) -> bool:
    """Make ``stanza`` part of the policy whose file ``path`` is, as ``add_stanza`` does; ``policy.d`` counts."""
    folder = path.parent / "policy.d"
    beside = [each for each in policy_files(path, is_explicit=False) if each.parent == folder]
    return add_stanza(path, stanza, beside=beside)


def _with_stanza(text: str, stanza: Stanza, path: Path) -> str:
    there = parse_policy(text, source=str(path)).stanzas
    for known in there:
        if known.collection == stanza.collection:
            if known.root == stanza.root and known.metadata == stanza.metadata:
                return text
            raise InputError(
                f"policy {path} has another root or address for {stanza.collection}: it pins {known.root}",
                hint="remove that stanza first, if you are sure",
            )
    require_one_voice((*there, stanza))
    return f"{text.rstrip()}\n\n{stanza_text(stanza)}"


def absolute_url(url: str) -> str:
    """Return ``url`` with a path that means the same from everywhere."""
    if url.startswith("file:") and not url.startswith("file:/"):
        return f"file:{os.path.abspath(url[5:])}"  # noqa: PTH100 - Path.resolve would follow links
    return url
