"""Owns the proof of a set-up before it serves: each finding is one line that says what was tried and what came.

1. TLS files load, the home and the cache can be written
2. every upstream answers on ``/v2/``
3. every collection's metadata verifies, and how long it lasts
"""

from __future__ import annotations

import ssl
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic

from registry_shim.answers import RefusedRequestError
from registry_shim.config import Config
from registry_shim.metadata_doors import Doors
from registry_shim.upstream import Upstream
from registry_shim.worker import server_context
from trust.client import refresh
from trust.deadline import deadline_in
from trust.errors import RefusedError, TrustError
from trust.instant import format_span, format_utc
from trust.policy import Stanza
from trust.policy_files import read_policy
from trust.state import TrustedState
from trust.verify import ROLE, reason_of

CHECK_SECONDS = 30.0
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found; ``code`` is 0 where it is well, 1 for distrust, 2 for a mistake, 3 where nobody answered."""

    what: str
    said: str
    code: int = 0

    def __str__(self) -> str:
        return f"{'ok' if self.code == 0 else 'error'} {self.what}: {self.said}"


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
        findings.append(Finding(what="policy", said="no collection: everything will be denied", code=2))
    return findings


def _tls(config: Config) -> Finding:
    try:
        context = server_context(config)
    except (OSError, ssl.SSLError) as err:
        return Finding(what="tls", said=f"certificate and key cannot be used: {err}", code=2)
    return Finding(what="tls", said="off: plain HTTP" if context is None else "certificate and key fit")


def _directory(what: str, path: Path) -> Finding:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as err:
        return Finding(what=what, said=f"cannot be written: {path}: {err.strerror}", code=3)
    if path.stat().st_mode & 0o022:
        return Finding(what=what, said=f"{path} can be written by others too: whoever can, decides", code=2)
    return Finding(what=what, said=str(path))


def _upstream(upstream: Upstream) -> Finding:
    what = f"upstream {upstream.name}"
    try:
        upstream.ping(None)
    except RefusedRequestError as err:
        if err.status == _UNAUTHORIZED:
            return Finding(what=what, said="answers, and wants its clients' login")
        return Finding(what=what, said=err.message, code=3)
    except TrustError as err:
        return Finding(what=what, said=str(err), code=3)
    finally:
        upstream.close()
    return Finding(what=what, said="answers")


def _collection(stanza: Stanza, doors: Doors) -> Finding:
    what, now = f"collection {stanza.collection}", datetime.fromtimestamp(time.time(), tz=timezone.utc)
    with tempfile.TemporaryDirectory(prefix="trust-shim-") as directory:
        state = TrustedState(Path(directory))
        try:
            deadline = deadline_in(CHECK_SECONDS, monotonic)
            current = refresh(stanza, state, doors.store(stanza), now=now, deadline=deadline)
        except RefusedError as err:
            return Finding(what=what, said=f"{reason_of(err).value}: {err}", code=1)
        except TrustError as err:
            return Finding(what=what, said=f"{reason_of(err).value}: {err}", code=3)
        finally:
            state.close()
    ends = min(facts.expires for facts in current.chain.facts(ROLE))
    mode = ", audit: what it denies is served" if stanza.mode == "audit" else ""
    return Finding(what=what, said=f"verified, until {format_utc(ends)} ({format_span(ends - now)}){mode}")
