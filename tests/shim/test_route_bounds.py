"""The bounds of an address, at the last that is taken and the first that is not."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from registry_shim.answers import Code, RefusedRequestError
from registry_shim.routes import QUERY_FIELDS_MAX, TAGS_MAX, TARGET_MAX_LENGTH, ManifestAsk, Routes, TagsAsk
from trust.digest import sha256

ROUTES = Routes(names=frozenset({"registry.test"}), prefixes={"mirror": "registry.test"}, default="registry.test")
TAGS = "/v2/acme/web/tags/list"


def page(query: str) -> TagsAsk:
    ask = ROUTES.parse(f"{TAGS}?{query}" if query else TAGS)
    assert isinstance(ask, TagsAsk)
    return ask


def refused(target: str) -> RefusedRequestError:
    with pytest.raises(RefusedRequestError) as caught:
        ROUTES.parse(target)
    return caught.value


def test_limits_are_the_numbers_that_were_decided() -> None:
    assert (TARGET_MAX_LENGTH, TAGS_MAX, QUERY_FIELDS_MAX) == (4096, 1000, 16)


def test_address_of_the_greatest_length_is_read_and_a_longer_one_is_not() -> None:
    longest = f"{TAGS}?last=".ljust(TARGET_MAX_LENGTH, "a")
    ask = ROUTES.parse(longest)
    assert isinstance(ask, TagsAsk)
    assert set(ask.after) == {"a"}
    err = refused(longest + "a")
    assert (err.code, err.status) == (Code.NAME_INVALID, 400)


def test_query_of_the_most_fields_is_read_and_one_of_more_is_not() -> None:
    fields = [f"f{number}=1" for number in range(QUERY_FIELDS_MAX)]
    assert page("&".join(fields)).count == TAGS_MAX
    assert refused(f"{TAGS}?{'&'.join([*fields, 'more=1'])}").code is Code.NAME_INVALID


@pytest.mark.parametrize("name", ["a", "n", "last", "ns"])
def test_field_that_stands_twice_is_refused(name: str) -> None:
    assert refused(f"{TAGS}?{name}=1&{name}=1").code is Code.NAME_INVALID
    assert refused(f"{TAGS}?x=&{name}=1&y=&{name}=2").code is Code.NAME_INVALID


@pytest.mark.parametrize(
    ("query", "count", "after"),
    [
        ("", TAGS_MAX, ""),
        ("n=0", 0, ""),
        ("n=1", 1, ""),
        (f"n={TAGS_MAX - 1}&last=b", TAGS_MAX - 1, "b"),
        (f"n={TAGS_MAX}", TAGS_MAX, ""),
        (f"n={TAGS_MAX + 1}", TAGS_MAX, ""),
        ("n=999999999", TAGS_MAX, ""),
        ("last=", TAGS_MAX, ""),
    ],
)
def test_page_of_tags_has_as_many_as_were_asked_for_up_to_the_most(query: str, count: int, after: str) -> None:
    ask = page(query)
    assert (ask.count, ask.after, ask.ns, ask.address) == (count, after, "", TAGS)


@pytest.mark.parametrize(
    "text", ["", "-1", "1000000000", "10000000000", "9" * 40, "1.0", "x", "+1", " 1", "%D9%A1", "%C2%B2"]
)
def test_count_that_is_no_short_number_is_refused(text: str) -> None:
    err = refused(f"{TAGS}?n={text}")
    assert (err.code, err.status) == (Code.UNSUPPORTED, 400)


def test_registry_that_was_named_is_kept_for_the_next_page() -> None:
    assert page("ns=registry.test").ns == "registry.test"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/v2/manifests/1", Code.NAME_INVALID),
        ("/v2/tags/list", Code.NAME_INVALID),
        ("/v1/acme/web/manifests/1", Code.NAME_UNKNOWN),
        ("/v2manifests/1", Code.NAME_UNKNOWN),
        ("/v2/acme/web", Code.NAME_UNKNOWN),
    ],
)
def test_address_without_a_repository_is_none(target: str, code: Code) -> None:
    assert refused(target).code is code


@pytest.mark.parametrize(
    "value",
    [
        ROUTES,
        ROUTES.parse("/v2/"),
        page(""),
        *(ROUTES.parse(f"/v2/web/{kind}/{sha256(b'x')}") for kind in ("manifests", "blobs", "referrers")),
    ],
)
def test_what_was_read_cannot_be_changed_or_mixed_up(value: object) -> None:
    names = type(value).__annotations__
    for name in names:
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)
    assert not hasattr(value, "__dict__")
    with pytest.raises(TypeError):
        type(value)(*(getattr(value, name) for name in names))


def test_prefix_needs_a_repository_behind_it() -> None:
    """``mirror`` alone is a repository of the default registry."""
    assert ROUTES.parse("/v2/mirror/manifests/1") == ManifestAsk(
        upstream="registry.test", path="mirror", reference="1"
    )
    digest = sha256(b"x")
    assert ROUTES.parse(f"/v2/mirror/web/manifests/{digest}") == ManifestAsk(
        upstream="registry.test", path="web", reference=digest
    )
