"""Owns what a command line run works with: paths, policy, state, stores, time. Made once, each part when asked.

The only place that reads the environment and the clock for the journeys.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trust.cli.options import Common, common_of
from trust.cli.render import Output
from trust.deadline import Deadline, deadline_in
from trust.errors import InputError
from trust.places import home_directory, policy_place, trust_home
from trust.policy import Policy, Stanza
from trust.policy_files import policy_files, read_policy
from trust.reference import Collection, Reference
from trust.state import TrustedState
from trust.verify import Verifier

if TYPE_CHECKING:
    from trust.oci.http import Http
    from trust.oci.registry import Registry
    from trust.stores.interface import Store

REFRESH_SECONDS = 30.0  # the whole of a verification, however many files and servers
PUBLISH_SECONDS = 120.0
KNOWN = "collections.toml"  # the collections published from here, spelled like a policy


class Session:
    """One run of one command."""

    def __init__(self, common: Common) -> None:
        self.common = common
        self.output = Output(as_json=common.json, quiet=common.quiet)
        self.now = datetime.now(timezone.utc)

    @cached_property
    def home(self) -> Path:
        """Where state, keys, images and containers live."""
        return trust_home(os.environ, self.common.home)

    @cached_property
    def policy_path(self) -> Path:
        """The policy file that is written to; the system's is only read."""
        return policy_place(os.environ, self.common.policy)[0]

    @cached_property
    def policy(self) -> Policy:
        """The rules in force here: the policy file and ``policy.d`` beside it; without any, nothing is allowed."""
        return read_policy(self.policy_files())

    @cached_property
    def known(self) -> Policy:
        """The collections published from here; where one is in the policy too, what is known here decides."""
        return read_policy([self.home / KNOWN] if (self.home / KNOWN).exists() else [])

    @cached_property
    def state(self) -> TrustedState:
        """The trusted state of this home."""
        return TrustedState(self.home)

    @cached_property
    def http(self) -> Http:
        """The one door to the network; closed when the run ends."""
        from trust.oci.http import Http  # noqa: PLC0415 - a file store needs none

        return click.get_current_context().find_root().with_resource(Http(environ=os.environ))

    def policy_files(self) -> list[Path]:
        """Return the files that make up the policy, in the order they are read."""
        path, is_explicit = policy_place(os.environ, self.common.policy)
        return policy_files(path, is_explicit=is_explicit)

    def deadline(self, seconds: float = REFRESH_SECONDS) -> Deadline:
        """Return a moment after which this run waits for nothing more."""
        return deadline_in(seconds, time.monotonic)

    def registry(self, host: str) -> Registry:
        """Return the door to the registry ``host``."""
        from trust.oci.credentials import Credentials  # noqa: PLC0415 - a file store needs none
        from trust.oci.registry import Registry  # noqa: PLC0415

        credentials = Credentials(environ=os.environ, home=home_directory())
        return Registry(host, http=self.http, credentials=credentials, plain_http=self.common.plain_http)

    def store(self, stanza: Stanza, *, publish: bool = False) -> Store:
        """Return the metadata store of a collection: where it is read, or where it is written."""
        from trust.stores import open_store  # noqa: PLC0415 - an offline look-up opens none

        url = stanza.publish if publish and stanza.publish else stanza.metadata
        return open_store(
            url,
            stanza.collection,
            registry=self.registry,
            http=lambda: self.http,
            environ=os.environ,
            pause=time.sleep,
        )

    def verifier(self, *, offline: bool = False) -> Verifier:
        """Return the verifier of this run."""
        return Verifier(
            policy=self.policy,
            state=self.state,
            open_store=self.store,
            now=self.now,
            deadline=self.deadline(),
            offline=offline,
        )

    def _publishing(self) -> list[Policy]:
        """Return what speaks of collections to publish; a machine that only signs has no policy file."""
        return [self.known, self.policy] if self.policy_path.exists() or not self.known.stanzas else [self.known]

    def stanza_of(self, collection: Collection) -> Stanza:
        """Return what is known of exactly ``collection``.

        Raises:
            InputError: it is neither published from here nor in the policy.
        """
        for policy in self._publishing():
            for stanza in policy.stanzas:
                if stanza.collection == collection:
                    return stanza
        raise InputError(
            f"collection {collection} is not known here",
            hint="trust init makes one; trust policy add knows one of others",
        )

    def stanza_for(self, reference: Reference) -> tuple[Stanza, str]:
        """Return the collection that covers ``reference`` for publishing, and the signed path of its repository.

        Raises:
            InputError: none does.
        """
        matches = [match for policy in self._publishing() if (match := policy.match(reference))]
        if not matches:
            raise InputError(
                f"no collection known here covers {reference.repository}",
                hint=f"trust init {reference.repository} --metadata registry: --write-policy",
            )
        best = max(matches, key=lambda match: len(match.stanza.collection.path))
        return best.stanza, best.path


def session() -> Session:
    """Return the session of the command that runs."""
    context = click.get_current_context().find_root()
    found = context.meta.get("trust.session")
    if not isinstance(found, Session):
        found = context.meta["trust.session"] = Session(common_of(context))
    return found
