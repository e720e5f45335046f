"""A case to judge: a stanza, evidence that is sound, a pin; and what is to be said of the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from trust.chain import RoleFacts
from trust.decision import Evidence, decide
from trust.digest import Digest, sha256
from trust.policy import Match, Pinned, Policy, Stanza
from trust.reference import parse_collection, parse_reference
from trust.targets import Target
from trust.value import replace
from trust.verdict import Allowed, Denied, Reason, Verdict

NOW = datetime(2031, 5, 1, 12, tzinfo=timezone.utc)
WEEK = timedelta(days=7)
DIGEST, OTHER = sha256(b"image"), sha256(b"other")
LOW, HIGH = (Digest(algorithm="sha256", hex=digit * 64) for digit in "0f")
WEB = "registry.test/acme/web:1.4"
BY_DIGEST = f"registry.test/acme/web@{DIGEST}"
ROLES = ("root", "timestamp", "snapshot", "targets")


def stanza(name: str = "registry.test/acme/", **rules: Any) -> Stanza:
    return Stanza(collection=parse_collection(name), root=sha256(name.encode()), metadata="registry:", **rules)


def target(**fields: Any) -> Target:
    empty: Mapping[str, str] = {}
    return replace(
        Target(digest=DIGEST, size_bytes=5, media_type="t", signed_at=NOW, signed_by=("t1",), annotations=empty),
        **fields,
    )


def chain(**changed: Mapping[str, Any]) -> tuple[RoleFacts, ...]:
    facts = {
        name: RoleFacts(
            name=name, version=number, expires=NOW + WEEK * number, signers=(f"{name} key",), threshold=1
        )
        for number, name in enumerate(ROLES, 1)
    }
    return tuple(replace(fact, **changed.get(name, {})) for name, fact in facts.items())


SIGNED = Evidence(chain=chain(), target=target(tags=("1.4",)), tombstone=None)
UNSIGNED = Evidence(chain=chain(), target=None, tombstone=None)


def judge(
    evidence: Evidence = SIGNED,
    image: str = WEB,
    *,
    policy: Policy | None = None,
    now: datetime = NOW,
    **rules: Any,
) -> Verdict:
    match = Match(stanza=stanza(**rules), path="acme/web")
    return decide(policy or Policy(), match, parse_reference(image), evidence, now)


def reason(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Denied), verdict
    return verdict.reason


def allowed(verdict: Verdict) -> Allowed:
    assert isinstance(verdict, Allowed), verdict
    return verdict


PINNED = Pinned(reference=parse_reference(f"registry.test/pause:3@{DIGEST}"), until=NOW)
