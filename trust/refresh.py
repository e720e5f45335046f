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
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from trust.chain import TrustedChain
from trust.digest import Digest, sha256
from trust.errors import InputError, LimitError, RefusedError, StateError, UnreachableError
from trust.metadata import (
    ROOT_MAX_BYTES,
    SNAPSHOT_MAX_BYTES,
    TARGETS_MAX_BYTES,
    TIMESTAMP_MAX_BYTES,
    identity_of,
    parse_metadata,
    require_binding,
    require_distinct_keys,
    table_of,
    trusted_role,
)
from trust.policy import Stanza
from trust.roles import REVOKED_FIELD, TOP_LEVEL_ROLES
from trust.stores.interface import View
from trust.strict_json import strict_json
from trust.targets import Table
from trust.value import dataclass
from trust.verdict import Reason

ROOT_ROTATIONS_MAX = 1_024  # in one refresh; python-tuf alone stops in silence after 256

_CONFIG = UpdaterConfig(
    max_root_rotations=ROOT_ROTATIONS_MAX,
    root_max_length=ROOT_MAX_BYTES,
    timestamp_max_length=TIMESTAMP_MAX_BYTES,
    snapshot_max_length=SNAPSHOT_MAX_BYTES,
    targets_max_length=TARGETS_MAX_BYTES,
)
_CAPS = {"root": ROOT_MAX_BYTES, "timestamp": TIMESTAMP_MAX_BYTES, "snapshot": SNAPSHOT_MAX_BYTES}
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is trusted before the refresh: the chain, the roots by version, the raw bytes by role."""

    chain: TrustedChain | None
    roots: Mapping[int, bytes]
    bodies: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """The verified chain of roots; the newest is the last."""

    bodies: Mapping[int, bytes]
    newest: Metadata[Root]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """A newly verified chain and what its targets roles say."""

    chain: TrustedChain
    tables: Mapping[str, Table]


class _EndOfRootsError(Exception):
    """The root walk asked for the timestamp: it is over."""


class _ViewFetcher(FetcherInterface):
    """Lets ngclient read a view by file name, keeping what it read for the checks after it."""

    def __init__(self, view: View, *, roots_only: bool) -> None:
        self._view = view
        self._roots_only = roots_only
        self.fetched: dict[str, bytes] = {}
        self.last = ""
        self.roots_ended = False

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError(f"only whole files are read: {url}")

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return the untrusted bytes of the file that ``url`` names, read strictly."""
        name = url.removeprefix("view:/")
        self.last = name
        is_root = name.endswith(".root.json")
        # ngclient asks for any length that was signed: a stolen online key could fill this machine's memory.
        max_length = min(max_length, _CAPS.get(_role_of(name), TARGETS_MAX_BYTES))
        if self._roots_only and not is_root:
            raise _EndOfRootsError
        data = None if is_root and not self._roots_only else self._view.read(name, max_length)
        if data is None:
            self.roots_ended = self.roots_ended or is_root
            raise exceptions.DownloadHTTPError(f"no such file: {name}", _NOT_FOUND)
        self.fetched[name] = data
        try:
            strict_json(data, max_bytes=max_length, what=name)
        except InputError as err:
            raise RefusedError(str(err), reason=Reason.TAMPERED.value) from err
        return data


def walk_roots(stanza: Stanza, known: Known, view: View) -> Roots:
    """Return the chain of roots from the pinned one to the newest, verified link by link (steps 1 and 2).

    Raises:
        RefusedError: the first root is not the pinned one, or a link is not signed by both sides.
        LimitError: more than ``ROOT_ROTATIONS_MAX`` new roots.
    """
    roots = dict(known.roots) or {1: _pinned_root(stanza.root, view)}
    fetcher = _ViewFetcher(view, roots_only=True)
    with _refusing(fetcher, stanza, roots), tempfile.TemporaryDirectory(prefix="trust-") as directory:
        try:
            updater = _updater(directory, fetcher, roots[max(roots)])
        except exceptions.RepositoryError as err:
            if known.roots:
                raise _damaged("root", str(err)) from err
            raise RefusedError(f"the pinned root is no root: {err}", reason=Reason.TAMPERED.value) from err
        with suppress(_EndOfRootsError):
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


