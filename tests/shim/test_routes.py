"""The shim's addresses: what parses prints back, and nothing leads to a registry that is not configured."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_shim.answers import Code, RefusedRequestError
from registry_shim.routes import (
    TAGS_MAX,
    TARGET_MAX_LENGTH,
    Ask,
    BlobAsk,
    ManifestAsk,
    Ping,
    ReferrersAsk,
    Routes,
    TagsAsk,
)
from trust.digest import sha256

DIGEST = sha256(b"content")
ROUTES = Routes(
    names=frozenset({"registry.test", "mirror.test:5000"}),
    prefixes={"registry.test": "registry.test", "mirror": "mirror.test:5000"},
    default="registry.test",
)
NO_DEFAULT = Routes(names=ROUTES.names, prefixes=ROUTES.prefixes, default=None)

words = st.from_regex(r"[a-z0-9]{1,8}(?:(?:[._]|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
components = words.filter(lambda word: word not in ROUTES.prefixes and "." not in word and word != "localhost")
paths = st.lists(st.one_of(components, st.sampled_from(["manifests", "blobs", "tags", "referrers", "list"])),
                 min_size=1, max_size=5).map("/".join)  # fmt: skip
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
digests = st.binary(max_size=4).map(sha256)


def refused(target: str, routes: Routes = ROUTES) -> RefusedRequestError:
    with pytest.raises(RefusedRequestError) as caught:
        routes.parse(target)
    return caught.value


def printed(ask: Ask) -> str:
    """Return the address that ``ask`` was read from, in its one canonical spelling."""
    match ask:
        case Ping():
            return "/v2/"
        case ManifestAsk():
            return f"/v2/{ask.path}/manifests/{ask.reference}"
        case BlobAsk():
            return f"/v2/{ask.path}/blobs/{ask.digest}"
        case ReferrersAsk():
            query = f"?{urlencode({'artifactType': ask.artifact_type})}" if ask.artifact_type else ""
            return f"/v2/{ask.path}/referrers/{ask.digest}{query}"
        case TagsAsk():
            return f"/v2/{ask.path}/tags/list?n={ask.count}&last={quote(ask.after)}"


@given(
    path=paths,
    last=st.one_of(
        tags.map(lambda tag: f"manifests/{tag}"),
        digests.map(lambda digest: f"manifests/{digest}"),
        digests.map(lambda digest: f"blobs/{digest}"),
        digests.map(lambda digest: f"referrers/{digest}"),
        st.tuples(st.integers(0, TAGS_MAX), tags).map(lambda page: f"tags/list?n={page[0]}&last={page[1]}"),
    ),
)
def test_what_parses_prints_back(path: str, last: str) -> None:
    target = f"/v2/{path}/{last}"
    assert printed(ROUTES.parse(target)) == target


@given(target=st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=60).map("/v2/".__add__))
def test_whatever_is_asked_leads_to_a_configured_registry_or_nowhere(target: str) -> None:
    with suppress(RefusedRequestError):
        ask = ROUTES.parse(target)
        assert ask.upstream in ROUTES.names
        if not isinstance(ask, Ping):
            assert not set(ask.path) & set("%?#\\:@ \x00")
            assert ".." not in ask.path


@given(first=st.from_regex(r"[a-z0-9.-]{1,12}(?::[0-9]{1,4})?", fullmatch=True), path=components)
def test_no_prefix_opens_a_registry_that_is_not_configured(first: str, path: str) -> None:
    target = f"/v2/{first}/{path}/manifests/1"
    for routes in (ROUTES, NO_DEFAULT):
        try:
            ask = routes.parse(target)
        except RefusedRequestError:
            continue
        assert isinstance(ask, ManifestAsk)
        if first in ROUTES.names or first in ROUTES.prefixes:
            assert ask.upstream == ROUTES.prefixes.get(first, first)
            assert ask.path == path
        else:
            assert routes is ROUTES
            assert (ask.upstream, ask.path) == ("registry.test", f"{first}/{path}")


@given(host=st.text(min_size=1, max_size=40).filter(lambda host: host not in ROUTES.names))
def test_no_ns_opens_a_registry_that_is_not_configured(host: str) -> None:
    for target in ("/v2/", "/v2/acme/web/manifests/1", f"/v2/registry.test/acme/web/blobs/{DIGEST}"):
        err = refused(f"{target}?{urlencode({'ns': host})}")
        assert (err.code, err.status, err.detail) == (Code.DENIED, 403, {"reason": "no-upstream"})


def test_registry_is_named_by_ns_by_prefix_or_by_default() -> None:
    for target, upstream, path in (
        ("/v2/acme/web/manifests/1", "registry.test", "acme/web"),
        ("/v2/acme/web/manifests/1?ns=mirror.test:5000", "mirror.test:5000", "acme/web"),
        ("/v2/acme/web/manifests/1?ns=mirror.test%3A5000", "mirror.test:5000", "acme/web"),
        ("/v2/mirror/acme/web/manifests/1", "mirror.test:5000", "acme/web"),
        ("/v2/registry.test/acme/web/manifests/1", "registry.test", "acme/web"),
        ("/v2/mirror.test:5000/acme/web/manifests/1", "mirror.test:5000", "acme/web"),
        ("/v2/web/manifests/1", "registry.test", "web"),
    ):
        assert ROUTES.parse(target) == ManifestAsk(upstream=upstream, path=path, reference="1")
    assert ROUTES.parse("/v2/") == ROUTES.parse("/v2") == Ping(upstream="registry.test")
    assert ROUTES.parse("/v2/?ns=mirror.test:5000") == Ping(upstream="mirror.test:5000")
    assert NO_DEFAULT.parse("/v2/") == Ping(upstream=None)
    assert refused("/v2/acme/web/manifests/1", NO_DEFAULT).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "..", "acme/..", "../acme/web", "acme/../web", "acme/./web", "acme//web", "acme/", "acme%2fweb",
        "acme%2Fweb", "acme/web%00", "acme/%2e%2e/web", "Acme/web", "acme/WEB", "acme\\web", "acme/web\x00",
        "-web", "acme/_web", "a" * 256, "acme/web:1", "acme/web@sha256",
    ],
)  # fmt: skip
def test_odd_repository_names_are_refused(path: str) -> None:
    for last in ("manifests/1", f"blobs/{DIGEST}", "tags/list", f"referrers/{DIGEST}"):
        err = refused(f"/v2/{path}/{last}")
        assert (err.code, err.status) in {
            (Code.NAME_INVALID, 400), (Code.NAME_UNKNOWN, 404), (Code.DENIED, 403),
        }  # fmt: skip


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:", "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "A" * 64, "SHA256:" + "0" * 64,
        "md5:" + "0" * 32, "sha256:" + "../" * 21 + "0", "sha256:%30" + "0" * 61, "sha512:" + "0" * 64,
    ],
)  # fmt: skip
def test_odd_digests_are_refused(digest: str) -> None:
    for kind in ("manifests", "blobs", "referrers"):
        err = refused(f"/v2/acme/web/{kind}/{digest}")
        assert (err.code, err.status) in {(Code.DIGEST_INVALID, 400), (Code.NAME_UNKNOWN, 404)}
    for kind in ("blobs", "referrers"):
        assert refused(f"/v2/acme/web/{kind}/latest").code is Code.DIGEST_INVALID


@pytest.mark.parametrize("tag", ["", ".", "..", "-1", "a b", "1%2e", "a" * 129, "ta\x00g", "1#x"])
def test_odd_tags_are_refused(tag: str) -> None:
    assert refused(f"/v2/acme/web/manifests/{tag}").status == 400


@pytest.mark.parametrize(
    "query", ["ns=registry.test&ns=evil.test", "n=1&n=2", "last=a&last=b", "artifactType=a&artifactType=b"]
)
def test_query_that_names_something_twice_is_refused(query: str) -> None:
    """Whoever stands before or behind us would read the other one."""
    assert refused(f"/v2/acme/web/tags/list?{query}").code is Code.NAME_INVALID


@pytest.mark.parametrize("query", ["&", "ns", "n=%ff", "&".join(f"a{number}=1" for number in range(17))])
def test_malformed_query_is_refused(query: str) -> None:
    assert refused(f"/v2/acme/web/tags/list?{query}").code is Code.NAME_INVALID


@pytest.mark.parametrize("number", ["", "-1", "+1", "1e3", "٣", "1" * 10, "0x1"])
def test_page_size_that_is_no_number_is_refused(number: str) -> None:
    assert refused(f"/v2/acme/web/tags/list?{urlencode({'n': number})}").status == 400


def test_page_is_bounded() -> None:
    ask = ROUTES.parse("/v2/acme/web/tags/list?n=999999999")
    assert isinstance(ask, TagsAsk)
    assert ask.count == TAGS_MAX


@pytest.mark.parametrize(
    "target",
    [
        "/", "", "*", "/v1/", "/v2", "v2/", "/v2//", "//v2/", "/v2/_catalog", "/v2/acme/web", "/v2/tags/list",
        "/v2/manifests/1", "/V2/acme/web/manifests/1", "http://registry.test/v2/acme/web/manifests/1",
        "/v2/acme/web/blobs/uploads/", "/v2/acme/web/manifests/1/", "/v2/acme/web/manifests/1/x",
    ],
)  # fmt: skip
def test_what_is_no_address_is_none(target: str) -> None:
    if target == "/v2":
        assert isinstance(ROUTES.parse(target), Ping)
    else:
        assert refused(target).status in {400, 404}


def test_long_address_is_refused() -> None:
    assert refused("/v2/" + "a/" * TARGET_MAX_LENGTH + "manifests/1").code is Code.NAME_INVALID
