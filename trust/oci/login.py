"""Owns logging in and out: where ``trust login`` leaves a credential, as Docker and podman would find it."""

from __future__ import annotations

import json
import os
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trust.errors import InputError, StateError
from trust.oci.credential_helper import erase_with_helper, store_with_helper
from trust.oci.credentials import Login, config_path, helper_for, read_config, server_key


def store_login(host: str, login: Login, *, environ: Mapping[str, str], home: Path) -> str:
    """Keep ``login`` for ``host``, and return where: a file, or ``docker-credential-NAME``.

    The helper that the file names for the host is asked to keep it; else the file is replaced atomically, mode
    0600, everything else in it kept.

    Raises:
        InputError: the file is malformed, or the user name cannot be kept; StateError: it cannot be written.
        UnavailableError: the helper failed.
    """
    if not login.user or ":" in login.user:
        raise InputError(f"user name is malformed: expected no colon, got {login.user!r}")
    path = config_path(environ, home)
    config = read_config(path)
    helper = helper_for(config, host)
    if helper is not None:
        store_with_helper(helper, server_key(host), login, environ=environ)
        return f"docker-credential-{helper}"
    auths = config.setdefault("auths", {})
    if not isinstance(auths, dict):
        raise InputError(f"credentials file is malformed: auths is no object: {path}")
    packed = b64encode(f"{login.user}:{login.secret}".encode()).decode("ascii")
    auths[_file_key(host, environ)] = {"auth": packed}
    _write(path, config)
    return str(path)


def erase_login(host: str, *, environ: Mapping[str, str], home: Path) -> bool:
    """Forget the credential for ``host``; tell whether the file held one or a helper was asked.

    Raises:
        InputError, StateError, UnavailableError: as ``store_login``.
    """
    path = config_path(environ, home)
    config = read_config(path)
    helper = helper_for(config, host)
    if helper is not None:
        erase_with_helper(helper, server_key(host), environ=environ)
    auths = config.get("auths")
    held = [key for key in {host, server_key(host)} if isinstance(auths, dict) and key in auths]
    for key in held:
        del config["auths"][key]
    if held:
        _write(path, config)
    return bool(held) or helper is not None


def _file_key(host: str, environ: Mapping[str, str]) -> str:
    """Return ``host`` as the file's other reader spells it: podman's files say ``docker.io``."""
    return host if environ.get("REGISTRY_AUTH_FILE") else server_key(host)


def _write(path: Path, config: dict[str, Any]) -> None:
    target = path.resolve()  # a file linked from elsewhere stays linked
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".config-")  # mode 0600
    except OSError as err:
        raise StateError(f"credentials file cannot be written: {path}: {err.strerror}") from err
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(config, file, indent="\t")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except OSError as err:
        Path(temporary).unlink(missing_ok=True)
        raise StateError(f"credentials file cannot be written: {path}: {err.strerror}") from err
