"""Owns where the library of a token is found: the one that its URI names, the environment's, or p11-kit's.

1. ``module-path`` in the URI; 2. ``module-name`` in the URI, as p11-kit's configuration knows it; 3. the variable
``TRUST_PKCS11_MODULE``; 4. p11-kit's proxy, behind which stands every module that this machine configured; 5. the
only module of that configuration. A module runs in this process with its rights: whoever may name it is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from keys.errors import KeyInputError, TokenUnavailableError
from keys.pkcs11_uri import Pkcs11Uri

VARIABLE = "TRUST_PKCS11_MODULE"
_CONFIGURED = ("etc/pkcs11/modules", "usr/share/p11-kit/modules")
_FOLDERS = ("usr/lib64", "usr/lib", "usr/local/lib")
_MODULE_MAX_BYTES = 64 * 1024


def module_path(uri: Pkcs11Uri, *, environ: Mapping[str, str], root: Path = Path("/")) -> Path:
    """Return the library through which the token of ``uri`` is reached; ``root`` is where the machine's files are.

    Raises:
        KeyInputError: ``module-path`` is not absolute.
        TokenUnavailableError: there is none, or it is not a file.
    """
    if uri.module_path is not None:
        return _file(uri.module_path, "module-path")
    if uri.module_name is not None:
        found = _configured(root).get(uri.module_name)
        if found is None:
            raise TokenUnavailableError(
                f"no PKCS#11 module {uri.module_name[:80]} is configured here",
                hint=f"name its file: module-path=FILE; p11-kit's configuration is in /{_CONFIGURED[0]}",
            )
        return found
    if environ.get(VARIABLE):
        return _file(environ[VARIABLE], VARIABLE)
    proxies = [path for path in _libraries(root, "p11-kit-proxy.so") if path.is_file()]
    candidates = proxies[:1] or list(_configured(root).values())
    if len(candidates) != 1:
        raise TokenUnavailableError(
            f"no PKCS#11 module: expected one, {len(candidates)} are configured here",
            hint=f"name its file in the URI (?module-path=FILE) or in {VARIABLE}",
        )
    return candidates[0]


def _file(text: str, what: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise KeyInputError(f"{what}: expected an absolute path, got {text[:80]!r}")
    if not path.is_file():
        raise TokenUnavailableError(
            f"no PKCS#11 module {text}", hint="install the token's software, or name its file"
        )
    return path


def _configured(root: Path) -> dict[str, Path]:
    """Return the modules of p11-kit's configuration (``NAME.module`` files with a line ``module: FILE``)."""
    found: dict[str, Path] = {}
    for folder in _CONFIGURED:
        for file in sorted((root / folder).glob("*.module")):
            try:
                with file.open(encoding="utf-8", errors="replace") as source:
                    lines = source.read(_MODULE_MAX_BYTES).splitlines()
            except OSError:
                continue
            names = [value.strip() for key, _, value in (line.partition(":") for line in lines) if key == "module"]
            for path in _libraries(root, names[0]) if names and names[0] else ():
                if path.is_file():
                    found.setdefault(file.stem, path)
    return found


def _libraries(root: Path, name: str) -> list[Path]:
    if name.startswith("/"):
        return [root / name.lstrip("/")]
    folders = [*sorted((root / "usr/lib").glob("*-linux-*")), *(root / folder for folder in _FOLDERS)]
    return [folder / part / name for folder in folders for part in (".", "pkcs11")]
