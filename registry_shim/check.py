"""Owns the proof of a set-up before it serves: each finding is one line that says what was tried and what came.

1. TLS files load; the home, the cache and the log of decisions can be written; the addresses can be had
2. every upstream answers on ``/v2/``
3. every collection's metadata verifies, and how long it lasts
"""

from __future__ import annotations

import ssl
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic

from registry_shim.answers import RefusedRequestError
from registry_shim.config import Address, Config
from registry_shim.listening import bound_to
from registry_shim.metadata_doors import Doors
from registry_shim.upstream import Upstream
from registry_shim.worker import server_context
from trust.client import refresh
from trust.deadline import deadline_in
from trust.errors import InputError, RefusedError, TrustError
from trust.finding import Finding, error, fine, unknown, warning
from trust.instant import format_span, format_utc
from trust.policy import Stanza
from trust.policy_files import read_policy
from trust.state import TrustedState
from trust.value import replace
from trust.verdict import reason_of

CHECK_SECONDS = 30.0
_UNAUTHORIZED = 401


def check_setup(config: Config, policy_files: list[Path]) -> list[Finding]:
    """Return a finding for everything that the shim needs; trusted state is made anew and thrown away.

    Raises:
        InputError: the policy is wrong.
    """
    policy = read_policy(policy_files)
    findings = [
        _tls(config),
        _directory("home", config.home),
        _directory("cache", config.cache_directory),
        *([_decisions(config.decisions)] if config.decisions else []),
        _address("listen", config.listen),
        *([_address("operations", config.operations)] if config.operations else []),
    ]
    findings += [
        _upstream(Upstream(one, seconds=config.limits.upstream_seconds)) for one in config.upstreams.values()
    ]
    doors = Doors(config)
    try:
        findings += [_collection(stanza, doors) for stanza in policy.stanzas]
    finally:
        doors.close()
    if not policy.stanzas and not policy.pinned:
        findings.append(error("policy: it names no collection: everything will be denied"))
    return findings


def _tls(config: Config) -> Finding:
    try:
        context = server_context(config)
    except (OSError, ssl.SSLError) as err:
        return error(f"tls: certificate and key cannot be used: {err}")
    return fine("tls: off, plain HTTP" if context is None else "tls: certificate and key fit")


def _directory(what: str, path: Path) -> Finding:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as err:
        return error(f"{what}: {path} cannot be written: {err.strerror}")
    if path.stat().st_mode & 0o022:
        return error(f"{what}: {path} can be written by others too: whoever can, decides", f"chmod go-w {path}")
    return fine(f"{what}: {path}")


def _decisions(path: Path) -> Finding:
    """Return whether a shim could write the log; the log is left alone, since one may be at it."""
    hint = "its directory must be there and belong to the shim's user; a link is not followed"
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as err:
        return error(f"decisions: {path.parent} cannot be written: {err.strerror}", hint)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return error(f"decisions: {path}: expected a regular file", hint)
    return fine(f"decisions: {path}")


def _address(what: str, address: Address) -> Finding:
    """Return whether this process could have ``address``: no error, a shim that serves or another host may."""
    try:
        bound_to(address).close()
    except InputError as err:
        hint = "no matter if the shim serves already, or will serve on another machine or as another user"
        return warning(f"{what}: {err}", hint)
    return fine(f"{what}: {address}")


def _upstream(upstream: Upstream) -> Finding:
    what = f"upstream {upstream.name}"
    try:
        upstream.ping(None)
    except RefusedRequestError as err:
        if err.status == _UNAUTHORIZED:
            return fine(f"{what}: answers, and wants its clients' login")
        return unknown(f"{what}: {err.message}")
    except TrustError as err:
        return unknown(f"{what}: {err}", err.hint)
    finally:
        upstream.close()
    return fine(f"{what}: answers")


def _collection(stanza: Stanza, doors: Doors) -> Finding:
    what, now = f"collection {stanza.collection}", datetime.fromtimestamp(time.time(), tz=timezone.utc)
    with tempfile.TemporaryDirectory(prefix="trust-shim-") as directory:
        state = TrustedState(Path(directory))
        try:
            deadline = deadline_in(CHECK_SECONDS, monotonic)
            current = refresh(
                replace(stanza, fresh="allow"), state, doors.store(stanza), now=now, deadline=deadline
            )
        except RefusedError as err:
            return error(f"{what}: {reason_of(err).value}: {err}", err.hint)
        except TrustError as err:
            return unknown(f"{what}: {reason_of(err).value}: {err}", err.hint)
        finally:
            state.close()
    ends = min(facts.expires for facts in current.chain.facts())
    said = f"{what}: verified, until {format_utc(ends)} ({format_span(ends - now)})"
    return warning(f"{said}; audit: what it denies is served") if stanza.mode == "audit" else fine(said)
