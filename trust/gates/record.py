"""Owns what is remembered of an installation: ``etc/trust/gate/RUNTIME.json``, written after the files it names.

    {"schema": 1, "runtime": "podman", "gate": "https://…", "upstreams": ["…"], "ca": null,
     "files": {"etc/…": "sha256:…"}, "insecure": []}

By it the next ``install`` knows its own files, ``remove`` what to take away, ``doctor`` what should be there. Who
can write it can write the files as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trust.digest import Digest, parse_digest, sha256
from trust.errors import InputError, TrustError
from trust.gates.files import Machine
from trust.gates.gate import File, Gate, Plan, RuntimeName, parse_gate
from trust.value import dataclass

SCHEMA = 1
DIRECTORY = "etc/trust/gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was installed: ``insecure`` are the hosts that we added to daemon.json."""

    runtime: RuntimeName
    gate: Gate
    upstreams: tuple[str, ...]
    ca: str | None
    files: Mapping[str, Digest]
    insecure: tuple[str, ...]


def record_name(runtime: RuntimeName) -> str:
    """Return where the record of ``runtime`` is."""
    return f"{DIRECTORY}/{runtime}.json"


def record_of(plan: Plan, files: tuple[File, ...], insecure: tuple[str, ...]) -> Record:
    """Return the record of ``plan`` once ``files`` are written."""
    ca = next((file.path for file in files if plan.ca is not None and file.data == plan.ca), None)
    return Record(
        runtime=plan.runtime,
        gate=plan.gate,
        upstreams=plan.upstreams,
        ca=ca,
        files={file.path: sha256(file.data) for file in files},
        insecure=insecure,
    )


def record_bytes(record: Record) -> bytes:
    """Return ``record`` as a file."""
    document = {
        "schema": SCHEMA,
        "runtime": record.runtime,
        "gate": record.gate.url,
        "upstreams": list(record.upstreams),
        "ca": record.ca,
        "files": {path: str(digest) for path, digest in record.files.items()},
        "insecure": list(record.insecure),
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def read_record(machine: Machine, runtime: RuntimeName) -> Record | None:
    """Return what was installed for ``runtime``, None if nothing was.

    Raises:
        InputError: the record is damaged.
        StateError: it cannot be read.
    """
    name = record_name(runtime)
    text = machine.text(name)
    if text is None:
        return None
    try:
        return _parsed(json.loads(text), runtime)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, TrustError) as err:
        raise InputError(
            f"record of the installed gate is damaged: {machine.path(name)}: {err}",
            hint="remove it and repeat trust gate install",
        ) from err


def _parsed(document: Any, runtime: RuntimeName) -> Record:  # noqa: ANN401 - any JSON
    if document["schema"] != SCHEMA or document["runtime"] != runtime:
        raise InputError(f"expected schema {SCHEMA} and runtime {runtime}")
    return Record(
        runtime=runtime,
        gate=parse_gate(document["gate"]),
        upstreams=tuple(map(str, document["upstreams"])),
        ca=None if document["ca"] is None else _inside(document["ca"]),
        files={_inside(path): parse_digest(digest) for path, digest in document["files"].items()},
        insecure=tuple(map(str, document["insecure"])),
    )


def _inside(path: str) -> str:
    """Return ``path`` if it is one of the places that are ours to write: ``remove`` must not be led elsewhere."""
    if not path.startswith(("etc/containers/", "etc/containerd/", "etc/docker/")) or ".." in path.split("/"):
        raise InputError(f"a file outside of the clients' configuration: {path!r}")
    return path
