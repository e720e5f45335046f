"""Owns the cold path of the verifier: python-tuf's ``ngclient`` under the checks that it lacks.

It takes untrusted bytes from a view and what is trusted already, and returns a new trusted chain; it writes
nothing. Imported only when something changed: python-tuf costs more than a whole warm verification.

  1. bootstrap: the newest trusted root, else ``1.root.json``, whose sha256 must be the pin
  2. roots are walked to the newest; "absent" ends the walk, the rotation limit is "could not decide"
  3. a newer root that changed the snapshot or timestamp keys resets their version floors (TUF 1.0 §5.3.11)
  4. a new ``Updater``, whose clock is read anew, verifies timestamp, snapshot and targets
  5. thresholds are counted by key *values*; one key under two ids is one key
  6. every role is bound to this collection and to its own name
  7. nothing is below a floor, and no version has two contents
  8. delegated roles that are asked for are verified alike, on the walk to them (``trust.descent``)
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from tuf.api import exceptions
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from trust.chain import TOP_LEVEL_ROLES, RoleRefusal, TrustedChain
from trust.descent import Descent
from trust.digest import Digest, sha256
from trust.errors import LimitError, RefusedError, UnreachableError
from trust.floors import Floors, Known, Roots, damaged, usable_bodies
from trust.metadata import (
    ROOT_MAX_BYTES,
    SNAPSHOT_MAX_BYTES,
    TARGETS_MAX_BYTES,
    TIMESTAMP_MAX_BYTES,
    identity_of,
    parse_metadata,
    require_binding,
    trusted_role,
)
from trust.policy import Stanza
from trust.role_keys import require_distinct_keys
from trust.stores.interface import View
from trust.targets import Content
from trust.value import dataclass
from trust.verdict import Reason
from trust.view_fetcher import EndOfRootsError, ViewFetcher, refusing

ROOT_ROTATIONS_MAX = 1_024  # in one refresh; python-tuf alone stops in silence after 256

_CONFIG = UpdaterConfig(
    max_root_rotations=ROOT_ROTATIONS_MAX,
    root_max_length=ROOT_MAX_BYTES,
    timestamp_max_length=TIMESTAMP_MAX_BYTES,
    snapshot_max_length=SNAPSHOT_MAX_BYTES,
    targets_max_length=TARGETS_MAX_BYTES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """A newly verified chain, what its targets roles say, and the delegated roles that are not trusted."""

    chain: TrustedChain
    said: Mapping[str, Content]
    refused: Mapping[str, RoleRefusal]


def walk_roots(stanza: Stanza, known: Known, view: View) -> Roots:
    """Return the chain of roots from the pinned one to the newest, verified link by link (steps 1 and 2).

    Raises:
        RefusedError: the first root is not the pinned one, or a link is not signed by both sides.
        LimitError: more than ``ROOT_ROTATIONS_MAX`` new roots.
    """
    roots = dict(known.roots) or {1: _pinned_root(stanza.root, view)}
    fetcher = ViewFetcher(view, roots_only=True)
    with refusing(fetcher, stanza, roots), tempfile.TemporaryDirectory(prefix="trust-") as directory:
        try:
            updater = _updater(directory, fetcher, roots[max(roots)])
        except exceptions.RepositoryError as err:
            if known.roots:
                raise damaged("root", str(err)) from err
            raise RefusedError(f"the pinned root is no root: {err}", reason=Reason.TAMPERED.value) from err
        with suppress(EndOfRootsError):
            updater.refresh()
        for name, data in fetcher.fetched.items():
            roots[int(name.split(".")[0])] = data
    if not fetcher.roots_ended:
        raise LimitError(
            f"root was rotated more than {ROOT_ROTATIONS_MAX} times since version {max(roots)}",
            hint="a consumer that is refreshed more often has fewer to walk",
        )
    newest = parse_metadata(roots[max(roots)], "root")
    identity = identity_of(parse_metadata(roots[min(roots)], "root").signed)
    for version in sorted(set(roots) - set(known.roots)):
        step = parse_metadata(roots[version], "root")
        require_binding(step.signed, "root", identity)
        for delegator in (parse_metadata(roots[version - 1], "root") if version > 1 else step, step):
            require_distinct_keys(delegator.signed, step, "root")
    return Roots(bodies=roots, newest=newest)


def verify_roles(
    stanza: Stanza, known: Known, roots: Roots, view: View, *, paths: Sequence[str] | None, now: datetime
) -> Refreshed:
    """Return the chain below ``roots``, verified (steps 3 to 8), as far as ``paths`` or (None) all of it.

    Raises:
        RefusedError: with the reason of the first check that failed.
        UnreachableError: a file that the metadata names is not there.
    """
    bodies = usable_bodies(known, roots)
    fetcher = ViewFetcher(view, roots_only=False)
    root = roots.newest.signed
    with refusing(fetcher, stanza, roots.bodies), tempfile.TemporaryDirectory(prefix="trust-") as directory:
        for name, body in bodies.items():
            Path(directory, f"{name}.json").write_bytes(body)
        updater = _updater(directory, fetcher, roots.bodies[max(roots.bodies)])
        updater._trusted_set.reference_time = now  # noqa: SLF001 - one clock decides, and it is the caller's
        updater.refresh()
        fresh = {name: Path(directory, f"{name}.json").read_bytes() for name in TOP_LEVEL_ROLES if name != "root"}
        fresh["root"] = roots.bodies[max(roots.bodies)]
        parsed = {name: parse_metadata(body, name) for name, body in fresh.items()}
        # ngclient keeps its own snapshot of the version that a timestamp names, whatever hash it names.
        parsed["timestamp"].signed.snapshot_meta.verify_length_and_hashes(fresh["snapshot"])
        checks = Floors(
            stanza=stanza,
            known=known,
            roots=roots,
            identity=identity_of(parse_metadata(roots.bodies[min(roots.bodies)], "root").signed),
        )
        for name, metadata in parsed.items():
            checks.require(root, name, metadata, fresh[name], has_floor=name in bodies)
        _require_same_timestamp(fetcher, fresh["timestamp"])
        top = {name: trusted_role(root, "root", root, name, parsed[name], fresh[name]) for name in parsed}
        descent = Descent(updater, Path(directory), fetcher, checks, top)
        descent.go(paths)
        trusted = descent.roles(is_whole=paths is None)
    return Refreshed(
        chain=TrustedChain(
            name=str(stanza.collection),
            identity=checks.identity,
            root_version=root.version,
            token=view.token,
            checked_at=now,
            roles=trusted,
            shared=descent.shared,
        ),
        said=descent.said,
        refused=descent.refused,
    )


def _updater(directory: str, fetcher: FetcherInterface, bootstrap: bytes) -> Updater:
    return Updater(directory, "view:/", fetcher=fetcher, config=_CONFIG, bootstrap=bootstrap)


def _pinned_root(pin: Digest, view: View) -> bytes:
    data = view.read("1.root.json", ROOT_MAX_BYTES)
    if data is None:
        raise UnreachableError(
            "metadata has no 1.root.json", hint="is `metadata` in the policy the right address?"
        )
    if not pin.matches(data):
        raise RefusedError(
            f"the first root is not the pinned one: expected {pin}, got {sha256(data)}",
            reason=Reason.TAMPERED.value,
            hint="compare the pin with the publisher's, over another channel",
        )
    return data


def _require_same_timestamp(fetcher: ViewFetcher, trusted: bytes) -> None:
    """Refuse a fetched timestamp that ngclient dropped in silence because its version is not newer."""
    if fetcher.fetched.get("timestamp.json", trusted) != trusted:
        raise RefusedError("role timestamp has two contents under one version", reason=Reason.TAMPERED.value)
