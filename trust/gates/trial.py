"""Owns the trial of an installed gate by the real clients, in a temporary directory.

  1. without the gate's files a client that is asked for a canary must reach its origin, a listener
  2. with them, the same question must reach the gate or fail: the listener has heard nothing
  3. an image of an upstream that nobody signed must be refused
The canary is an upstream that no policy knows. podman's files name each host, so the canary is added to a copy of
them; containerd's ``_default`` must cover it as it is; docker asks by the gate's name.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from trust.errors import InputError, TrustError
from trust.finding import Finding, error, fine, unknown, warning
from trust.gates.clients import Client, Pull, clients_of
from trust.gates.containerd import DIRECTORY as HOSTS
from trust.gates.files import Machine
from trust.gates.gate import Plan, gated_name
from trust.gates.listener import Listener
from trust.gates.podman import DROP_IN, podman_files
from trust.gates.podman_check import own_files
from trust.gates.record import Record
from trust.reference import Reference
from trust.value import dataclass

_CANARY = "canary/unsigned:latest"
_PLACE_MAX_LENGTH = 20
_SHOWN = 400  # characters of what a client said
_LOGGED = re.compile(r'^time="[^"]*" level=[a-z]+ msg=')  # skopeo speaks in lines of a log
_REFUSED = re.compile(
    r"(?<!permission )denied|unsigned|forbidden|\b40[34]\b|not found|(?:manifest|name)[ _]unknown", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a trial works with; ``unsigned`` is an image of an upstream that nobody signed, by its own name."""

    record: Record
    machine: Machine
    environ: Mapping[str, str]
    unsigned: Reference | None


def trial_findings(trial: Trial) -> list[Finding]:
    """Return what the real clients did, by the steps of this module.

    Raises:
        InputError: the unsigned image is of no upstream.
    """
    unsigned, upstreams = trial.unsigned, trial.record.upstreams
    if unsigned is not None and unsigned.repository.host not in upstreams:
        raise InputError(
            f"the gate does not stand before {unsigned.repository.host}: expected {', '.join(upstreams)}"
        )
    findings: list[Finding] = []
    try:
        with tempfile.TemporaryDirectory(prefix="trust-", dir=_short_place()) as temporary:
            directory = Path(temporary)
            with clients_of(trial.record.runtime, directory / "client", trial.environ) as clients:
                for client in clients:
                    findings += _tried(trial, client, directory / client.name)
    except TrustError as err:
        findings.append(unknown(f"{trial.record.runtime}: no trial: {err}", err.hint))
    except OSError as err:
        findings.append(unknown(f"{trial.record.runtime}: no trial: {err}"))
    return findings


def _tried(trial: Trial, client: Client, directory: Path) -> Iterator[Finding]:
    directory.mkdir()
    yield _canary(trial, client, directory)
    if trial.unsigned is None:
        return
    installed = _configuration(trial, directory / "installed", trial.record.upstreams)
    image = str(trial.unsigned)
    if client.name == "docker":
        host = trial.unsigned.repository.host
        image = gated_name(trial.record.gate, host) + image[len(host) :]
    pulled = client.pull(image, installed)
    if pulled.succeeded:
        yield error(f"{client.name}: pulled {image}, which nobody signed", "is it signed after all? trust verify")
    elif _REFUSED.search(pulled.said):
        yield fine(f"{client.name}: {image} was refused: {_shown(pulled)}")
    else:
        yield unknown(f"{client.name}: {image} was not pulled, for another reason: {_shown(pulled)}")


def _canary(trial: Trial, client: Client, directory: Path) -> Finding:
    with Listener() as origin:
        image = f"{origin.host}/{_CANARY}"
        free = directory / "free"
        (free / ".config/containers").mkdir(parents=True)
        _write_policy(free)
        control = client.pull(image, free)
        if not origin.connections:
            return unknown(f"{client.name}: the trial proves nothing, it never asks the origin: {_shown(control)}")
        heard = origin.connections
        hosts = (*trial.record.upstreams, origin.host)
        gated = f"{gated_name(trial.record.gate, origin.host)}/{_CANARY}" if client.name == "docker" else image
        pulled = client.pull(gated, _configuration(trial, directory / "canary", hosts))
        past = origin.connections - heard
    if past or pulled.succeeded:
        what = f"{client.name}: asked for {gated}, it went past the gate: {past} connections to the origin"
        return error(what, "see the other findings; trust gate install writes its files anew")
    if client.name == "docker":
        return warning(f"docker: asked for {gated}, it did not ask the origin; asked for {image}, it did")
    return fine(f"{client.name}: asked for {image}, it did not ask the origin: {_shown(pulled)}")


def _configuration(trial: Trial, home: Path, hosts: tuple[str, ...]) -> Path:
    """Return what the client is to read: the directory of hosts as it is, or a home with the user's files.

    ``hosts`` are written into the gate's own drop-in, if that is among them.
    """
    if trial.record.runtime != "podman":
        return trial.machine.path(HOSTS)
    containers = home / ".config/containers"
    (containers / "registries.conf.d").mkdir(parents=True)
    _write_policy(home)
    main, *drop_ins = own_files(trial.machine, trial.environ)
    (containers / "registries.conf").write_bytes(trial.machine.read(main) or b"")
    for number, name in enumerate(drop_ins):
        data = trial.machine.read(name) or b""
        if name == DROP_IN and hosts != trial.record.upstreams:
            plan = Plan(runtime="podman", gate=trial.record.gate, upstreams=hosts)
            data = podman_files(plan)[0].data
        (containers / f"registries.conf.d/{number:04}.conf").write_bytes(data)
    if trial.record.ca is not None:
        authorities = containers / "certs.d" / trial.record.gate.host
        authorities.mkdir(parents=True)
        shutil.copy(trial.machine.path(trial.record.ca), authorities)
    return home


def _write_policy(home: Path) -> None:
    """Have policy.json accept everything: what is tried is the gate, not what would refuse besides it."""
    text = '{"default": [{"type": "insecureAcceptAnything"}]}'
    (home / ".config/containers/policy.json").write_text(text, encoding="ascii")


def _short_place() -> str:
    """Return where temporary files go: podman's path of ``run`` has at most 50 characters, a socket's 104."""
    place = tempfile.gettempdir()
    return place if len(place) <= _PLACE_MAX_LENGTH else "/tmp"  # noqa: S108 - a directory of our own is made there


def _shown(pull: Pull) -> str:
    return _LOGGED.sub("", pull.said)[:_SHOWN]
