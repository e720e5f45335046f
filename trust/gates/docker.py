"""Owns the files of dockerd: the gate's authority, or one key of daemon.json. Pure.

dockerd knows mirrors of docker.io alone, and falls back from them on every refusal. So images are named by the
gate, and nothing on this machine keeps anybody from naming them otherwise: that is for the firewall.
Source: dockerd(8), "insecure-registries"; Docker's "Verify repository client with certificates".
"""

from __future__ import annotations

import json
from typing import Any

from trust.errors import InputError
from trust.gates.gate import File, Gate, Plan, gated_name
from trust.strict_json import fields, one_spelling

DAEMON = "etc/docker/daemon.json"
INSECURE = "insecure-registries"
MIRRORS = "registry-mirrors"
_FIELDS = fields(INSECURE, MIRRORS)


def docker_files(plan: Plan) -> tuple[File, ...]:
    """Return the CA where one was given; TLS by the system's authorities needs no file."""
    return () if plan.ca is None else (File(path=ca_path(plan.gate), data=plan.ca),)


def ca_path(gate: Gate) -> str:
    """Return where the gate's authority is looked for."""
    return f"etc/docker/certs.d/{gate.host}/trust-gate.crt"


def docker_advice(plan: Plan) -> tuple[str, ...]:
    """Return how images are named from now on, and what remains to be done."""
    names = [f"name images by the gate: {gated_name(plan.gate, host)}/…, not {host}/…" for host in plan.upstreams]
    egress = (
        f"block egress to {', '.join(plan.upstreams)}: dockerd asks the origin for any image that is named by it,"
        " and no setting of dockerd forbids that"
    )
    reload = "have dockerd read daemon.json again: systemctl reload docker"
    return (*names, egress, *([reload] if plan.gate.is_plain else []))


def parse_daemon(text: str, *, source: str) -> dict[str, Any]:
    """Return the keys of daemon.json; none for an empty file.

    Raises:
        InputError: it is no JSON object, or the list that we add to is no list of texts.
    """
    try:
        document = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as err:
        raise InputError(f"{source} is not valid JSON: {err}") from err
    if not isinstance(document, dict):
        raise InputError(f"{source} is no JSON object")
    one_spelling(document, _FIELDS, what=source)
    for key in (INSECURE, MIRRORS):
        listed = document.get(key, [])
        if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
            raise InputError(f"{source}: {key} is not a list of texts")
    return document


def with_insecure(document: dict[str, Any], host: str) -> dict[str, Any]:
    """Return daemon.json in which ``host`` may be spoken to in plain HTTP; every other key as it was."""
    listed = document.get(INSECURE, [])
    return document if host in listed else {**document, INSECURE: [*listed, host]}


def without_insecure(document: dict[str, Any], host: str) -> dict[str, Any]:
    """Return daemon.json without ``host`` there; a list that is empty then is left out."""
    left = [entry for entry in document.get(INSECURE, []) if entry != host]
    others = {key: value for key, value in document.items() if key != INSECURE}
    return {**others, INSECURE: left} if left else others


def daemon_text(document: dict[str, Any]) -> str:
    """Return daemon.json as text."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
