"""Owns where things are on this machine when nobody says: the XDG base directory specification's places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

NAME = "trust"


def home_directory() -> Path:
    """Return the user's home; a user without one, as in many a container, has an empty one."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def trust_home(environ: Mapping[str, str], given: Path | None = None) -> Path:
    """Return where state, keys, images and containers live: ``given``, ``TRUST_HOME``, or the user's data."""
    named = given or environ.get("TRUST_HOME")
    return Path(named).absolute() if named else _user_directory(environ, "XDG_DATA_HOME", ".local/share")


def policy_place(environ: Mapping[str, str], given: Path | None = None) -> tuple[Path, bool]:
    """Return the policy file and whether it was named, by ``given`` or ``TRUST_POLICY``; else it is the user's."""
    named = given or environ.get("TRUST_POLICY")
    if named:
        return Path(named).absolute(), True
    return _user_directory(environ, "XDG_CONFIG_HOME", ".config") / "policy.toml", False


def _user_directory(environ: Mapping[str, str], variable: str, default: str) -> Path:
    given = environ.get(variable, "")
    return (Path(given) if given.startswith("/") else home_directory() / default) / NAME
