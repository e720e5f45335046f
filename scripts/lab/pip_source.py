"""Where pip comes from: the wheel that this Python carries, the machine's, or the one set-up unpacked.

Nothing is installed: the wheel is unpacked below ``.lab`` and put on ``PYTHONPATH`` of the one call.
"""

import importlib.util
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_WHEEL_FOLDER = "usr/share/python-wheels"


def _bundled_folder() -> list[Path]:
    spec = importlib.util.find_spec("ensurepip")
    return [Path(spec.origin).parent / "_bundled"] if spec is not None and spec.origin else []


def pip_wheel(unpacked_root: Path | None) -> Path | None:
    """The pip wheel below ``unpacked_root``, or without one that of Python's ensurepip or of the machine."""
    folders: Iterable[Path]
    if unpacked_root is not None:
        folders = [unpacked_root / _WHEEL_FOLDER]
    else:
        folders = [*_bundled_folder(), Path("/") / _WHEEL_FOLDER]
    return next((wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))), None)


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """``folder`` holds the importable content of ``wheel`` and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def certificates(unpacked_root: Path, bundle: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What pip's environment lacks to check a mirror's certificate: nothing where the machine has a bundle.

    Debian's pip reads the machine's bundle, which a minimal machine may not have; then the authorities of the
    unpacked ``ca-certificates`` are written to ``bundle`` and named. What the user configured goes first.
    """
    authorities = sorted(unpacked_root.glob("usr/share/ca-certificates/mozilla/*.crt"))
    if SYSTEM_CERTIFICATES.exists() or not authorities:
        return {}
    bundle.write_text("\n".join(path.read_text("utf-8") for path in authorities), "utf-8")
    return {name: str(bundle) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE") if name not in environ}
