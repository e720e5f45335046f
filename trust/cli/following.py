"""Owns what ``trust run --update`` says of the tag that a container is to follow."""

from __future__ import annotations

import os
from datetime import timedelta

from trust.cli.images import TypedImage
from trust.cli.session import Session
from trust.errors import InputError
from trust.places import policy_place
from trust.runtime.following import Following
from trust.runtime.host import Host
from trust.runtime.options import RunOptions
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a tag is looked at, and how long a new version is on trial."""

    every: timedelta
    trial: timedelta


def following_of(this: Session, typed: TypedImage, options: RunOptions, pace: Pace, host: Host) -> Following:
    """Return what the supervisor is to know of the tag.

    Raises:
        InputError: there is none to follow, or nobody who could.
    """
    if typed.layout is not None or typed.reference.digest is not None:
        raise InputError("--update follows a tag of a registry: got an image that cannot change")
    if not options.is_detached:
        raise InputError("a container in the foreground is not updated", hint="--detach")
    if options.network == "host":
        raise InputError("--update runs two versions for a moment, which would claim the same ports of the host")
    path, is_explicit = policy_place(os.environ, this.common.policy)
    return Following(
        image=str(typed.reference),
        every_seconds=pace.every.total_seconds(),
        trial_seconds=pace.trial.total_seconds(),
        options=options,
        platform=host.platform,
        policy=path if is_explicit else None,
        plain_http=this.common.plain_http,
    )
