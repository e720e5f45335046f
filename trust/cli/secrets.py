"""Owns where a passphrase or PIN comes from: the environment, a file, or a prompt; never an argument."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from securesystemslib.signer import Signer

from keys.core_dumps import forbid_core_dumps
from keys.errors import KeysError
from keys.key_file import KeyFile
from keys.listing import KeyListing
from keys.pkcs11_uri import Pkcs11Uri
from keys.public_key import PublicKey
from keys.signers import Sources, is_elsewhere, open_signer, open_uri, public_key
from keys.store import KeyStore
from keys.verified_signer import public_half_of
from trust.errors import InputError

if TYPE_CHECKING:
    from keys.hsm import Hsm

_FILE_MAX_BYTES = 4096
_OF_ALL = "TRUST_PASSPHRASE_FILE"  # a file for every key, and so no passphrase of a key that is named ``file``


def passphrase_of(name: str, *, confirm: bool = False, own: bool = False) -> str:
    """Return the passphrase of key ``name``.

    Looked for in ``TRUST_PASSPHRASE_<NAME>`` (a key named ``file`` has none), ``TRUST_PASSPHRASE_FILE``,
    ``TRUST_PASSPHRASE`` and, with ``TRUST_KEYRING``, in the keyring of the desktop; else asked for.
    ``own``: not in what all keys share.

    Raises:
        InputError: none of them is there, or the file cannot be read.
    """
    forbid_core_dumps()
    variable = f"TRUST_PASSPHRASE_{re.sub('[^A-Z0-9]', '_', name.upper())}"
    given = os.environ.get(variable) if variable != _OF_ALL else None
    if given is None and not own:
        file = os.environ.get(_OF_ALL)
        given = _first_line(Path(file)) if file is not None else os.environ.get("TRUST_PASSPHRASE")
    if given is None and not own and os.environ.get("TRUST_KEYRING"):
        from trust.cli.os_keyring import passphrase_in_keyring  # noqa: PLC0415 - few have one

        given = passphrase_in_keyring(name)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError(
            f"no passphrase for key {name}: there is no terminal to ask on",
            hint=f"set {variable}" if own else f"set {_OF_ALL} to a file that holds it",
        )
    text: str = click.prompt(f"passphrase of key {name}", hide_input=True, confirmation_prompt=confirm, err=True)
    return text


def pin_of(uri: Pkcs11Uri) -> str:
    """Return the PIN of the token of ``uri``: from its ``pin-source``, ``TRUST_PIN``, else asked for.

    Raises:
        InputError: none of them is there, or the file cannot be read.
    """
    forbid_core_dumps()
    given = os.environ.get("TRUST_PIN") if uri.pin_source is None else _first_line(Path(uri.pin_source))
    if given is None:
        if not sys.stdin.isatty():
            raise InputError(
                f"no PIN for {uri.where}: there is no terminal to ask on",
                hint="set TRUST_PIN, or name a file that holds it: pin-source=FILE in the URI",
            )
        given = str(click.prompt(f"PIN of {uri.where}", hide_input=True, err=True))
    if not given:
        raise InputError(f"the PIN for {uri.where} is empty")  # a token would count it
    return given


class Keyring:
    """Opens the keys of a home, each once, several side by side: deriving takes a fifth of a second."""

    def __init__(self, directory: Path) -> None:
        forbid_core_dumps()  # before a plain key is read: from a file, or a variable that is here already
        self.store = KeyStore(directory)
        self._tokens: Hsm | None = None
        self.sources = Sources(passphrase=passphrase_of, variable=_taken_variable, hsm=self.hsm)
        self._opened: dict[str, Signer] = {}
        self._unreadable: KeysError | None = None

    def __call__(self, keyids: Collection[str]) -> dict[str, Signer]:
        """Return the signers at hand among ``keyids``."""
        wanted = [keyid for keyid in keyids if keyid not in self._opened]
        names = {keyid: name for keyid in wanted if (name := self._find(keyid)) is not None}
        self.open(names)
        found = {keyid: self._opened[keyid] for keyid in keyids if keyid in self._opened}
        if not found and self._unreadable is not None:
            raise self._unreadable
        return found

    def hsm(self) -> Hsm:
        """Return the tokens of this machine, loaded once."""
        if self._tokens is None:
            from keys.hsm import Hsm  # noqa: PLC0415 - dear, and most keys are files

            self._tokens = Hsm(environ=os.environ, pin=pin_of)
        return self._tokens

    def public_key(self, key: str) -> PublicKey:
        """Return the public half of ``key``: a name, a public key file, or a URI, whose key is then at hand."""
        if not is_elsewhere(key):
            return public_key(key, listing=self.store)
        signer = open_uri(key, sources=self.sources)
        public = public_half_of(signer.public_key)
        self._opened[public.keyid] = signer
        return public

    def open(self, names: dict[str, str]) -> None:
        """Open the keys of ``names`` (by key id); passphrases are asked one by one, first."""
        files = {keyid: name for keyid, name in names.items() if isinstance(self.store.entry(name), KeyFile)}
        passphrases = {name: passphrase_of(name) for name in files.values()}
        sources = replace(self.sources, passphrase=passphrases.__getitem__)

        with ThreadPoolExecutor(max_workers=4) as pool:
            signers = pool.map(lambda name: open_signer(name, store=self.store, sources=sources), files.values())
            self._opened.update(zip(files, signers, strict=True))
        for keyid in names.keys() - files.keys():  # one after the other: they may ask, and a token has one door
            self._opened[keyid] = open_signer(names[keyid], store=self.store, sources=self.sources)

    def _find(self, keyid: str) -> str | None:
        try:
            return KeyListing.find(self.store, keyid)
        except KeysError as err:
            self._unreadable = err  # it may be another key: said only where none of those wanted is at hand
            return None


def _taken_variable(name: str) -> str | None:
    """Return a variable that holds a private key, and take it away: no child of ours shall have it."""
    forbid_core_dumps()
    return os.environ.pop(name, None)


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(_FILE_MAX_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"file of a passphrase or PIN cannot be read: {path}: {err}") from err
