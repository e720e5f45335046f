"""The policy: the one stanza that speaks for an image, the paths of mirrors, pins."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.values.judgement import DIGEST, HIGH, LOW, OTHER, PINNED, stanza
from trust.digest import Digest
from trust.policy import Match, Policy, Rewrite
from trust.reference import parse_reference
from trust.value import replace


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
