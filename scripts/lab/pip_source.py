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


def give_authorities(
    pip: Path, unpacked_root: Path, bundle: Path, environ: Mapping[str, str], *, system: Path = SYSTEM_CERTIFICATES
) -> dict[str, str]:
    """What pip's environment needs so that it can check a mirror's certificate on a machine without a bundle.

    Debian's pip has none of its own and does not even start without the machine's. So the authorities of the
    unpacked ``ca-certificates`` are written to ``bundle``, and our copy of pip, in the folder ``pip``, is told
    so. What the user configured goes first; where the machine has its bundle, ``system``, nothing is done.
    """
    authorities = sorted(unpacked_root.glob("usr/share/ca-certificates/mozilla/*.crt"))
    if system.exists() or not authorities:
        return {}
    bundle.write_text("\n".join(path.read_text("utf-8") for path in authorities), "utf-8")
    certifi = pip / "pip/_vendor/certifi/core.py"
    certifi.write_text(certifi.read_text("utf-8").replace(str(system), str(bundle)), "utf-8")
    return {} if "SSL_CERT_FILE" in environ else {"SSL_CERT_FILE": str(bundle)}
