"""A plain pull, as machines do it: ask for a tag, take what it names, unpack it for runc. No other question.

``python -m scripts.keynote.pull HOST/REPOSITORY:TAG BUNDLE`` with the login in ``REGISTRY_LOGIN`` (name:password)
and the container's environment in its own.
"""

import io
import json
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.keynote.plain import PlainClient, digest_of

LOGIN = "REGISTRY_LOGIN"
PASSED_ON = ("PORT", "TILL_KEY")


def main() -> int:
    """Pull and unpack; print the digest of what came."""
    image, bundle = sys.argv[1:]
    host, _, path = image.partition("/")
    repository, _, tag = path.rpartition(":")
    name, _, password = os.environ[LOGIN].partition(":")
    client = PlainClient(host=host, repository=repository, login=(name, password))
    environ = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
    print("pulled", pull(client, tag, Path(bundle), environ))
    return 0


def pull(client: PlainClient, tag: str, bundle: Path, environ: Mapping[str, str]) -> str:
    """``bundle`` is an OCI bundle of what ``tag`` names now; returns the digest of that."""
    manifest = client.manifest(tag)
    document = json.loads(manifest)
    config = json.loads(client.blob(document["config"]["digest"]))["config"]
    root = bundle / "rootfs"
    root.mkdir(parents=True)
    for layer in document["layers"]:
        with tarfile.open(fileobj=io.BytesIO(client.blob(layer["digest"]))) as archive:
            for entry in archive:
                _place(archive, entry, root / entry.name)
    runtime = _runtime(config["Entrypoint"], [*config["Env"], *(f"{k}={v}" for k, v in environ.items())])
    (bundle / "config.json").write_text(json.dumps(runtime), "utf-8")
    return digest_of(manifest)


def _place(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
    """Write a folder or a file: images of this play hold nothing else."""
    content = archive.extractfile(entry)
    if content is None:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.write_bytes(content.read())
        path.chmod(entry.mode)


def _runtime(argv: list[str], environ: list[str]) -> dict[str, Any]:
    """The configuration for runc: the host's network, everything else the container's own; works without root."""
    namespaces = [{"type": name} for name in ("mount", "pid", "ipc", "uts")]
    linux: dict[str, Any] = {"namespaces": namespaces}
    if os.geteuid() != 0:
        namespaces.append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": argv,
            "env": environ,
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},  # noqa: S108 - in the container
        ],
        "linux": linux,
    }


if __name__ == "__main__":
    sys.exit(main())
