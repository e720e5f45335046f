"""Owns logging in and out: whether a registry takes a login, and where it is left for Docker and podman."""

from __future__ import annotations

import json
import os
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trust.deadline import Deadline
from trust.errors import InputError, StateError
from trust.oci.credential_helper import erase_with_helper, store_with_helper
from trust.oci.credentials import Account, Credentials, Login, config_path, helper_for, read_config, server_key
from trust.oci.errors import LoginWantedError
from trust.oci.http import Http
from trust.oci.session import Ask, Session

_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403


class _OneLogin(Credentials):
    """The login that is tried, and none that was kept before."""

    def __init__(self, login: Login) -> None:
        super().__init__(environ={}, home=Path("/nonexistent"))
        self._login = login

    def account(self, host: str, path: str = "") -> Account:  # noqa: ARG002 - it is for one host, which sees no other
        """Return the login."""
        return Account(key=host, credential=self._login)


def try_login(host: str, login: Login, *, http: Http, plain_http: bool, deadline: Deadline) -> bool:
    """Tell whether the registry ``host`` asks for a login, and then took this one, as its token server did.

    Raises:
        LoginWantedError: it was refused.
        InputError: the user name cannot be sent. UnreachableError, LimitError: nobody said whether it is right.
    """
    _require_name(login)
    session = Session(host, http=http, credentials=_OneLogin(login), plain_http=plain_http)
    try:
        answer = session.whole(Ask(method="GET", where="/v2/", path="", actions="", deadline=deadline))
    except LoginWantedError as err:
        raise _refused(host, login) from err
    if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
        raise _refused(host, login)
    if answer.status != _OK:
        raise session.error("try the login", answer)
    return session.has_logged_in


def store_login(host: str, login: Login, *, environ: Mapping[str, str], home: Path) -> str:
    """Keep ``login`` for ``host``, and return where: a file, or ``docker-credential-NAME``.

    The helper that the file names for the host is asked to keep it; else the file is replaced atomically, mode
    0600, everything else in it kept.

    Raises:
        InputError: the file is malformed, or the user name cannot be kept; StateError: it cannot be written.
        UnavailableError: the helper failed.
    """
    _require_name(login)
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


def _require_name(login: Login) -> None:
    if not login.user or ":" in login.user:
        raise InputError(f"user name is malformed: expected no colon, got {login.user!r}")


def _refused(host: str, login: Login) -> LoginWantedError:
    return LoginWantedError(
        f"{host} refused the login of {login.user!r}: nothing was kept", hint="check user name and password"
    )


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
