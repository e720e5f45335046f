"""The policy's decision at its edges: names and digests on both sides of the right one, moments to the second."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.values.test_policy import (
    BY_DIGEST,
    DIGEST,
    NOW,
    PINNED,
    ROLES,
    SIGNED,
    UNSIGNED,
    WEB,
    WEEK,
    allowed,
    chain,
    judge,
    reason,
    stanza,
    target,
)
from trust.digest import Digest
from trust.policy import Evidence, Match, Policy, Rewrite, decide_pinned
from trust.reference import parse_reference
from trust.targets import Tombstone
from trust.value import replace
from trust.verdict import Denied, Reason

LOW, HIGH = (Digest(algorithm="sha256", hex=digit * 64) for digit in "0f")


def test_store_is_asked_each_time_unless_the_policy_says_otherwise() -> None:
    plain = stanza()
    assert (plain.max_age, plain.digests, plain.fresh, plain.mode) == (timedelta(0), "signed", "allow", "enforce")


def test_rewritten_path_is_not_rewritten_again() -> None:
    twice = stanza(
        registries=("mirror.test",),
        rewrites=(Rewrite(source="hub/", to="acme/"), Rewrite(source="acme/", to="acme/inner/")),
    )
    assert twice.path_of(parse_reference("mirror.test/hub/web:1")) == "acme/web"
    assert twice.path_of(parse_reference("mirror.test/acme/web:1")) == "acme/inner/web"


def test_rewrite_to_a_part_of_the_collection_or_to_more_than_it_is_turned_round() -> None:
    def prefixes(to: str, *, host: str = "mirror.test", name: str = "registry.test/acme/") -> tuple[str, ...]:
        rewrites = (Rewrite(source="hub/", to=to),)
        return stanza(name, registries=("mirror.test",), rewrites=rewrites).prefixes(host)

    assert prefixes("acme/") == ("hub/",)
    assert prefixes("acme/team/") == ("hub/",)
    assert prefixes("acme/", name="registry.test/acme/team/") == ("hub/team/",)
    assert prefixes("other/") == ("acme/",)
    assert prefixes("acme/", host="registry.test") == ("hub/", "acme/")
    assert prefixes("other/", host="registry.test") == ("acme/",)
    late = stanza(registries=("zz.test",), rewrites=(Rewrite(source="hub/", to="acme/"),))
    assert late.prefixes("zz.test") == ("hub/",)


@pytest.mark.parametrize("host", ["a.test", "mirror.tesu", "z.test"])
def test_host_that_is_not_of_the_collection_has_none_of_its_images(host: str) -> None:
    mirrored = stanza(registries=("mirror.test",))
    assert mirrored.path_of(parse_reference(f"{host}/acme/web:1")) is None
    assert mirrored.prefixes(host) == ()


def test_two_collections_with_the_longest_prefix_decide_nothing_and_shorter_ones_are_not_asked() -> None:
    tied = stanza("registry.test/acme/", registries=("mirror.test",))
    other = stanza("other.test/acme/", registries=("mirror.test",))
    whole = stanza("registry.test/", registries=("mirror.test",))
    reference = parse_reference("mirror.test/acme/web:1")
    policy = Policy(stanzas=(whole, tied, other))
    assert policy.match(reference) is None
    assert policy.tied(reference) == (Match(stanza=tied, path="acme/web"), Match(stanza=other, path="acme/web"))
    assert Policy(stanzas=(whole, tied)).match(reference) == Match(stanza=tied, path="acme/web")
    assert Policy().match(reference) is None
    assert Policy().tied(reference) == ()


@pytest.mark.parametrize("image", ["pausd", "pausf", "a", "z"])
def test_pin_is_of_its_repository_alone(image: str) -> None:
    policy = Policy(pinned=(PINNED,))
    assert policy.pin_of(parse_reference(f"registry.test/{image}:3")) is None
    assert policy.pin_of(parse_reference(f"registry.test/{image}@{DIGEST}")) is None


@pytest.mark.parametrize("digest", [LOW, HIGH])
def test_pin_is_of_its_digest_and_tag_alone(digest: Digest) -> None:
    policy = Policy(pinned=(PINNED,))
    assert policy.pin_of(parse_reference(f"registry.test/pause:3@{digest}")) is None
    for tag in ("2", "4", "33", "0", "z"):
        assert policy.pin_of(parse_reference(f"registry.test/pause:{tag}")) is None


def test_later_pin_is_found_behind_those_of_others() -> None:
    others = [
        replace(PINNED, reference=parse_reference(f"registry.test/{name}:3@{DIGEST}")) for name in ("a", "z")
    ]
    elsewhere = replace(PINNED, reference=parse_reference(f"registry.test/pause:1@{LOW}"))
    policy = Policy(pinned=(*others, elsewhere, PINNED))
    assert policy.pin_of(parse_reference("registry.test/pause:3")) is PINNED


@pytest.mark.parametrize("digest", [LOW, HIGH])
def test_target_of_another_digest_is_tampered_with(digest: Digest) -> None:
    swapped = replace(SIGNED, target=target(digest=digest))
    assert reason(judge(swapped, BY_DIGEST)) is Reason.TAMPERED


@pytest.mark.parametrize("digest", [LOW, HIGH])
def test_tag_that_moved_on_is_told(digest: Digest) -> None:
    moved = replace(SIGNED, tag_target=target(digest=digest))
    assert allowed(judge(moved, f"{WEB}@{DIGEST}")).notices == (f"tag 1.4 has moved on to {digest}",)
    assert allowed(judge(moved, BY_DIGEST)).notices == ()
    assert allowed(judge(moved)).notices == ()


@pytest.mark.parametrize("role", ROLES)
def test_expiry_is_a_notice_from_the_second_after_the_last_quarter_began(role: str) -> None:
    for seconds, is_told in ((1, False), (0, False), (-1, True)):
        fields = {"expires": NOW + WEEK / 4 + timedelta(seconds=seconds), "period": WEEK}
        notices = allowed(judge(replace(SIGNED, chain=chain(**{role: fields})))).notices
        assert bool(notices) == is_told
    silent = {"expires": NOW + timedelta(seconds=1), "period": None}
    assert allowed(judge(replace(SIGNED, chain=chain(**{role: silent})))).notices == ()


def test_tombstone_speaks_only_where_nothing_is_signed_unless_a_role_above_set_it() -> None:
    stone = Tombstone(revoked_at=NOW, revoked_by=("k",), paths=())
    allowed(judge(replace(SIGNED, tombstone=stone)))
    assert reason(judge(replace(UNSIGNED, overruled=stone))) is Reason.REVOKED
    assert reason(judge(replace(UNSIGNED, tombstone=stone))) is Reason.REVOKED


@pytest.mark.parametrize("role", ["acme.web", "targets", "z"])
def test_any_of_the_roles_that_the_policy_asks_for_will_do(role: str) -> None:
    evidence = replace(SIGNED, role=role)
    allowed(judge(evidence))
    allowed(judge(evidence, roles=("a", role, "zz")))
    verdict = judge(evidence, roles=("a", "zz"))
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.WRONG_SIGNER


def test_each_attestation_that_is_missing_is_named_and_an_empty_list_is_none() -> None:
    verdict = judge(
        replace(SIGNED, attestations={"spdx": (), "vuln": (LOW,)}), attestations=("spdx", "vuln", "slsa")
    )
    assert isinstance(verdict, Denied)
    assert "asks for spdx, slsa, and none" in verdict.detail


def test_digest_that_nobody_looked_up_a_tag_for_is_not_current() -> None:
    evidence = Evidence(chain=chain(), target=target(), tombstone=None)
    allowed(judge(evidence, BY_DIGEST))
    assert reason(judge(evidence, BY_DIGEST, digests="current")) is Reason.REVOKED


@pytest.mark.parametrize("seconds", [0, 1, 86_400])
def test_pin_is_over_from_its_date_on_for_ever(seconds: int) -> None:
    reference = parse_reference("registry.test/pause:3")
    verdict = decide_pinned(Policy(), PINNED, reference, NOW + timedelta(seconds=seconds))
    assert reason(verdict) is Reason.EXPIRED


def test_pin_says_nothing_of_sizes_signers_and_versions() -> None:
    found = allowed(decide_pinned(Policy(), PINNED, parse_reference("registry.test/pause:3"), NOW - WEEK))
    assert (found.size_bytes, found.signers, found.versions, found.notices) == (0, (), {}, ())


@pytest.mark.parametrize("role", ROLES)
def test_denied_key_costs_nothing_where_more_than_enough_others_signed(role: str) -> None:
    denying = Policy(denied_keys=frozenset({"b"}))
    fields = {"signers": ("a", "b", "c", "d"), "threshold": 1}
    allowed(judge(replace(SIGNED, chain=chain(**{role: fields})), policy=denying))
