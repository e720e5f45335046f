"""Owns what the programs that we start find of our environment: never what opens or is a private key.

A helper of a login, an engine, a client has its own need of the environment (``HOME``, ``PATH``, a bus, the
credentials of a cloud), which nobody can list. So it gets all but ours: passphrases, PINs, and whichever variable
holds a private key in PEM, as those that ``envvar:NAME`` names do. Nothing of them need be known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_OURS = ("TRUST_PASSPHRASE", "TRUST_PIN")
_PRIVATE_KEY = re.compile(r"^[ \t]*-----BEGIN [A-Z0-9 -]*PRIVATE KEY-----", re.MULTILINE)


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without the secrets that are ours alone."""
    return {name: value for name, value in environ.items() if not _is_secret(name, value)}


def _is_secret(name: str, value: str) -> bool:
    return name.startswith(_OURS) or _PRIVATE_KEY.search(value) is not None
