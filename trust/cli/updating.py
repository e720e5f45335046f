"""The command ``trust update``: a container that follows its tag becomes what the tag is signed to be now.

The supervisor runs it at the interval of ``trust run --update-every``; anybody may at any time.
"""

from __future__ import annotations

import os
import time

import click

from trust.cli.host import host_of
from trust.cli.options import Command
from trust.cli.session import Session, session
from trust.errors import InputError
from trust.reference import Reference, parse_reference
from trust.runtime.followed import Followed
from trust.runtime.following import Following, read_following
from trust.runtime.host import open_containers
from trust.runtime.record import Container
from trust.runtime.source import RegistrySource
from trust.runtime.starting import engine_for, planned
from trust.runtime.trial import Trial
from trust.update import Surroundings
from trust.update import update as update_container
from trust.value import replace

IDENTITY_BYTES = 16
PULL_SECONDS = 3600.0
_CODES = {"current": 0, "updated": 0, "refused": 1, "undecided": 3}


@click.command("update", cls=Command)
@click.option("--due", is_flag=True, hidden=True, help="The interval has passed.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def update(names: tuple[str, ...], *, due: bool) -> int:
    """Have containers that follow their tag be what it is signed to be now.

    Exit code: 0 it is, 1 what it would become was refused, 3 could not decide; the old version then runs on.
    """
    this = session()
    containers = open_containers(host_of(this))
    found = [containers.find(name) for name in names]
    followings = [_following(this, container) for container in found]
    outcomes = [
        (container, _updated(this, container, following, is_due=due))
        for container, following in zip(found, followings, strict=True)
    ]
    documents = [{"name": container.name, **followed.document} for container, followed in outcomes]
    lines = [f"{container.name} {outcome_line(followed)}" for container, followed in outcomes]
    this.output.result("update", {"containers": documents}, lines)
    for container, followed in outcomes:
        if followed.revoked:
            this.output.warn(f"container {container.name}: {followed.revoked}")
    codes = {_CODES[followed.outcome] for _, followed in outcomes}
    return next((code for code in (1, 3) if code in codes), 0)


def outcome_line(followed: Followed) -> str:
    """Return what a reader is told of a look at the tag."""
    match followed.outcome:
        case "current":
            return "is current"
        case "updated":
            return f"is now {followed.digest}"
        case _:
            return f"runs on, update {followed.outcome}: {followed.reason}: {followed.detail}"


def _following(this: Session, container: Container) -> Following:
    following = read_following(open_containers(host_of(this)).directory(container.identity))
    if following is None:
        raise InputError(f"container {container.name} follows no tag", hint="trust run -d --update")
    return following


def _updated(this: Session, container: Container, following: Following, *, is_due: bool) -> Followed:
    tag = parse_reference(following.image)
    host = replace(host_of(this), platform=following.platform)
    directory = open_containers(host).directory(container.identity)
    here = Surroundings(
        host=host,
        engine=engine_for(planned(directory)),
        source=_source(this, tag),
        verdict_on=this.verifier().verify,
        identity=os.urandom(IDENTITY_BYTES).hex(),
        now=this.now,
        deadline=this.deadline(PULL_SECONDS),
        trial=Trial(clock=time.monotonic, pause=time.sleep),
        vet=this.verifier().vet,
        is_due=is_due,
    )
    return update_container(container, following, tag, here)


def _source(this: Session, tag: Reference) -> RegistrySource:
    return RegistrySource(registry=this.registry(tag.repository.host), path=tag.repository.path)
