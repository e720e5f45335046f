"""The command line over an object store, read by its publisher and, through a static host, by everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url

from tests.simulators.command_line import NAME, CommandLine, Zygote, write_layout
from tests.simulators.object_store import ObjectServer
from tests.simulators.wire import Exchange, WireServer


class CloudUser(CommandLine):
    """A user whose metadata lives in a bucket."""

    def __init__(self, folder: Path, zygote: Zygote, url: str, cloud: dict[str, str]) -> None:
        super().__init__(folder, zygote)
        self.url = url
        self.cloud = cloud

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.cloud}

    def init(self, *more: str) -> list[str]:
        return ["init", NAME, "--metadata", self.url, "--write-policy", *more]


@pytest.fixture
def user(tmp_path: Path, object_server: ObjectServer, place: str) -> Iterator[CloudUser]:
    zygote = Zygote()
    folder = tmp_path / "publisher"
    folder.mkdir()
    yield CloudUser(folder, zygote, place, object_server.environ())
    zygote.close()


def test_collection_in_a_bucket_is_made_signed_verified_and_renewed(user: CloudUser) -> None:
    user.found()
    user.expect(0, *user.init())  # is there already
    user.expect(0, *user.sign("2.0"))
    user.expect(0, "publish", NAME)
    user.expect(0, "revoke", f"{NAME}web:1.4")
    user.expect(0, *user.verify("2.0"))
    user.expect(1, *user.verify("1.4"))


def test_consumer_reads_over_http_what_is_published_to_the_bucket(user: CloudUser, tmp_path: Path) -> None:
    user.found()
    bucket = from_url(user.url, client_options={"allow_http": True})

    def serve(exchange: Exchange) -> None:
        try:
            found = obstore.get(bucket, exchange.request.target.removeprefix("/trust/"))
        except FileNotFoundError:
            exchange.answer(404)
        else:
            exchange.answer(200, bytes(found.bytes()), ETag=str(found.meta["e_tag"]))

    with WireServer(script=serve) as server:
        policy = (user.folder / "policy.toml").read_text()
        read = f'metadata = "http://{server.host}/trust"'
        written = policy.replace(f'metadata = "{user.url}"', f'{read}\npublish = "{user.url}"')
        assert read in written
        (user.folder / "policy.toml").write_text(written)
        user.expect(0, *user.verify("1.4"))
        user.expect(0, *user.sign("2.0"))
        user.expect(0, *user.verify("2.0"))
        assert {each.target for each in server.requests} >= {"/trust/timestamp.json", "/trust/2.root.json"}

        (tmp_path / "consumer").mkdir()
        consumer = CommandLine(tmp_path / "consumer", user.zygote)
        write_layout(consumer.layout)
        (consumer.folder / "policy.toml").write_text(written)
        consumer.expect(0, *consumer.verify("2.0"))


def test_bucket_without_credentials_is_told_with_the_next_step(user: CloudUser) -> None:
    user.cloud = {**user.cloud, "AWS_ACCESS_KEY_ID": "nobody"}
    write_layout(user.layout)
    said = user.expect(3, *user.init())
    assert "403" in said
    assert "AWS_ACCESS_KEY_ID" in said


def test_address_that_is_only_read_founds_no_collection(user: CloudUser) -> None:
    user.url = "https://cdn.invalid/trust"
    said = user.expect(2, *user.init())
    assert "only read" in said
    assert "s3://BUCKET/PREFIX" in said
