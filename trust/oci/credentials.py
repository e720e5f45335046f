"""Owns the user's credentials for registries, where Docker and podman keep them.

``REGISTRY_AUTH_FILE`` if set, else ``config.json`` in ``DOCKER_CONFIG`` or ``~/.docker``: ``credHelpers`` of the
host, then ``credsStore``, then ``auths``; else anonymous. Nothing is asked before a registry wants a login.
A secret is in no message and no repr.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trust.errors import InputError
from trust.value import dataclass, field

CONFIG_MAX_BYTES = 4 * 1024 * 1024
DOCKER_HUB_KEY = "https://index.docker.io/v1/"  # Docker's own spelling, from its first protocol
_DOCKER_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
TOKEN_USER = "<token>"  # noqa: S105 - how a helper says that the secret is an identity token


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user name with its password or access token."""

    user: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityToken:
    """A refresh token: the registry's token server exchanges it for access tokens."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryToken:
    """An access token that is sent to the registry as it is."""

    secret: str = field(repr=False)


Credential = Login | IdentityToken | RegistryToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A credential, and the key under which it was found: a host, or a part of one."""

    key: str
    credential: Credential


class Credentials:
    """Looks credentials up; the file is read anew for each look-up, since logins come and go."""

    def __init__(self, *, environ: Mapping[str, str], home: Path) -> None:
        self._environ = environ
        self._home = home

    def account(self, host: str, path: str = "") -> Account | None:
        """Return the account at ``host`` (``docker.io``, ``registry.example.com:5000``); None is anonymous.

        ``path`` is the repository: podman's file may hold one for a part of a host.

        Raises:
            InputError: the file is malformed or unreadable.
            UnavailableError: a credential helper failed.
        """
        config = read_config(config_path(self._environ, self._home))
        helper = helper_for(config, host)
        if helper is not None:
            from trust.oci.credential_helper import get_from_helper  # noqa: PLC0415 - imports subprocess

            found = get_from_helper(helper, server_key(host), environ=self._environ)
            if found is not None:
                return Account(key=server_key(host), credential=found)
        auths = config.get("auths")
        if not isinstance(auths, dict):
            return None
        for key in _keys(auths, host, path):
            credential = _credential(auths[key], key)
            if credential is not None:
                return Account(key=key, credential=credential)
        return None


def config_path(environ: Mapping[str, str], home: Path) -> Path:
    """Return the file that holds credentials, whether or not it exists."""
    explicit = environ.get("REGISTRY_AUTH_FILE")
    if explicit:
        return Path(explicit)
    directory = environ.get("DOCKER_CONFIG")
    return (Path(directory) if directory else home / ".docker") / "config.json"


def read_config(path: Path) -> dict[str, Any]:
    """Return the document at ``path``; empty where there is none.

    Raises:
        InputError: unreadable, too large, or no JSON object.
    """
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as err:
        raise InputError(f"credentials file is unreadable: {path}: {err.strerror}") from err
    if len(data) > CONFIG_MAX_BYTES:
        raise InputError(f"credentials file is too large: expected at most {CONFIG_MAX_BYTES} bytes: {path}")
    try:
        config = json.loads(data or b"{}")
        json.dumps(config, ensure_ascii=False).encode()  # no half of a surrogate pair, which nobody can send
    except (ValueError, RecursionError):
        raise InputError(f"credentials file is no JSON: {path}") from None  # the cause may quote a secret
    if not isinstance(config, dict):
        raise InputError(f"credentials file is malformed: expected a JSON object: {path}")
    return config


def helper_for(config: Mapping[str, Any], host: str) -> str | None:
    """Return the name of the credential helper that ``config`` gives to ``host``, its own or the general one."""
    helpers = config.get("credHelpers")
    if isinstance(helpers, dict):
        for key in _spellings(host):
            if isinstance(helpers.get(key), str) and helpers[key]:
                return str(helpers[key])
    store = config.get("credsStore")
    return store if isinstance(store, str) and store else None


def server_key(host: str) -> str:
    """Return ``host`` as Docker's files and helpers spell it."""
    return DOCKER_HUB_KEY if host in _DOCKER_HUB_HOSTS else host


def _spellings(host: str) -> tuple[str, ...]:
    if host in _DOCKER_HUB_HOSTS:
        return (DOCKER_HUB_KEY, "docker.io", "index.docker.io", "registry-1.docker.io")
    return (host,)


def _keys(auths: Mapping[str, Any], host: str, path: str) -> Iterator[str]:
    """Yield the keys of ``auths`` that fit, the most particular first, legacy spellings last."""
    prefix = path
    while prefix:
        if f"{host}/{prefix}" in auths:
            yield f"{host}/{prefix}"
        prefix = prefix.rpartition("/")[0]
    spellings = _spellings(host)
    yield from (key for key in spellings if key in auths)
    for key in auths:
        scheme, colon, rest = key.partition("://")
        bare = rest if colon and scheme in {"http", "https"} else key
        name, _, tail = bare.partition("/")
        if key not in spellings and name in spellings and tail.strip("/") in {"", "v1", "v2"}:
            yield key


def _credential(entry: object, key: str) -> Credential | None:
    if not isinstance(entry, dict):
        return None
    identity, registry = entry.get("identitytoken"), entry.get("registrytoken")
    if isinstance(registry, str) and registry:
        if not (registry.isascii() and registry.isprintable()):
            raise InputError(f"credentials file is malformed: registrytoken of {key!r} cannot be sent")
        return RegistryToken(secret=registry)
    if isinstance(identity, str) and identity:
        return IdentityToken(secret=identity)
    user, secret, packed = entry.get("username"), entry.get("password"), entry.get("auth")
    if isinstance(packed, str) and packed:
        try:
            user, colon, secret = b64decode(packed, validate=True).decode("utf-8").partition(":")
        except ValueError:  # no base64, no ASCII, no UTF-8
            raise InputError(f"credentials file is malformed: auth of {key!r} is no base64") from None
        if not colon:
            raise InputError(f"credentials file is malformed: auth of {key!r} has no colon")
        secret = secret.rstrip("\x00")  # Docker pads old entries with NULs
    if isinstance(user, str) and isinstance(secret, str) and user:
        return IdentityToken(secret=secret) if user == TOKEN_USER else Login(user=user, secret=secret)
    return None