def verify_roles(stanza: Stanza, known: Known, roots: Roots, view: View, *, now: datetime) -> Refreshed:
    """Return the chain below ``roots``, verified (steps 3 to 7).

    Raises:
        RefusedError: with the reason of the first check that failed.
        UnreachableError: a file that the metadata names is not there.
    """
    bodies = _usable_bodies(known, roots)
    fetcher = _ViewFetcher(view, roots_only=False)
    with _refusing(fetcher, stanza, roots.bodies), tempfile.TemporaryDirectory(prefix="trust-") as directory:
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
    identity = identity_of(parse_metadata(roots.bodies[min(roots.bodies)], "root").signed)
    for name, metadata in parsed.items():
        require_binding(metadata.signed, name, identity)
        require_distinct_keys(roots.newest.signed, metadata, name)
        _require_floor(stanza, name, metadata.signed.version)
        if name in bodies:
            _require_one_content(known, roots, name, metadata.signed.version, fresh[name])
    _require_same_timestamp(fetcher, fresh["timestamp"])
    table = table_of(parsed["targets"].signed)
    _require_tombstones(bodies.get("targets"), table)
    return Refreshed(
        chain=TrustedChain(
            name=str(stanza.collection),
            identity=identity,
            root_version=roots.newest.signed.version,
            token=view.token,
            checked_at=now,
            roles={name: trusted_role(roots.newest.signed, name, parsed[name], fresh[name]) for name in parsed},
        ),
        tables={"targets": table},
    )


def _role_of(file_name: str) -> str:
    """Return the role of ``3.targets.json`` or ``timestamp.json``."""
    number, _, rest = file_name.removesuffix(".json").partition(".")
    return rest if number.isdigit() else file_name.removesuffix(".json")


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


def _usable_bodies(known: Known, roots: Roots) -> dict[str, bytes]:
    """Return the stored bodies that count as floors, without those whose keys a newer root changed.

    Raises:
        StateError: a floor is not what was stored; ngclient would pass over it, and take a rollback for news.
    """
    if known.chain is None:
        return {}
    for name in ("timestamp", "snapshot"):
        _require_sound(known, roots, name)
    after = roots.newest.signed
    changed = any(
        _root_of(known, roots, name).roles[name].keyids != after.roles[name].keyids
        for name in ("timestamp", "snapshot")
    )
    return {
        name: body for name, body in known.bodies.items() if name == "targets" or (name != "root" and not changed)
    }


def _root_of(known: Known, roots: Roots, name: str) -> Root:
    """Return the root under which the stored ``name`` was verified."""
    role = known.chain.roles.get(name) if known.chain else None
    body = roots.bodies.get(role.root_version) if role else None
    if body is None:
        raise _damaged(name, "it has no root")
    root: Root = parse_metadata(body, "root").signed
    return root


def _require_sound(known: Known, roots: Roots, name: str) -> None:
    """Require that the stored ``name`` still is what was verified."""
    root, body = _root_of(known, roots, name), known.bodies.get(name)
    try:
        metadata = parse_metadata(body or b"", name)
        root.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
    except (RefusedError, exceptions.RepositoryError) as err:
        raise _damaged(name, str(err)) from err


def _damaged(name: str, cause: str) -> StateError:
    return StateError(
        f"trusted state is damaged: role {name}: {cause}",
        hint="restore it from a backup, or move it away to start fresh from the pinned root",
    )


def _require_floor(stanza: Stanza, name: str, version: int) -> None:
    floor = stanza.floors.get(name, 0)
    if version < floor:
        raise RefusedError(
            f"role {name} is older than the policy's floor: expected at least version {floor}, got {version}",
            reason=Reason.ROLLED_BACK.value,
        )


