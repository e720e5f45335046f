"""Owns where a passphrase comes from: the environment, a file, or a prompt on the terminal; never an argument."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from securesystemslib.signer import Signer

from keys.errors import KeysError
from keys.listing import KeyListing
from keys.signers import open_signer
from keys.store import KeyStore
from trust.errors import InputError

_FILE_MAX_BYTES = 4096


def passphrase_of(name: str, *, confirm: bool = False, own: bool = False) -> str:
    """Return the passphrase of key ``name``.

    Looked for in ``TRUST_PASSPHRASE_<NAME>``, ``TRUST_PASSPHRASE_FILE``, ``TRUST_PASSPHRASE``; else asked for.
    ``own``: not in the two that all keys share.

    Raises:
        InputError: none of them is there, or the file cannot be read.
    """
    variable = f"TRUST_PASSPHRASE_{re.sub('[^A-Z0-9]', '_', name.upper())}"
    given = os.environ.get(variable)
    if given is None and not own:
        file = os.environ.get("TRUST_PASSPHRASE_FILE")
        given = _first_line(Path(file)) if file is not None else os.environ.get("TRUST_PASSPHRASE")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError(
            f"no passphrase for key {name}: there is no terminal to ask on",
            hint=f"set {variable}" if own else "set TRUST_PASSPHRASE_FILE to a file that holds it",
        )
    text: str = click.prompt(f"passphrase of key {name}", hide_input=True, confirmation_prompt=confirm, err=True)
    return text


class Keyring:
    """Opens the keys of a home, each once, several side by side: deriving takes a fifth of a second."""

    def __init__(self, directory: Path) -> None:
        self.store = KeyStore(directory)
        self._opened: dict[str, Signer] = {}
        self._unreadable: KeysError | None = None

    def __call__(self, keyids: Collection[str]) -> dict[str, Signer]:
        """Return the signers at hand among ``keyids``."""
        names = {keyid: name for keyid in keyids if (name := self._find(keyid)) is not None}
        if not names and self._unreadable is not None:
            raise self._unreadable
        self.open({keyid: name for keyid, name in names.items() if keyid not in self._opened})
        return {keyid: self._opened[keyid] for keyid in names}

    def open(self, names: dict[str, str]) -> None:
        """Open the keys of ``names`` (by key id); passphrases are asked one by one, first."""
        passphrases = {name: passphrase_of(name) for name in names.values()}

        def opened(name: str) -> Signer:
            return open_signer(name, store=self.store, passphrase=passphrases.__getitem__)

        with ThreadPoolExecutor(max_workers=4) as pool:
            for keyid, signer in zip(names, pool.map(opened, names.values()), strict=True):
                self._opened[keyid] = signer

    def _find(self, keyid: str) -> str | None:
        try:
            return KeyListing.find(self.store, keyid)
        except KeysError as err:
            self._unreadable = err  # it may be another key: said only where none of those wanted is at hand
            return None


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(_FILE_MAX_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"passphrase file cannot be read: {path}: {err}") from err
