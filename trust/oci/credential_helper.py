"""Owns the talk with Docker's credential helpers: ``docker-credential-NAME get``, ``store`` and ``erase``.

Source: docker/docker-credential-helpers, "Development". Secrets travel on standard input and output alone.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping

from trust.children import child_environment
from trust.errors import InputError, UnavailableError
from trust.oci.credentials import TOKEN_USER, Credential, IdentityToken, Login

HELPER_TIMEOUT_SECONDS = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)  # it becomes the name of a program
_NOT_FOUND = "credentials not found"


def get_from_helper(name: str, server: str, *, environ: Mapping[str, str]) -> Credential | None:
    """Return what the helper ``name`` holds for ``server``, None where it says that it holds nothing.

    Raises:
        InputError: no such program; UnavailableError: it failed, hung, or answered in another form.
    """
    status, output = _run(name, "get", server, environ=environ)
    if status != 0:
        if _NOT_FOUND in output:
            return None
        raise UnavailableError(f"credential helper {name} failed: exit {status} for {server}")
    try:
        answer = json.loads(output)
        user, secret = answer["Username"], answer["Secret"]
        f"{user}{secret}".encode()  # no half of a surrogate pair, which nobody can send
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnavailableError(f"credential helper {name} answered in another form for {server}") from None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise UnavailableError(f"credential helper {name} answered in another form for {server}")
    if not user and not secret:
        return None
    return IdentityToken(secret=secret) if user == TOKEN_USER else Login(user=user, secret=secret)


def store_with_helper(name: str, server: str, login: Login, *, environ: Mapping[str, str]) -> None:
    """Hand ``login`` for ``server`` to the helper ``name``.

    Raises:
        InputError: no such program; UnavailableError: it failed or hung.
    """
    document = json.dumps({"ServerURL": server, "Username": login.user, "Secret": login.secret})
    status, _ = _run(name, "store", document, environ=environ)
    if status != 0:
        raise UnavailableError(f"credential helper {name} could not store: exit {status} for {server}")


def erase_with_helper(name: str, server: str, *, environ: Mapping[str, str]) -> None:
    """Have the helper ``name`` forget ``server``; that it knew nothing of it is no error.

    Raises:
        InputError: no such program; UnavailableError: it failed or hung.
    """
    status, output = _run(name, "erase", server, environ=environ)
    if status != 0 and _NOT_FOUND not in output:
        raise UnavailableError(f"credential helper {name} could not erase: exit {status} for {server}")


def _run(name: str, action: str, given: str, *, environ: Mapping[str, str]) -> tuple[int, str]:
    if not _NAME.fullmatch(name):
        raise InputError(f"credential helper's name is malformed: got {name[:80]!r}")
    program = shutil.which(f"docker-credential-{name}", path=environ.get("PATH", ""))
    if program is None:
        raise InputError(
            f"credential helper not found: docker-credential-{name} is not on PATH",
            hint="install it, or take it out of credsStore and credHelpers",
        )
    try:
        done = subprocess.run(
            [program, action],
            input=given.encode(),
            capture_output=True,
            env=child_environment(environ),
            timeout=HELPER_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            f"credential helper {name} hung: no answer in {HELPER_TIMEOUT_SECONDS:.0f} s"
        ) from None
    except OSError as err:
        raise UnavailableError(f"credential helper {name} did not start: {err.strerror}") from err
    return done.returncode, done.stdout.decode("utf-8", "replace")
