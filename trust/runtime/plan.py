"""Owns ``plan.json``: everything that it takes to start a container, again and by another process.

It is written before the first start and never changed. What it holds is private to the container's owner, as the
whole directory is: an environment can hold secrets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trust.errors import StateError
from trust.runtime.account import Account
from trust.runtime.bounded_log import DEFAULT_MAX_BYTES
from trust.runtime.bundle import Bundle, Caller
from trust.runtime.disk import read_document, write_document
from trust.runtime.health import HealthCheck
from trust.runtime.limits import Limits
from trust.runtime.options import Tmpfs, Volume
from trust.runtime.overlay import Overlay, WritableRoot
from trust.runtime.ports import Port
from trust.runtime.restart import RestartPolicy
from trust.runtime.tier import Tier
from trust.value import dataclass

PLAN = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """What the supervisor does for a container while it is there."""

    restart: RestartPolicy = RestartPolicy()
    health: HealthCheck | None = None
    ports: tuple[Port, ...] = ()
    log_max_bytes: int = DEFAULT_MAX_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A container to be started: by which engine (name, program, its few variables), with what, cared for how.

    It stands on the ``tree`` of the image ``manifest``, held to it by ``integrity`` at every start.
    """

    engine: str
    program: Path
    environment: dict[str, str]
    bundle: Bundle
    root: WritableRoot
    care: Care
    is_detached: bool
    tree: Path
    manifest: str
    integrity: Tier


def write_plan(plan: Plan) -> None:
    """Have the plan beside the container's other files.

    Raises:
        OSError: it cannot be written.
    """
    write_document(plan.bundle.directory / PLAN, _document(plan))


def read_plan(directory: Path) -> Plan | None:
    """Return the plan of the container in ``directory``; None where it has none.

    Raises:
        StateError: it is damaged.
    """
    document = read_document(directory / PLAN)
    if document is None:
        return None
    try:
        return _plan(document, directory)
    except (LookupError, TypeError, ValueError) as err:
        raise StateError(f"plan of the container in {directory} is damaged: {err!r}") from err


def _document(plan: Plan) -> dict[str, Any]:
    bundle, overlay, care = plan.bundle, plan.root.overlay, plan.care
    account = bundle.account
    return {
        "schema": 1,
        "engine": plan.engine,
        "program": str(plan.program),
        "environment": plan.environment,
        "detached": plan.is_detached,
        "tree": str(plan.tree),
        "manifest": plan.manifest,
        "integrity": plan.integrity.value,
        "bundle": {
            "identity": bundle.identity,
            "root": str(bundle.root),
            "caller": [bundle.caller.uid, bundle.caller.gid],
            "architecture": bundle.architecture,
            "account": [account.uid, account.gid, list(account.additional_gids), account.home],
            "arguments": list(bundle.arguments),
            "environment": dict(bundle.environment),
            "working_directory": bundle.working_directory,
            "hostname": bundle.hostname,
            "network": bundle.network,
            "read_only": bundle.is_read_only,
            "volumes": [[str(one.source), one.target, one.is_read_only] for one in bundle.volumes],
            "files": {target: str(source) for target, source in bundle.files.items()},
            "tmpfs": [[one.target, one.size_bytes] for one in bundle.tmpfs],
            "first_id": bundle.first_id,
            "limits": [bundle.limits.memory_bytes, bundle.limits.pids, bundle.limits.cpus],
        },
        "root": str(plan.root.path),
        "overlay": overlay
        and {
            "lower": str(overlay.lower),
            "upper": str(overlay.upper),
            "work": str(overlay.work),
            "merged": str(overlay.merged),
            "in_user_namespace": overlay.in_user_namespace,
            "first_id": overlay.first_id,
        },
        "care": care_document(care),
    }


def care_document(care: Care) -> dict[str, Any]:
    """Return what ``care`` says as JSON."""
    health = care.health
    return {
        "restart": [care.restart.when, care.restart.tries],
        "health": health
        and {
            "command": list(health.command),
            "interval_seconds": health.interval_seconds,
            "timeout_seconds": health.timeout_seconds,
            "retries": health.retries,
            "start_seconds": health.start_seconds,
        },
        "ports": [[one.address, one.host, one.container] for one in care.ports],
        "log_max_bytes": care.log_max_bytes,
    }


def care_of(document: dict[str, Any]) -> Care:
    """Return what a document says that ``care_document`` made."""
    when, tries = document["restart"]
    health = document["health"]
    return Care(
        restart=RestartPolicy(when=when, tries=tries),
        health=HealthCheck(**{**health, "command": tuple(health["command"])}) if health else None,
        ports=tuple(Port(address=one[0], host=one[1], container=one[2]) for one in document["ports"]),
        log_max_bytes=document["log_max_bytes"],
    )


def _plan(document: dict[str, Any], directory: Path) -> Plan:
    found, overlay = document["bundle"], document["overlay"]
    uid, gid, additional, home = found["account"]
    memory, pids, cpus = found["limits"]
    bundle = Bundle(
        identity=found["identity"],
        directory=directory,
        root=Path(found["root"]),
        caller=Caller(uid=found["caller"][0], gid=found["caller"][1]),
        architecture=found["architecture"],
        account=Account(uid=uid, gid=gid, additional_gids=tuple(additional), home=home),
        arguments=tuple(found["arguments"]),
        environment=found["environment"],
        working_directory=found["working_directory"],
        hostname=found["hostname"],
        network=found["network"],
        is_read_only=found["read_only"],
        volumes=tuple(Volume(source=Path(a), target=b, is_read_only=c) for a, b, c in found["volumes"]),
        files={target: Path(source) for target, source in found["files"].items()},
        tmpfs=tuple(Tmpfs(target=target, size_bytes=size) for target, size in found["tmpfs"]),
        limits=Limits(memory_bytes=memory, pids=pids, cpus=cpus),
        first_id=found.get("first_id"),
    )
    return Plan(
        engine=document["engine"],
        program=Path(document["program"]),
        environment=document["environment"],
        bundle=bundle,
        root=WritableRoot(
            path=Path(document["root"]),
            overlay=Overlay(
                lower=Path(overlay["lower"]),
                upper=Path(overlay["upper"]),
                work=Path(overlay["work"]),
                merged=Path(overlay["merged"]),
                in_user_namespace=overlay["in_user_namespace"],
                first_id=overlay.get("first_id"),
            )
            if overlay
            else None,
        ),
        care=care_of(document["care"]),
        is_detached=document["detached"],
        tree=Path(document["tree"]),
        manifest=document["manifest"],
        integrity=Tier(document["integrity"]),
    )
