"""The bounds of names, at the last that is taken and the first that is not."""

from __future__ import annotations

import pytest

from trust.digest import sha256
from trust.errors import InputError
from trust.reference import (
    PATH_MAX_LENGTH,
    Collection,
    Repository,
    is_loopback,
    parse_collection,
    parse_reference,
    with_tag,
)

HOST = "registry.test"


def test_longest_path_is_taken_and_a_longer_one_is_not() -> None:
    path = "a" * PATH_MAX_LENGTH
    assert parse_reference(f"{HOST}/{path}").repository.path == path
    assert parse_collection(f"{HOST}/{path}/").path == f"{path}/"
    with pytest.raises(InputError, match="repository name is too long"):
        parse_reference(f"{HOST}/{path}a")


def test_longest_tag_is_taken_and_a_longer_one_is_not() -> None:
    assert parse_reference(f"{HOST}/web:{'a' * 128}").tag == "a" * 128
    with pytest.raises(InputError, match="tag is malformed"):
        parse_reference(f"{HOST}/web:{'a' * 129}")


@pytest.mark.parametrize(("length", "is_taken"), [(63, True), (64, False), (65, True)])
def test_name_that_looks_like_an_image_id_is_refused(length: int, *, is_taken: bool) -> None:
    if is_taken:
        assert parse_reference("a" * length).repository.path == f"library/{'a' * length}"
    else:
        with pytest.raises(InputError, match="looks like an image id"):
            parse_reference("a" * length)
    assert parse_reference("g" * length).repository.path == f"library/{'g' * length}"
    assert parse_reference(f"a/{'a' * (length - 2)}").repository.path == f"a/{'a' * (length - 2)}"


@pytest.mark.parametrize(
    ("text", "host", "path", "tag"),
    [
        ("web", "docker.io", "library/web", "latest"),
        ("acme/web", "docker.io", "acme/web", "latest"),
        ("docker.io/web:1", "docker.io", "library/web", "1"),
        ("index.docker.io/web:1", "docker.io", "library/web", "1"),
        ("index.docker.io/acme/web", "docker.io", "acme/web", "latest"),
        ("localhost/web", "localhost", "web", "latest"),
        ("localhost:5000/web:1", "localhost:5000", "web", "1"),
        ("Registry/web", "Registry", "web", "latest"),
        ("registry:5000/web", "registry:5000", "web", "latest"),
        ("registry/web", "docker.io", "registry/web", "latest"),
        ("zlocal/web", "docker.io", "zlocal/web", "latest"),
        ("a/web", "docker.io", "a/web", "latest"),
        ("web:5000", "docker.io", "library/web", "5000"),
        ("[::1]:5000/web", "[::1]:5000", "web", "latest"),
        ("zz.test/web", "zz.test", "web", "latest"),
        ("a.test/web", "a.test", "web", "latest"),
    ],
)
def test_host_is_told_from_the_path_as_docker_does(text: str, host: str, path: str, tag: str) -> None:
    reference = parse_reference(text)
    assert (reference.repository.host, reference.repository.path, reference.tag) == (host, path, tag)


@pytest.mark.parametrize(
    "text", ["registry.test/acme/web:1", "registry.test:5000/web:1", "acme/web:1", f"web@{sha256(b'')}"]
)
def test_collection_with_a_tag_or_a_digest_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a collection has no tag and no digest"):
        parse_collection(text)


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("registry.test:5000/acme/web", "registry.test:5000", "acme/web"),
        ("registry.test:5000/acme/", "registry.test:5000", "acme/"),
        ("registry.test:5000/", "registry.test:5000", ""),
        ("registry.test/", "registry.test", ""),
    ],
)
def test_port_of_a_collection_is_no_tag(text: str, host: str, path: str) -> None:
    assert parse_collection(text) == Collection(host=host, path=path)


def test_repositories_and_collections_stand_in_the_order_of_host_and_path() -> None:
    for kind in (Repository, Collection):
        values = [kind(host=host, path=path) for host in ("a", "b") for path in ("a", "b")]
        assert sorted(values[::-1]) == values  # noqa: C415 - the order is what is tried


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("localhost", True),
        ("127.0.0.1:5000", True),
        ("[::1]:1", True),
        ("128.0.0.1", False),
        ("a", False),
        ("z", False),
    ],
)
def test_loopback_is_this_machine_and_no_other(host: str, *, is_so: bool) -> None:
    assert is_loopback(host) == is_so


def test_reference_under_a_tag_has_no_digest_and_by_digest_no_tag() -> None:
    both = parse_reference(f"{HOST}/web:1@{sha256(b'')}")
    assert str(with_tag(both, "2")) == f"{HOST}/web:2"
    assert str(both.at(sha256(b"x"))) == f"{HOST}/web@{sha256(b'x')}"
