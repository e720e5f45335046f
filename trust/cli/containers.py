"""The commands for containers that are there: ``ps``, ``logs``, ``stop``, ``rm``, ``exec``, ``stats``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from trust.cli.host import host_of
from trust.cli.options import RUN_FAILED, Command, RunCommand
from trust.cli.render import table
from trust.cli.session import session
from trust.errors import TrustError
from trust.instant import format_utc
from trust.runtime.bounded_log import pieces
from trust.runtime.cgroup import Controllers
from trust.runtime.containers import SHORT_LENGTH, Listed
from trust.runtime.engine import Streams
from trust.runtime.execution import Execution
from trust.runtime.followed import decisions
from trust.runtime.host import open_containers
from trust.runtime.image import parse_variable
from trust.runtime.supervision import attend
from trust.runtime.usage import Usage

_SAMPLE_SECONDS = 0.25
_MIB = 1 << 20


@click.command("ps", cls=Command)
def ps() -> None:
    """List the containers of this home."""
    this = session()
    containers = open_containers(host_of(this))
    containers.sweep()
    found = containers.all()
    if any(each.wants_care for each in found):
        attend(this.home, os.environ)
    documents = [
        {
            "id": each.container.identity,
            "name": each.container.name,
            "image": each.container.image,
            "digest": each.container.digest,
            "status": _status(each),
            "pid": each.pid,
            "exit_status": each.container.exit_status,
            "health": each.course.health if each.course else None,
            "restarts": each.course.restarts if each.course else 0,
            "why": each.course.why if each.course else None,
            "update": each.followed.document if each.followed else None,
            "created": format_utc(each.container.created_at),
            "engine": each.container.engine,
            "integrity": each.container.integrity.value,
        }
        for each in found
    ]
    rows = [
        (
            each.container.identity[:SHORT_LENGTH],
            each.container.name,
            _status(each),
            each.container.integrity.value,
            each.container.image,
        )
        for each in found
    ]
    lines = table(rows, ("ID", "NAME", "STATUS", "INTEGRITY", "IMAGE")) if rows else ["no containers"]
    this.output.result("ps", {"containers": documents}, lines)


@click.command("logs", cls=Command)
@click.option("--updates", is_flag=True, help="What was decided on each new version of its tag instead.")
@click.argument("container", metavar="NAME")
def logs(container: str, *, updates: bool) -> None:
    """Print what a detached container wrote: its output on stdout, its errors on stderr."""
    this = session()
    containers = open_containers(host_of(this))
    one = containers.find(container)
    if updates:
        lines = tuple(decisions(containers.directory(one.identity)))
        this.output.result("logs", {"updates": lines}, map(_decision_line, lines))
        return
    found = containers.logs(one)
    if this.common.json:
        texts = {
            "stdout": _text(found.stdout),
            "stderr": _text(found.stderr),
        }
        this.output.result("logs", texts, [])
        return
    for path, stream in ((found.stdout, sys.stdout.buffer), (found.stderr, sys.stderr.buffer)):
        with path.open("rb") as log:
            for chunk in pieces(log):
                stream.write(chunk)
        stream.flush()


@click.command("stop", cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--time", "-t", "seconds", type=click.FloatRange(0), default=10.0, show_default=True)
def stop(names: tuple[str, ...], seconds: float) -> None:
    """Stop containers: asked first, killed after the time."""
    this = session()
    containers = open_containers(host_of(this))
    changed = {name: containers.stop(containers.find(name), timeout_seconds=seconds) for name in names}
    lines = [f"{'stopped' if ran else 'was not running'} {name}" for name, ran in changed.items()]
    documents = [{"name": name, "changed": ran} for name, ran in changed.items()]
    this.output.result("stop", {"containers": documents}, lines)


@click.command("rm", cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--force", "-f", is_flag=True, help="Kill it first if it runs.")
def rm(names: tuple[str, ...], *, force: bool) -> None:
    """Remove containers, and everything that was theirs."""
    this = session()
    containers = open_containers(host_of(this))
    for name in names:
        containers.remove(containers.find(name), force=force)
    containers.sweep()
    documents = [{"name": name, "changed": True} for name in names]
    this.output.result("rm", {"containers": documents}, [f"removed {name}" for name in names])


@click.command("exec", cls=RunCommand, context_settings={"allow_interspersed_args": False})
@click.option("-i", "--interactive", is_flag=True, help="Let it read standard input.")
@click.option("-e", "--env", "variables", metavar="K=V", multiple=True, help="A variable of its environment.")
@click.option("-u", "--user", metavar="USER[:GROUP]", help="Who it runs as.  [default: as the container]")
@click.argument("container", metavar="NAME")
@click.argument("command", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(
    *, interactive: bool, variables: tuple[str, ...], user: str | None, container: str, command: tuple[str, ...]
) -> int:
    """Run one more command in a running container; the exit code is the command's."""
    this = session()
    try:
        execution = Execution(command=command, environment=tuple(map(parse_variable, variables)), user=user)
        containers = open_containers(host_of(this))
        stdin = None if interactive else subprocess.DEVNULL
        return containers.execute(
            containers.find(container), execution, Streams(stdin=stdin, stdout=None, stderr=None)
        )
    except TrustError as err:
        this.output.error(str(err), err.hint, code=err.exit_code, reason=err.reason)
        return RUN_FAILED


