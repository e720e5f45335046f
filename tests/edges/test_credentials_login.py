"""Where a login is left."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.simulators.accounts import credential_of
from trust.errors import InputError, StateError, UnavailableError
from trust.oci.credentials import Credentials, Login
from trust.oci.login import erase_login, store_login

HOST = "registry.example.com"
LOGIN = Login(user="me", secret="s3cr3t")


def test_stored_login_is_found_and_erased(tmp_path: Path) -> None:
    where = store_login(HOST, LOGIN, environ={}, home=tmp_path)
    path = tmp_path / ".docker" / "config.json"
    assert where == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credential_of(Credentials(environ={}, home=tmp_path), HOST) == LOGIN
    assert erase_login(HOST, environ={}, home=tmp_path) is True
    assert credential_of(Credentials(environ={}, home=tmp_path), HOST) is None
    assert erase_login(HOST, environ={}, home=tmp_path) is False


def test_everything_else_in_the_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / ".docker" / "config.json"
    path.parent.mkdir()
    before = {"auths": {"other.example.com": {"auth": "eDp5"}}, "proxies": {"default": {}}, "psFormat": "ä"}
    path.write_text(json.dumps(before))
    path.chmod(0o644)
    store_login(HOST, LOGIN, environ={}, home=tmp_path)
    after = json.loads(path.read_text())
    assert after["auths"].pop(HOST) == {"auth": "bWU6czNjcjN0"}
    assert after == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["config.json"]


def test_file_linked_from_elsewhere_stays_linked(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    path = tmp_path / ".docker" / "config.json"
    path.parent.mkdir()
    path.symlink_to(real)
    store_login(HOST, LOGIN, environ={}, home=tmp_path)
    assert path.is_symlink()
    assert HOST in json.loads(real.read_text())["auths"]


def test_docker_hub_is_stored_where_docker_looks(tmp_path: Path) -> None:
    store_login("docker.io", LOGIN, environ={}, home=tmp_path)
    assert list(json.loads((tmp_path / ".docker" / "config.json").read_text())["auths"]) == [
        "https://index.docker.io/v1/"
    ]
    assert credential_of(Credentials(environ={}, home=tmp_path), "docker.io") == LOGIN
    assert erase_login("docker.io", environ={}, home=tmp_path)


def test_docker_hub_is_stored_where_podman_looks(tmp_path: Path) -> None:
    environ = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    store_login("docker.io", LOGIN, environ=environ, home=tmp_path)
    assert list(json.loads((tmp_path / "auth.json").read_text())["auths"]) == ["docker.io"]
    assert credential_of(Credentials(environ=environ, home=tmp_path), "docker.io") == LOGIN


def helper(tmp_path: Path, script: str) -> dict[str, str]:
    program = tmp_path / "bin" / "docker-credential-kept"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    config = tmp_path / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text('{"credsStore": "kept"}')
    return {"PATH": f"{program.parent}:/usr/bin:/bin", "KEPT": str(tmp_path / "kept")}


def test_helper_keeps_the_login_and_the_file_never_sees_it(tmp_path: Path) -> None:
    environ = helper(tmp_path, 'echo "$*" >>"$KEPT.arguments"; cat >"$KEPT.$1"')
    assert store_login(HOST, LOGIN, environ=environ, home=tmp_path) == "docker-credential-kept"
    assert json.loads((tmp_path / "kept.store").read_text()) == {
        "ServerURL": HOST,
        "Username": "me",
        "Secret": "s3cr3t",
    }
    assert erase_login(HOST, environ=environ, home=tmp_path) is True
    assert (tmp_path / "kept.erase").read_text() == HOST
    assert (tmp_path / "kept.arguments").read_text() == "store\nerase\n"
    assert "s3cr3t" not in (tmp_path / ".docker" / "config.json").read_text()


def test_helper_that_cannot_store_is_an_error_without_the_secret(tmp_path: Path) -> None:
    environ = helper(tmp_path, "cat >&2; exit 1")
    with pytest.raises(UnavailableError, match="could not store") as caught:
        store_login(HOST, LOGIN, environ=environ, home=tmp_path)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("user", ["", "a:b"])
def test_user_name_that_cannot_be_read_back_is_refused(tmp_path: Path, user: str) -> None:
    with pytest.raises(InputError, match="user name"):
        store_login(HOST, Login(user=user, secret="x"), environ={}, home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["[]", "{", '{"auths": []}'])
def test_malformed_file_is_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".docker" / "config.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(InputError):
        store_login(HOST, LOGIN, environ={}, home=tmp_path)
    assert path.read_text() == content


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        store_login(HOST, LOGIN, environ={"DOCKER_CONFIG": str(tmp_path / "file" / "below")}, home=tmp_path)
