"""Where a credential is found, and that it is found nowhere else."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.accounts import credential_of
from trust.errors import InputError, UnavailableError
from trust.oci.credential_helper import erase_with_helper, get_from_helper, store_with_helper
from trust.oci.credentials import Credential, Credentials, IdentityToken, Login, RegistryToken

SECRET = "s3cr3t:with colon"


def packed(user: str, secret: str) -> dict[str, str]:
    return {"auth": b64encode(f"{user}:{secret}".encode()).decode()}


ENTRY = packed("me", SECRET)
LOGIN = Login(user="me", secret=SECRET)


def find(tmp_path: Path, config: dict[str, Any], host: str, path: str = "", **environ: str) -> Credential | None:
    (tmp_path / ".docker").mkdir(exist_ok=True)
    (tmp_path / ".docker" / "config.json").write_text(json.dumps(config))
    return credential_of(Credentials(environ=environ, home=tmp_path), host, path)


def program(directory: Path, name: str, script: str) -> str:
    """Install a credential helper and return the ``PATH`` that finds it."""
    directory.mkdir(exist_ok=True)
    path = directory / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{directory}:/usr/bin:/bin"


def test_no_file_is_anonymous(tmp_path: Path) -> None:
    assert credential_of(Credentials(environ={}, home=tmp_path), "registry.example.com") is None


def test_login_of_the_host_is_found(tmp_path: Path) -> None:
    assert find(tmp_path, {"auths": {"registry.example.com:5000": ENTRY}}, "registry.example.com:5000") == LOGIN


@pytest.mark.parametrize(
    "host",
    ["example.com", "registry.example.com:5000", "xregistry.example.com", "registry.example.co", "docker.io"],
)
def test_login_of_another_host_is_not_sent(tmp_path: Path, host: str) -> None:
    auths = {"registry.example.com": ENTRY, "https://registry.example.com/v2/": ENTRY}
    assert find(tmp_path, {"auths": auths}, host) is None


@pytest.mark.parametrize(
    "key",
    [
        "registry.example.com",
        "https://registry.example.com",
        "https://registry.example.com/",
        "http://registry.example.com/v1/",
        "https://registry.example.com/v2/",
        "registry.example.com/v1/",
    ],
)
def test_legacy_spellings_are_read(tmp_path: Path, key: str) -> None:
    assert find(tmp_path, {"auths": {key: ENTRY}}, "registry.example.com") == LOGIN


@pytest.mark.parametrize(
    "key",
    ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io", "https://docker.io"],
)
def test_docker_hub_is_found_under_each_of_its_names(tmp_path: Path, key: str) -> None:
    assert find(tmp_path, {"auths": {key: ENTRY}}, "docker.io") == LOGIN


def test_login_of_a_part_of_a_host_goes_before_that_of_the_host(tmp_path: Path) -> None:
    auths = {"quay.example.com": packed("all", "1"), "quay.example.com/acme": packed("part", "2")}
    assert find(tmp_path, {"auths": auths}, "quay.example.com", "acme/web") == Login(user="part", secret="2")
    assert find(tmp_path, {"auths": auths}, "quay.example.com", "acmes/web") == Login(user="all", secret="1")
    assert find(tmp_path, {"auths": {"quay.example.com/acme": ENTRY}}, "quay.example.com", "other") is None


def test_tokens_are_found(tmp_path: Path) -> None:
    auths = {
        "a.example.com": {"identitytoken": "refresh", "auth": ""},
        "b.example.com": {"registrytoken": "access"},
        "c.example.com": packed("<token>", "refresh"),
        "d.example.com": {"username": "me", "password": SECRET},
    }
    assert find(tmp_path, {"auths": auths}, "a.example.com") == IdentityToken(secret="refresh")
    assert find(tmp_path, {"auths": auths}, "b.example.com") == RegistryToken(secret="access")
    assert find(tmp_path, {"auths": auths}, "c.example.com") == IdentityToken(secret="refresh")
    assert find(tmp_path, {"auths": auths}, "d.example.com") == LOGIN


@pytest.mark.parametrize("entry", [{}, {"auth": ""}, {"email": "me@example.com"}, None, "text", 5])
def test_empty_entry_is_anonymous(tmp_path: Path, entry: object) -> None:
    assert find(tmp_path, {"auths": {"registry.example.com": entry}}, "registry.example.com") is None


def test_docker_config_and_registry_auth_file_say_where(tmp_path: Path) -> None:
    for name in ("home", "docker", "podman"):
        place = tmp_path / name / (".docker" if name == "home" else "")
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps({"auths": {"registry.example.com": packed(name, "x")}}))
    environ = {"DOCKER_CONFIG": str(tmp_path / "docker")}
    found = credential_of(Credentials(environ=environ, home=tmp_path / "home"), "registry.example.com")
    assert found == Login(user="docker", secret="x")
    environ["REGISTRY_AUTH_FILE"] = str(tmp_path / "podman" / "config.json")
    found = credential_of(Credentials(environ=environ, home=tmp_path / "home"), "registry.example.com")
    assert found == Login(user="podman", secret="x")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '"x"', "nonsense", '{"auths": {"registry.example.com": {"auth": "no base64!"}}}', "[" * 99999,
     r'{"auths": {"registry.example.com": {"username": "\ud800", "password": "no base64!"}}}',
     r'{"auths": {"registry.example.com": {"registrytoken": "no base64!\r\nX-Evil: 1"}}}',
     '{"auths": {"registry.example.com": {"registrytoken": "no base64!\u00e9"}}}'],
)  # fmt: skip
def test_malformed_file_is_bad_input_and_is_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(text)
    with pytest.raises(InputError, match="credentials file") as caught:
        credential_of(Credentials(environ={}, home=tmp_path), "registry.example.com")
    assert "no base64!" not in str(caught.value)


def test_login_without_a_colon_is_bad_input(tmp_path: Path) -> None:
    entry = {"auth": b64encode(b"s3cr3t").decode()}
    with pytest.raises(InputError, match="no colon") as caught:
        find(tmp_path, {"auths": {"registry.example.com": entry}}, "registry.example.com")
    assert entry["auth"] not in str(caught.value)


def test_secret_is_in_no_repr() -> None:
    shown = repr((LOGIN, IdentityToken(secret=SECRET), RegistryToken(secret=SECRET)))
    assert SECRET not in shown


@given(st.text(min_size=1).filter(lambda user: ":" not in user and user != "<token>"), st.text())
def test_every_login_is_read_back(tmp_path_factory: pytest.TempPathFactory, user: str, secret: str) -> None:
    entry = packed(user, secret)
    found = find(
        tmp_path_factory.getbasetemp(), {"auths": {"registry.example.com": entry}}, "registry.example.com"
    )
    assert found == Login(user=user, secret=secret.rstrip("\x00"))


def test_helper_of_the_host_goes_before_the_general_one_and_the_file(tmp_path: Path) -> None:
    script = 'read -r server; printf \'{"Username": "%s", "Secret": "SECRET"}\' "$server"'
    path = program(tmp_path / "bin", "own", script.replace("SECRET", "own"))
    program(tmp_path / "bin", "general", script.replace("SECRET", "general"))
    config = {
        "credHelpers": {"registry.example.com": "own"},
        "credsStore": "general",
        "auths": {"registry.example.com": ENTRY, "other.example.com": ENTRY},
    }
    assert find(tmp_path, config, "registry.example.com", PATH=path) == Login(
        user="registry.example.com", secret="own"
    )
    assert find(tmp_path, config, "other.example.com", PATH=path) == Login(
        user="other.example.com", secret="general"
    )
    assert find(tmp_path, config, "docker.io", PATH=path) == Login(
        user="https://index.docker.io/v1/", secret="general"
    )


def test_helper_that_holds_nothing_leaves_it_to_the_file(tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "empty", 'echo "credentials not found in native keychain"; exit 1')
    config = {"credsStore": "empty", "auths": {"registry.example.com": ENTRY}}
    assert find(tmp_path, config, "registry.example.com", PATH=path) == LOGIN
    assert find(tmp_path, config, "other.example.com", PATH=path) is None


def test_helper_may_give_an_identity_token(tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "tokens", 'echo \'{"Username": "<token>", "Secret": "refresh"}\'')
    found = find(tmp_path, {"credsStore": "tokens"}, "registry.example.com", PATH=path)
    assert found == IdentityToken(secret="refresh")


@pytest.mark.parametrize(
    "script",
    [
        "echo s3cr3t >&2; exit 7",
        "echo s3cr3t",
        "echo '[\"s3cr3t\"]'",
        'echo \'{"Username": "s3cr3t"}\'',
        'printf %s \'{"Username": "a", "Secret": "s3cr3t\\ud800"}\'',
        'echo \'{"Username": 5, "Secret": "s3cr3t"}\'',
    ],
)
def test_helper_that_fails_is_no_anonymous_and_is_not_quoted(tmp_path: Path, script: str) -> None:
    path = program(tmp_path / "bin", "broken", script)
    with pytest.raises(UnavailableError, match="credential helper broken") as caught:
        find(tmp_path, {"credsStore": "broken"}, "registry.example.com", PATH=path)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("action", ["get", "store", "erase"])
def test_helper_finds_what_it_needs_and_no_secret_of_ours(tmp_path: Path, action: str) -> None:
    script = f'env > {tmp_path}/found; echo \'{{"Username": "me", "Secret": "{SECRET}"}}\''
    path = program(tmp_path / "bin", "curious", script)
    needed = {"PATH": path, "HOME": "/home/me", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus"}
    pem = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"
    ours = {"TRUST_PASSPHRASE": "hunter2", "TRUST_PASSPHRASE_WEB": "hunter2", "TRUST_PIN": "hunter2"}
    environ = {**needed, **ours, "CI_KEY": pem}
    match action:
        case "get":
            assert get_from_helper("curious", "registry.example.com", environ=environ) == LOGIN
        case "store":
            store_with_helper("curious", "registry.example.com", LOGIN, environ=environ)
        case _:
            erase_with_helper("curious", "registry.example.com", environ=environ)
    found = (tmp_path / "found").read_text()
    assert {f"{name}={value}" for name, value in needed.items()} < set(found.splitlines())
    assert "hunter2" not in found


def test_helper_that_is_not_installed_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="docker-credential-missing is not on PATH"):
        find(tmp_path, {"credsStore": "missing"}, "registry.example.com", PATH="/nonexistent")


@pytest.mark.parametrize("name", ["../../tmp/evil", "a b", "a/b", ".hidden", "x;y", "-x", "x\n"])
def test_helper_name_that_is_a_path_is_never_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name is malformed"):
        find(tmp_path, {"credsStore": name}, "registry.example.com", PATH="/usr/bin:/bin")
