"""Owns what makes a server trusted in TLS: the system's roots, ``SSL_CERT_FILE`` and ``certs.d/HOST[:PORT]``.

Imported only for ``https``. Host names are always checked and nothing here can switch that off.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from trust.errors import InputError
from trust.oci.url import DEFAULT_PORTS, Url

CERTS_DIRECTORY = Path("/etc/docker/certs.d")


def client_context(url: Url, *, environ: Mapping[str, str], certs_directory: Path) -> ssl.SSLContext:
    """Return the context for connections to ``url``: TLS 1.2 or newer, certificate and name checked.

    ``certs_directory/HOST[:PORT]`` holds, as for Docker, ``*.crt`` (authorities trusted for this host besides
    the system's) and ``X.cert`` with ``X.key`` (a client certificate).

    Raises:
        InputError: a file of these is missing its partner, unreadable, or no PEM.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    # Python has OpenSSL 3 take an end without close_notify for a proper one: whoever is on the line could cut a
    # body of unstated length short.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    extra = environ.get("SSL_CERT_FILE")
    if extra:
        _load_authority(context, Path(extra))
    for directory in _host_directories(url, certs_directory):
        for path in sorted(directory.glob("*.crt")):
            _load_authority(context, path)
        for path in sorted(directory.glob("*.cert")):
            key = path.with_suffix(".key")
            try:
                context.load_cert_chain(path, key, password=_no_passphrase)
            except (OSError, ssl.SSLError) as err:
                raise InputError(f"client certificate is unusable: {path} with {key.name}: {err}") from err
    return context


def _host_directories(url: Url, certs_directory: Path) -> list[Path]:
    names = [f"{url.host}:{url.port}"]
    if url.port == DEFAULT_PORTS[url.scheme]:
        names.append(url.host)
    return [path for path in (certs_directory / name for name in names) if path.is_dir()]


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as err:
        raise InputError(f"certificate file is unusable: {path}: {err}") from err


def _no_passphrase() -> str:
    """Keep OpenSSL from asking on the terminal: a key with a passphrase is unusable here."""
    return ""