def _require_one_content(known: Known, roots: Roots, name: str, version: int, body: bytes) -> None:
    before = known.chain.roles.get(name) if known.chain else None
    if before is None or before.facts.version != version or known.bodies.get(name) == body:
        return
    _require_sound(known, roots, name)
    raise RefusedError(f"role {name} version {version} has two contents", reason=Reason.TAMPERED.value)


def _require_tombstones(before: bytes | None, table: Table) -> None:
    """Refuse targets in which a revocation that was seen here has gone.

    A publisher without state can be shown a store from before it, and sign on; nobody takes a revocation back.
    """
    if before is None:
        return
    try:
        seen = parse_metadata(before, "targets").signed.unrecognized_fields.get(REVOKED_FIELD, {})
    except RefusedError as err:
        raise _damaged("targets", str(err)) from err
    gone = sorted(set(seen) - set(table.revoked)) if isinstance(seen, dict) else []
    if gone:
        raise RefusedError(
            f"a revocation has gone: {gone[0]} was revoked when this was last verified",
            reason=Reason.ROLLED_BACK.value,
            hint="the publisher signed on an old state of the store",
        )


def _require_same_timestamp(fetcher: _ViewFetcher, trusted: bytes) -> None:
    """Refuse a fetched timestamp that ngclient dropped in silence because its version is not newer."""
    if fetcher.fetched.get("timestamp.json", trusted) != trusted:
        raise RefusedError("role timestamp has two contents under one version", reason=Reason.TAMPERED.value)


def _signature_reason(fetcher: _ViewFetcher, roots: Mapping[int, bytes]) -> Reason:
    """Tell a foreign key from a broken signature and from too few: each asks something else of the user."""
    number, role = fetcher.last.partition(".")[0], _role_of(fetcher.last)
    chain = {**roots, **{int(n.split(".")[0]): body for n, body in fetcher.fetched.items() if ".root." in n}}
    delegator = chain.get(int(number) - 1) if role == "root" else chain[max(chain)]
    metadata = parse_metadata(fetcher.fetched[fetcher.last], role)
    result = parse_metadata(delegator or chain[max(roots)], "root").signed.get_verification_result(
        role, metadata.signed_bytes, metadata.signatures
    )
    if metadata.signatures and not set(metadata.signatures) & {*result.signed, *result.unsigned}:
        return Reason.WRONG_SIGNER
    return Reason.TAMPERED if set(metadata.signatures) & set(result.unsigned) else Reason.BELOW_THRESHOLD


@contextmanager
def _refusing(fetcher: _ViewFetcher, stanza: Stanza, roots: Mapping[int, bytes]) -> Iterator[None]:
    """Turn python-tuf's errors into ours, each with its stable reason."""
    collection = stanza.collection
    try:
        yield
    except exceptions.ExpiredMetadataError as err:
        hint = "the publisher must renew, or newer metadata is being withheld; check this clock too"
        raise RefusedError(f"collection {collection}: {err}", reason=Reason.EXPIRED.value, hint=hint) from err
    except exceptions.BadVersionNumberError as err:
        raise RefusedError(
            f"collection {collection}: {fetcher.last}: {err}", reason=Reason.ROLLED_BACK.value
        ) from err
    except exceptions.UnsignedMetadataError as err:
        reason = _signature_reason(fetcher, roots).value
        raise RefusedError(f"collection {collection}: {fetcher.last}: {err}", reason=reason) from err
    except exceptions.DownloadHTTPError as err:
        raise UnreachableError(
            f"collection {collection}: {err}", hint="the store is incomplete; try again"
        ) from err
    except (exceptions.RepositoryError, DeserializationError) as err:
        raise RefusedError(
            f"collection {collection}: {fetcher.last}: {err}", reason=Reason.TAMPERED.value
        ) from err
    except OSError as err:
        raise StateError(
            f"collection {collection}: no room for working files: {err.strerror}: {err.filename}",
            hint="nothing was changed; make room in the temporary directory, or name another in TMPDIR",
        ) from err
