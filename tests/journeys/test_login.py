"""``trust login`` keeps what the registry took, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulators.authority import Authority
from tests.simulators.command_line import plain_environment
from tests.simulators.registry import PASSWORD, USER, TokenService, docker_registry
from tests.simulators.token_service import ISSUER, SERVICE, TokenIssuer
from tests.simulators.wire import WireServer


def login(home: Path, host: str, password: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trust", "login", host, "-u", USER, "--password-stdin", *more]
    environment = {**plain_environment(), "HOME": str(home)}
    return subprocess.run(
        command, input=f"{password}\n", env=environment, capture_output=True, text=True, check=False
    )


def kept(home: Path) -> list[str]:
    path = home / ".docker" / "config.json"
    return list(json.loads(path.read_text())["auths"]) if path.exists() else []


def require_refused(done: subprocess.CompletedProcess[str], host: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {host} refused the login of {USER!r}: nothing was kept\nhint: check user name and password\n"
    )


def test_password_is_tried_at_a_registry_that_asks_for_it(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry", login=True) as server:
        require_refused(login(tmp_path, server.host, "wrong"), server.host)
        assert kept(tmp_path) == []
        done = login(tmp_path, server.host, PASSWORD)
        assert (done.returncode, done.stderr) == (0, "")
        assert kept(tmp_path) == [server.host]


def test_password_is_tried_at_the_token_server_of_a_registry(tmp_path: Path) -> None:
    issuer = TokenIssuer(*Authority(tmp_path).issue("token.example.com"))
    with WireServer(script=issuer.script) as service:
        tokens = TokenService(
            realm=f"{service.url}/token", service=SERVICE, issuer=ISSUER, certificates=issuer.certificates
        )
        with docker_registry(tmp_path / "registry", tokens=tokens) as server:
            require_refused(login(tmp_path, server.host, "wrong"), server.host)
            assert kept(tmp_path) == []
            assert login(tmp_path, server.host, PASSWORD).returncode == 0
            assert kept(tmp_path) == [server.host]
    assert {request.target for request in service.requests} == {"/token?service=tests"}, "no scope is asked for"


def test_login_that_is_kept_already_is_not_the_one_that_is_tried(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry", login=True) as server:
        assert login(tmp_path, server.host, PASSWORD).returncode == 0
        before = (tmp_path / ".docker" / "config.json").read_text()
        require_refused(login(tmp_path, server.host, "wrong"), server.host)
        assert (tmp_path / ".docker" / "config.json").read_text() == before


def test_refusal_is_one_json_document(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry", login=True) as server:
        done = login(tmp_path, server.host, "wrong", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == 1
    assert "wrong" not in done.stdout + done.stderr


@pytest.mark.parametrize("status", [404, 500])
def test_password_that_nobody_judged_is_not_kept(tmp_path: Path, status: int) -> None:
    with WireServer(script=lambda exchange: exchange.answer(status)) as server:
        done = login(tmp_path, server.host, PASSWORD)
    assert (done.returncode, kept(tmp_path)) == (3, [])
    assert f"could not try the login: expected success, got {status}" in done.stderr


def test_registry_that_does_not_answer_keeps_nothing(tmp_path: Path) -> None:
    done = login(tmp_path, "127.0.0.1:1", PASSWORD)
    assert (done.returncode, kept(tmp_path)) == (3, [])


def test_registry_that_asks_nobody_is_said_to_have_tried_nothing(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as server:
        done = login(tmp_path, server.host, PASSWORD, "--json")
    assert (done.returncode, kept(tmp_path)) == (0, [server.host])
    assert json.loads(done.stdout)["tried"] is False
    assert done.stderr == f"warning: {server.host} asks nobody for a login: this one was not tried\n"


def test_empty_password_is_not_kept(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as server:
        done = login(tmp_path, server.host, "")
    assert (done.returncode, done.stdout) == (2, "")
    assert "password is empty" in done.stderr
    assert kept(tmp_path) == []
