"""The policy's decision: the one stanza that speaks, and the steps over what it says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.chain import RoleFacts
from trust.digest import sha256
from trust.policy import Evidence, Match, Pinned, Policy, Rewrite, Stanza, decide, decide_pinned
from trust.reference import Reference, parse_collection, parse_reference
from trust.targets import Attests, Target, Tombstone
from trust.value import replace
from trust.verdict import Allowed, Denied, Reason, Verdict

NOW = datetime(2031, 5, 1, 12, tzinfo=timezone.utc)
WEEK = timedelta(days=7)
DIGEST, OTHER = sha256(b"image"), sha256(b"other")
WEB = "registry.test/acme/web:1.4"
ROLES = ("root", "timestamp", "snapshot", "targets")


def stanza(name: str = "registry.test/acme/", **rules: Any) -> Stanza:
    return Stanza(collection=parse_collection(name), root=sha256(name.encode()), metadata="registry:", **rules)


def matched(policy: Policy, image: str) -> tuple[str, str] | None:
    match = policy.match(parse_reference(image))
    return (str(match.stanza.collection), match.path) if match else None


def policy_of(*names: str) -> Policy:
    return Policy(stanzas=tuple(map(stanza, names)))


NESTED = policy_of("registry.test/", "registry.test/acme/", "registry.test/acme/web", "registry.test/acme/team/")


@pytest.mark.parametrize(
    ("image", "collection"),
    [
        ("registry.test/acme/web:1", "registry.test/acme/web"),
        ("registry.test/acme/web2:1", "registry.test/acme/"),
        ("registry.test/acme/web/sub:1", "registry.test/acme/"),
        ("registry.test/acme/team/app:1", "registry.test/acme/team/"),
        ("registry.test/acme/teams/app:1", "registry.test/acme/"),
        ("registry.test/acmeweb:1", "registry.test/"),
        ("registry.test/acme:1", "registry.test/"),
    ],
)
def test_longest_prefix_decides_on_slashes(image: str, collection: str) -> None:
    match = matched(NESTED, image)
    assert match is not None
    assert match[0] == collection
    assert matched(Policy(stanzas=NESTED.stanzas[::-1]), image) == match


@pytest.mark.parametrize(
    "image", ["other.test/acme/web:1", "registry.test:5000/acme/web:1", "acme/web:1", "nginx"]
)
def test_no_match_is_no_stanza(image: str) -> None:
    assert matched(NESTED, image) is None


words = st.sampled_from(["a", "b", "ab", "acme"])
names = st.lists(words, min_size=1, max_size=3).map("/".join)


@given(prefixes=st.lists(st.tuples(names, st.booleans()), max_size=5, unique=True), path=names)
def test_match_is_the_longest_covering_prefix(prefixes: list[tuple[str, bool]], path: str) -> None:
    policy = policy_of(*(f"registry.test/{name}{'/' if space else ''}" for name, space in prefixes))
    covering = [name + "/" for name, space in prefixes if space and path.startswith(name + "/")]
    covering += [name for name, space in prefixes if not space and name == path]
    match = matched(policy, f"registry.test/{path}:1")
    assert match == ((f"registry.test/{max(covering, key=len)}", path) if covering else None)


def test_further_registries_serve_the_same_paths() -> None:
    policy = Policy(stanzas=(stanza(registries=("mirror.test:5000",)),))
    assert matched(policy, "mirror.test:5000/acme/web:1") == ("registry.test/acme/", "acme/web")
    assert matched(policy, "mirror.test/acme/web:1") is None
    assert matched(policy, "mirror.test:5000/other/web:1") is None


REWRITTEN = Policy(
    stanzas=(
        stanza(
            registries=("mirror.test",),
            rewrites=(Rewrite(source="hub/acme/", to="acme/"), Rewrite(source="hub/", to="acme/hub/")),
        ),
    )
)


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("mirror.test/hub/acme/web:1", "acme/web"),
        ("mirror.test/hub/other/web:1", "acme/hub/other/web"),
        ("mirror.test/acme/web:1", "acme/web"),
        ("mirror.test/hubacme/web:1", None),
        ("mirror.test/hub:1", None),
    ],
)
def test_mirror_that_rewrites_paths_is_mapped_by_the_first_rule_that_fits(image: str, path: str | None) -> None:
    match = matched(REWRITTEN, image)
    assert (match[1] if match else None) == path


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


def test_signed_image_is_allowed_and_the_verdict_tells_all() -> None:
    verdict = allowed(judge())
    assert (verdict.digest, verdict.size_bytes, verdict.role, verdict.signers) == (
        DIGEST,
        5,
        "targets",
        ("targets key",),
    )
    assert verdict.versions == {"root": 1, "timestamp": 2, "snapshot": 3, "targets": 4}
    assert verdict.valid_until == NOW + WEEK
    assert verdict.notices == ()


@pytest.mark.parametrize("role", ROLES)
def test_role_is_expired_from_the_very_second_on(role: str) -> None:
    for seconds, is_allowed in ((1, True), (0, False), (-1, False)):
        evidence = replace(SIGNED, chain=chain(**{role: {"expires": NOW + timedelta(seconds=seconds)}}))
        verdict = judge(evidence)
        assert isinstance(verdict, Allowed) == is_allowed
        if isinstance(verdict, Denied):
            assert verdict.reason is Reason.EXPIRED
            assert role in verdict.detail


def test_absent_target_is_unsigned_and_with_a_tombstone_revoked() -> None:
    tombstone = Tombstone(revoked_at=NOW, revoked_by=("t1",), paths=())
    assert reason(judge(UNSIGNED)) is Reason.UNSIGNED
    assert reason(judge(replace(UNSIGNED, tombstone=tombstone))) is Reason.REVOKED


def test_tag_that_was_signed_anew_is_no_longer_revoked() -> None:
    tombstone = Tombstone(revoked_at=NOW, revoked_by=("t1",), paths=())
    allowed(judge(replace(SIGNED, tombstone=tombstone)))


def test_role_that_the_policy_does_not_ask_for_is_a_wrong_signer() -> None:
    allowed(judge(roles=("acme.team", "targets")))
    assert reason(judge(roles=("acme.team",))) is Reason.WRONG_SIGNER
    assert reason(judge(roles=("target",))) is Reason.WRONG_SIGNER  # a beginning of the role's name is no name


def test_attestation_of_one_type_does_not_stand_in_for_another() -> None:
    attested = replace(SIGNED, attestations={"spdx": (OTHER,)})
    allowed(judge(attested, attestations=("spdx",)))
    assert reason(judge(attested, attestations=("slsa",))) is Reason.ATTESTATION_MISSING
    assert reason(judge(attested, attestations=("spdx", "slsa"))) is Reason.ATTESTATION_MISSING


BY_DIGEST = f"registry.test/acme/web@{DIGEST}"


@pytest.mark.parametrize(
    ("fields", "is_named", "is_current"),
    [({"tags": ("1.4",)}, False, True), ({"inside": (OTHER,)}, True, True), ({"inside": (OTHER,)}, False, False),
     ({}, False, False)],
)  # fmt: skip
def test_current_digests_are_those_that_a_tag_names_or_an_index_that_has_one(
    fields: dict[str, Any], *, is_named: bool, is_current: bool
) -> None:
    evidence = replace(SIGNED, target=target(**fields), is_named=is_named)
    allowed(judge(evidence, BY_DIGEST))
    allowed(judge(evidence, WEB, digests="current"))
    verdict = judge(evidence, BY_DIGEST, digests="current")
    assert isinstance(verdict, Allowed) == is_current
    if not is_current:
        assert reason(verdict) is Reason.REVOKED


@pytest.mark.parametrize("image", [WEB, BY_DIGEST, f"{WEB}@{DIGEST}"])
def test_locally_denied_digest_is_revoked_at_once(image: str) -> None:
    denying = Policy(denied_digests=frozenset({DIGEST}))
    assert reason(judge(image=image, policy=denying)) is Reason.REVOKED
    expired = replace(SIGNED, chain=chain(root={"expires": NOW}))
    assert "deny list" in str(judge(expired, image, policy=denying))


def test_locally_denied_digest_is_revoked_though_nobody_signs_it() -> None:
    denying = Policy(denied_digests=frozenset({DIGEST}))
    assert reason(judge(UNSIGNED, BY_DIGEST, policy=denying)) is Reason.REVOKED


@pytest.mark.parametrize("role", ROLES)
def test_locally_denied_key_leaves_a_role_only_while_the_others_reach_the_threshold(role: str) -> None:
    denying = Policy(denied_keys=frozenset({"b"}))
    for signers, threshold, is_allowed in [(("b",), 1, False), (("a", "b"), 1, True), (("a", "b"), 2, False)]:
        evidence = replace(SIGNED, chain=chain(**{role: {"signers": signers, "threshold": threshold}}))
        verdict = judge(evidence, policy=denying)
        assert isinstance(verdict, Allowed) == is_allowed
        if isinstance(verdict, Denied):
            assert verdict.reason is Reason.WRONG_SIGNER


def test_digest_asked_for_is_the_digest_given() -> None:
    swapped = replace(SIGNED, target=target(digest=OTHER))
    assert reason(judge(swapped, BY_DIGEST)) is Reason.TAMPERED
    assert reason(judge(swapped, f"{WEB}@{DIGEST}")) is Reason.TAMPERED
    assert allowed(judge(swapped)).digest == OTHER


def test_tag_beside_a_digest_is_reported_and_not_denied() -> None:
    both = f"{WEB}@{DIGEST}"
    moved, gone = replace(SIGNED, tag_target=target(digest=OTHER)), SIGNED
    assert allowed(judge(replace(SIGNED, tag_target=target()), both)).notices == ()
    assert allowed(judge(moved, both)).notices == (f"tag 1.4 has moved on to {OTHER}",)
    assert allowed(judge(gone, both)).notices == ("tag 1.4 is not signed; the digest is",)


def test_expiry_that_nears_is_a_notice_in_the_last_quarter() -> None:
    for days_left, is_told in ((2, False), (1, True)):
        fields = {"expires": NOW + timedelta(days=days_left), "period": WEEK}
        notices = allowed(judge(replace(SIGNED, chain=chain(timestamp=fields)))).notices
        assert bool(notices) == is_told
        assert all("timestamp expires in 1 day" in notice for notice in notices)


PINNED = Pinned(reference=parse_reference(f"registry.test/pause:3@{DIGEST}"), until=NOW)


@pytest.mark.parametrize(
    ("image", "is_pinned"),
    [
        (f"registry.test/pause@{DIGEST}", True),
        (f"registry.test/pause:9@{DIGEST}", True),
        ("registry.test/pause:3", True),
        ("registry.test/pause:4", False),
        (f"registry.test/pause:3@{OTHER}", False),
        (f"registry.test/other@{DIGEST}", False),
        ("mirror.test/pause:3", False),
    ],
)
def test_pinned_digest_admits_itself_and_its_tag_alone(image: str, *, is_pinned: bool) -> None:
    assert (Policy(pinned=(PINNED,)).pin_of(parse_reference(image)) is PINNED) == is_pinned


def test_pin_by_digest_alone_admits_no_tag() -> None:
    pin = replace(PINNED, reference=parse_reference(f"registry.test/pause@{DIGEST}"))
    assert Policy(pinned=(pin,)).pin_of(parse_reference("registry.test/pause")) is None
    assert Policy(pinned=(pin,)).pin_of(parse_reference("registry.test/pause:latest")) is None


def test_pinned_digest_is_admitted_until_its_date() -> None:
    reference: Reference = parse_reference("registry.test/pause:3")
    before = decide_pinned(Policy(), PINNED, reference, NOW - timedelta(seconds=1))
    assert (allowed(before).digest, allowed(before).role, allowed(before).valid_until) == (DIGEST, "pinned", NOW)
    assert reason(decide_pinned(Policy(), PINNED, reference, NOW)) is Reason.EXPIRED


def test_pinned_digest_that_is_denied_here_is_revoked() -> None:
    denying = Policy(denied_digests=frozenset({DIGEST}))
    before = NOW - timedelta(seconds=1)
    for image in ("registry.test/pause:3", f"registry.test/pause@{DIGEST}"):
        assert reason(decide_pinned(denying, PINNED, parse_reference(image), before)) is Reason.REVOKED


def test_image_that_a_role_above_revoked_is_revoked_though_it_is_signed() -> None:
    stone = Tombstone(revoked_at=NOW, revoked_by=("t1",), paths=())
    for image in (WEB, BY_DIGEST):
        assert reason(judge(replace(SIGNED, overruled=stone), image)) is Reason.REVOKED


def test_attestation_needs_none_that_speaks_of_it() -> None:
    said = replace(SIGNED, target=target(attests=Attests(subject=OTHER, type="spdx")))
    allowed(judge(said, BY_DIGEST, attestations=("spdx",)))
    assert reason(judge(SIGNED, BY_DIGEST, attestations=("spdx",))) is Reason.ATTESTATION_MISSING


@pytest.mark.parametrize(
    ("host", "prefixes"),
    [
        ("registry.test", ("hub/acme/", "acme/")),
        ("mirror.test", ("hub/acme/",)),
        ("other.test", ()),
    ],
)
def test_images_of_a_collection_stand_below_the_names_that_are_rewritten_to_it(
    host: str, prefixes: tuple[str, ...]
) -> None:
    mirrored = stanza(registries=("mirror.test",), rewrites=(Rewrite(source="hub/acme/", to="acme/"),))
    assert mirrored.prefixes(host) == prefixes
    assert all(mirrored.path_of(parse_reference(f"{host}/{prefix}web:1")) == "acme/web" for prefix in prefixes)
