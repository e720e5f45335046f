"""Where an object store is, and by which credentials, authorities and hosts it is reached."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.simulators.object_store import BUCKET, OWNER, READER, ObjectServer, environment
from tests.simulators.world import soon
from tests.stores.conftest import opened
from tests.stores.editions import now, publish
from trust.errors import InputError, UnreachableError
from trust.oci.http import Http
from trust.stores.interface import TIMESTAMP, MissingPlaceError
from trust.stores.object_place import CREDENTIALS, SCHEMES, own_hosts, parse_place

URL = "s3://bucket/acme"


@pytest.mark.parametrize("name", ["AWS_PROXY_URL", "https_proxy"])
def test_proxy_in_earnest_stays(name: str) -> None:
    place = parse_place(URL)
    assert "fd00::7" in own_hosts(place, {"AWS_ENDPOINT_URL": "https://[fd00::7]:9000"})
    assert "amazonaws.com" in own_hosts(place, {})
    assert own_hosts(place, {name: "http://proxy.example.com:3128"}) == ()


@pytest.mark.parametrize("who", [READER, (OWNER[0], "another secret"), ("nobody", "x")])
def test_denied_credentials_are_told_and_nothing_is_written(
    object_server: ObjectServer, http: Http, who: tuple[str, str]
) -> None:
    url = f"s3://{BUCKET}/denied/{who[0]}"
    with environment(object_server.environ(who)):
        store = opened(url, http)
        attempts: list[Callable[[], None]] = [
            lambda: store.probe(deadline=soon()),
            lambda: store.set_pending("targets", b"x", replaces=None, deadline=soon()),
            lambda: publish(store, 1),
        ]
        for attempt in attempts:
            with pytest.raises(UnreachableError, match="got 403") as caught:
                attempt()
            assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)
            assert who[1] not in str(caught.value)
    with environment(object_server.environ()):
        assert opened(url, http).names(deadline=soon()) == frozenset()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_variables_that_a_hint_names_are_those_that_the_library_reads(scheme: str) -> None:
    from obstore.exceptions import GenericError  # noqa: PLC0415 - dear, as where it is used
    from obstore.store import from_url  # noqa: PLC0415 - as above

    for variable in re.findall(r"[A-Z]+_[A-Z_]+", CREDENTIALS[scheme]):
        config: Any = {variable.lower(): "x"}
        with suppress(GenericError):  # some of them are asked for together; an unknown one is another error
            from_url(f"{scheme}://bucket", config=config)


def test_reader_without_the_right_to_write_verifies(object_server: ObjectServer, http: Http, place: str) -> None:
    publish(opened(place, http), 1)
    with environment(object_server.environ(READER)):
        view = now(opened(place, http))
        assert view.read(TIMESTAMP, 100) == b"timestamp 1"
        assert view.read("1.root.json", 100) is None


def test_missing_bucket_is_not_a_store_without_files(object_server: ObjectServer, http: Http) -> None:
    with environment(object_server.environ(READER)), pytest.raises(MissingPlaceError, match="bucket is missing"):
        now(opened("s3://no-such-bucket/x", http)).read("1.root.json", 100)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_plain_http_goes_to_this_machine_alone(http: Http, name: str) -> None:
    with pytest.raises(InputError, match="plain HTTP refused"):
        opened(URL, http, environ={name: "http://storage.example.com"})


@pytest.mark.parametrize(
    "url",
    ["s3:", "s3://", "s3://B", "s3://bucket/../x", "s3://bucket//x", "s3://u:p@bucket/x", "s3://bucket/a b",
     "s3://bucket/x?y", "gs://", "az:///x", "s3://bucket/."],
)  # fmt: skip
def test_malformed_address_is_refused(http: Http, url: str) -> None:
    with pytest.raises(InputError, match="metadata address is malformed"):
        opened(url, http)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "gs://bucket_of.example/a/b", "az://container/a"])
def test_address_of_each_cloud_is_taken(http: Http, url: str) -> None:
    assert opened(url, http, environ={}).url == url