@click.command("stats", cls=Command)
@click.argument("names", metavar="[NAME]...", nargs=-1)
def stats(names: tuple[str, ...]) -> None:
    """Say what running containers use: memory, processor time, processes."""
    this = session()
    containers = open_containers(host_of(this))
    if names:
        chosen = [containers.find(name) for name in names]
    else:
        chosen = [each.container for each in containers.all() if each.pid is not None]
    controllers = Controllers()
    began = time.monotonic()
    before = [containers.usage(one, controllers) for one in chosen]
    if chosen:
        time.sleep(_SAMPLE_SECONDS)
    now = [containers.usage(one, controllers) for one in chosen]
    seconds = time.monotonic() - began
    shares = [
        100 * (one.cpu_seconds - earlier.cpu_seconds) / seconds for earlier, one in zip(before, now, strict=True)
    ]
    documents = [
        {"id": one.identity, "name": one.name, **_usage_document(usage, share)}
        for one, usage, share in zip(chosen, now, shares, strict=True)
    ]
    rows = [
        (one.name, _memory(usage), f"{share:.0f} %", f"{usage.cpu_seconds:.2f} s", str(usage.pids))
        for one, usage, share in zip(chosen, now, shares, strict=True)
    ]
    lines = table(rows, ("NAME", "MEMORY", "CPU", "CPU TIME", "PIDS")) if rows else ["no containers run"]
    this.output.result("stats", {"containers": documents}, lines)


def _update_status(listed: Listed) -> str:
    followed = listed.followed
    if followed is None or (followed.reason is None and followed.revoked is None):
        return ""
    outcome = f", update {followed.outcome}: {followed.reason}" if followed.reason else ""
    return f"{', REVOKED' if followed.revoked else ''}{outcome}"


def _usage_document(usage: Usage, share: float) -> dict[str, object]:
    return {
        "memory_bytes": usage.memory_bytes,
        "memory_limit_bytes": usage.memory_limit_bytes,
        "cpu_percent": round(share, 1),
        "cpu_seconds": round(usage.cpu_seconds, 6),
        "pids": usage.pids,
        "pids_limit": usage.pids_limit,
        "exact": usage.is_exact,
    }


def _memory(usage: Usage) -> str:
    used = f"{usage.memory_bytes / _MIB:.1f} MiB"
    return used if usage.memory_limit_bytes is None else f"{used} of {usage.memory_limit_bytes / _MIB:.0f} MiB"


def _decision_line(decision: Mapping[str, object]) -> str:
    said = [decision.get(key) for key in ("at", "outcome", "digest", "reason", "detail", "revoked")]
    return "  ".join(str(each) for each in said if each is not None)


def _text(path: Path) -> str:
    with path.open("rb") as log:
        return b"".join(pieces(log)).decode("utf-8", "replace")


def _status(listed: Listed) -> str:
    if listed.pid is not None:
        health = listed.course.health if listed.course else None
        return (f"running ({health})" if health else "running") + _update_status(listed)
    if listed.course is not None and listed.course.is_waiting:
        return "restarting"
    status = listed.container.exit_status
    return "exited" if status is None else f"exited ({status})"
