"""Keys are rotated where the metadata is beside the images, on a real registry: one artifact, moved as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.simulators.command_line import Zygote
from tests.simulators.published import trust
from tests.simulators.pushing import push_image
from tests.simulators.registry import DockerRegistry, docker_registry


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DockerRegistry]:
    """Give a registry with nothing in it."""
    (tmp_path / "registry").mkdir()
    with docker_registry(tmp_path / "registry") as server:
        yield server


@pytest.mark.parametrize("how", ["--remove", "--stolen"])
def test_keys_rotate_beside_the_images_and_a_stolen_one_is_revoked(
    server: DockerRegistry, tmp_path: Path, how: str
) -> None:
    with closing(Zygote()) as zygote:
        collection = f"{server.host}/acme/"
        image = f"{collection}web:1.4@{push_image(server.host, '1.4', 'an image')}"
        keys = [word for role in ("root", "targets", "online") for word in (f"--{role}-key", role)]
        trust(zygote, tmp_path, "init", collection, "--metadata", "registry:", "--write-policy", *keys)
        trust(zygote, tmp_path, "sign", image)
        consumer = tmp_path / "consumer"
        trust(zygote, tmp_path, "verify", image, TRUST_HOME=str(consumer))
        for role in ("online", "targets"):
            trust(zygote, tmp_path, "key", "generate", f"{role}-2")
            trust(zygote, tmp_path, "rotate", collection, role, "--add", f"{role}-2", how, role)
            trust(zygote, tmp_path, "verify", image, TRUST_HOME=str(consumer))
        again = ("rotate", collection, "targets", "--add", "targets-2", how, "targets", "--json")
        said = trust(zygote, tmp_path, *again)
        assert not json.loads(said.splitlines()[0])["changed"]
        trust(zygote, tmp_path, "revoke", collection, "--signed-by", "targets", "--since", "1d")
        assert "revoked" in trust(zygote, tmp_path, "verify", image, code=1, TRUST_HOME=str(consumer))
