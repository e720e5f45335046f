"""References and collections: Docker's grammar, canonical spelling, a message of its own for each near miss."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.digest import Digest, sha256
from trust.errors import InputError
from trust.reference import (
    Collection,
    Reference,
    Repository,
    is_loopback,
    parse_collection,
    parse_reference,
    with_tag,
)

SHA = str(sha256(b""))

# The grammar of distribution/reference, written from its documentation and not from the module under test.
ALPHANUMERIC = "[a-z0-9]+"
SEPARATOR = "(?:[.]|_|__|[-]+)"
PATH_COMPONENT = f"{ALPHANUMERIC}(?:{SEPARATOR}{ALPHANUMERIC})*"
REMOTE_NAME = f"{PATH_COMPONENT}(?:/{PATH_COMPONENT})*"
DOMAIN_COMPONENT = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN_NAME = f"{DOMAIN_COMPONENT}(?:[.]{DOMAIN_COMPONENT})*"
DOMAIN = f"(?:{DOMAIN_NAME}|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?"
TAG = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
DIGEST = "(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})"
FULL = re.compile(f"(?P<domain>{DOMAIN})/(?P<path>{REMOTE_NAME})(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?")

words = st.from_regex(re.compile(f"{PATH_COMPONENT}", re.ASCII), fullmatch=True).filter(
    lambda word: len(word) < 40
)
paths = st.lists(words, min_size=1, max_size=4).map("/".join)
hosts = st.one_of(
    st.from_regex(re.compile(f"{DOMAIN_COMPONENT}[.]{DOMAIN_NAME}(:[0-9]+)?", re.ASCII), fullmatch=True),
    st.sampled_from(["localhost", "localhost:5000", "[::1]:5000", "127.0.0.1:5000", "registry.test", "REGISTRY"]),
).filter(lambda host: host not in {"docker.io", "index.docker.io"})
tags = st.from_regex(re.compile(TAG, re.ASCII), fullmatch=True)
digests = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda raw: Digest(algorithm="sha256", hex=raw.hex())),
    st.binary(min_size=64, max_size=64).map(lambda raw: Digest(algorithm="sha512", hex=raw.hex())),
)


@st.composite
def references(draw: st.DrawFn) -> Reference:
    tag, digest = draw(st.none() | tags), draw(st.none() | digests)
    return Reference(
        repository=Repository(host=draw(hosts), path=draw(paths)),
        tag="latest" if tag is None and digest is None else tag,
        digest=digest,
    )


@given(reference=references())
def test_canonical_reference_prints_back(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference
    assert str(parse_reference(str(reference))) == str(reference)


@given(reference=references())
def test_canonical_reference_fits_dockers_grammar(reference: Reference) -> None:
    match = FULL.fullmatch(str(reference))
    assert match is not None
    assert (match["domain"], match["path"]) == (reference.repository.host, reference.repository.path)
    assert match["tag"] == reference.tag
    assert match["digest"] == (str(reference.digest) if reference.digest else None)


def _by_docker(text: str) -> tuple[str, str, str | None, str | None] | None:
    """Return domain, path, tag and digest as ``reference.ParseNormalizedNamed`` finds them, or None."""
    if re.fullmatch("[a-f0-9]{64}", text):
        return None
    domain, slash, remainder = text.partition("/")
    is_domain = slash and ("." in domain or ":" in domain or domain == "localhost" or domain.lower() != domain)
    if not is_domain:
        domain, remainder = "docker.io", text
    if domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in remainder:
        remainder = f"library/{remainder}"
    match = FULL.fullmatch(f"{domain}/{remainder}")
    if match is None or len(match["path"]) > 255:
        return None
    return match["domain"], match["path"], match["tag"], match["digest"]


ALPHABET = "abz09ABZ._-:/@[]%\x00é \n"
pieces = st.sampled_from(
    ["docker.io", "index.docker.io", "localhost", "nginx", "library", "/", ":", "@", ".", "..", "-", "_", "__",
     "//", "5000", "A", "a", "latest", SHA, SHA[:-1], "[::1]", "%2f", "\x00", "é", " ", "\n", "f" * 64, "x" * 130]
)  # fmt: skip


@given(text=st.one_of(st.text(ALPHABET, max_size=24), st.lists(pieces, max_size=7).map("".join)))
def test_what_docker_reads_is_read_alike_and_nothing_else(text: str) -> None:
    expected = _by_docker(text)
    try:
        found = parse_reference(text)
    except InputError:
        # A name of 64 hex digits is an image id to Docker only where it stands alone; refused everywhere here.
        assert expected is None or re.match("[a-f0-9]{64}[:@]", text)
        return
    assert expected is not None
    digest = str(found.digest) if found.digest else None
    tag = found.tag if expected[2] or digest else None  # Docker adds `latest` in a step of its own
    assert (found.repository.host, found.repository.path, tag, digest) == expected
    assert expected[2] or digest or found.tag == "latest"


@given(text=st.text(max_size=300))
def test_no_text_is_more_than_refused(text: str) -> None:
    with suppress(InputError):
        found = parse_reference(text)
        assert parse_reference(str(found)) == found


FAMILIAR = {
    "nginx": "docker.io/library/nginx:latest",
    "nginx:1.27": "docker.io/library/nginx:1.27",
    "acme/web": "docker.io/acme/web:latest",
    "docker.io/nginx": "docker.io/library/nginx:latest",
    "index.docker.io/library/nginx:1": "docker.io/library/nginx:1",
    "localhost/web": "localhost/web:latest",
    "localhost:5000": "docker.io/library/localhost:5000",
    "localhost:5000/web": "localhost:5000/web:latest",
    "REGISTRY/web:1": "REGISTRY/web:1",
    "registry.test/web@" + SHA: "registry.test/web@" + SHA,
    "registry.test/web:1@" + SHA: "registry.test/web:1@" + SHA,
    "[::1]:5000/web": "[::1]:5000/web:latest",
    "a/b/c/d": "docker.io/a/b/c/d:latest",
    "registry.test/a--b__c.d/e_f:T": "registry.test/a--b__c.d/e_f:T",
}


@pytest.mark.parametrize(("text", "canonical"), FAMILIAR.items())
def test_familiar_name_grows_as_docker_grows_it(text: str, canonical: str) -> None:
    assert str(parse_reference(text)) == canonical


NEAR_MISSES = {
    "": "is empty",
    "registry.test/": "repository name is empty",
    "registry.test/:1": "repository name is empty",
    "registry.test/acme/Web": "upper case",
    "Acme/web/Sub": "upper case",
    "registry.test/acme/../web": "has '\\.\\.'",
    "registry.test/acme%2fweb": "percent-encoded",
    "registry.test/acme/web%00": "percent-encoded",
    "registry.test/acme/web\x00": "NUL byte",
    "https://registry.test/acme/web": "has a scheme",
    "registry.test/" + "a" * 256: "too long",
    "registry.test//web": "malformed",
    "registry.test/web/": "malformed",
    "registry.test/-web": "malformed",
    "registry.test/web_": "malformed",
    "registry.test/a___b": "malformed",
    "registry.test/a..b": "has '\\.\\.'",
    "registry.test/wéb": "malformed",
    "registry.test/web ": "malformed",
    "registry.test/web\n": "malformed",
    "registry.test:port/web": "registry host is malformed",
    "-registry.test/web": "registry host is malformed",
    "registry..test/web": "registry host is malformed",
    "[::1/web": "registry host is malformed",
    "registry.test/web:": "tag is malformed",
    "registry.test/web:.1": "tag is malformed",
    "registry.test/web:-1": "tag is malformed",
    "registry.test/web:1/": "malformed",
    "registry.test/web:" + "1" * 129: "tag is malformed",
    "registry.test/web:é": "tag is malformed",
    "registry.test/web:1\n": "tag is malformed",
    "registry.test/web@": "digest has no algorithm",
    "registry.test/web@latest": "digest has no algorithm",
    "registry.test/web@md5:" + "0" * 32: "digest algorithm unknown",
    "registry.test/web@SHA256:" + "0" * 64: "digest algorithm unknown",
    "registry.test/web@sha256:" + "0" * 63: "wrong length",
    "registry.test/web@sha256:" + "0" * 65: "wrong length",
    "registry.test/web@sha256:" + "A" * 64: "not lower-case hex",
    "registry.test/web@sha256:" + "g" * 64: "not lower-case hex",
    "registry.test/web@sha256:" + "0" * 62 + "..": "not lower-case hex",
    f"registry.test/web@{SHA}:1": "wrong length",
    f"registry.test/web@{SHA}@{SHA}": "wrong length",
    "f" * 64: "looks like an image id",
}


@pytest.mark.parametrize(("text", "message"), NEAR_MISSES.items())
def test_near_miss_is_refused_with_a_message_of_its_own(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_reference(text)


@given(host=hosts, path=paths, namespace=st.booleans())
def test_collection_prints_back(host: str, path: str, *, namespace: bool) -> None:
    text = f"{host}/{path}{'/' if namespace else ''}"
    found = parse_collection(text)
    assert str(found) == text
    assert found.is_namespace == namespace
    assert parse_collection(str(found)) == found


@given(host=hosts)
def test_whole_registry_is_a_collection(host: str) -> None:
    found = parse_collection(f"{host}/")
    assert (found.host, found.path, found.is_namespace) == (host, "", True)
    assert found.covers_path("any/thing")


@given(text=st.text(ALPHABET, max_size=24))
def test_collection_that_is_accepted_prints_back(text: str) -> None:
    try:
        found = parse_collection(text)
    except InputError:
        return
    assert parse_collection(str(found)) == found


@given(prefix=paths, other=paths)
def test_collection_covers_on_slashes_and_not_on_letters(prefix: str, other: str) -> None:
    namespace = Collection(host="registry.test", path=f"{prefix}/")
    assert namespace.covers_path(f"{prefix}/{other}")
    assert not namespace.covers_path(prefix)
    assert not namespace.covers_path(f"{prefix}x/{other}")
    assert namespace.covers_path(other) == other.startswith(f"{prefix}/")
    alone = Collection(host="registry.test", path=prefix)
    assert alone.covers_path(other) == (other == prefix)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("registry.test/acme/web:1", "no tag and no digest"),
        (f"registry.test/acme/web@{SHA}", "no tag and no digest"),
        ("registry.test/acme//", "malformed"),
        ("registry.test/Acme/", "upper case"),
        ("registry.test/../", "has '\\.\\.'"),
        ("https://registry.test/acme/", "has a scheme"),
        ("acme:1", "malformed"),
        ("/", "repository name is empty"),
        ("", "is empty"),
    ],
)
def test_near_miss_of_a_collection_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_collection(text)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1", "127.9.8.7:80", "[::1]", "[::1]:5000"]
)
def test_loopback_hosts_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["localhost.evil.test", "127.0.0.1.evil.test", "xlocalhost", "128.0.0.1", "127.0.0", "[::2]", "localhost:",
     "localhost:50x", "registry.test", "127.0.0.1\n"],
)  # fmt: skip
def test_hosts_that_look_like_loopback_are_not(host: str) -> None:
    assert not is_loopback(host)


def test_reference_at_a_digest_or_a_tag_names_nothing_else() -> None:
    reference = parse_reference(f"registry.test/web:1@{SHA}")
    assert str(reference.at(sha256(b"x"))) == f"registry.test/web@{sha256(b'x')}"
    assert str(with_tag(reference, "2")) == "registry.test/web:2"
