"""Where things are when nobody says, by the XDG base directory specification; what is named comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from trust.places import home_directory, policy_place, trust_home


def test_what_is_named_comes_before_the_environment_and_that_before_the_users_place() -> None:
    environ = {"TRUST_HOME": "/srv/home", "TRUST_POLICY": "/srv/policy.toml", "XDG_DATA_HOME": "/data"}
    assert trust_home(environ, Path("/given")) == Path("/given")
    assert trust_home(environ) == Path("/srv/home")
    assert trust_home({"XDG_DATA_HOME": "/data"}) == Path("/data/trust")
    assert policy_place(environ, Path("/given")) == (Path("/given"), True)
    assert policy_place(environ) == (Path("/srv/policy.toml"), True)
    assert policy_place({"XDG_CONFIG_HOME": "/config"}) == (Path("/config/trust/policy.toml"), False)


@pytest.mark.parametrize("relative", ["", "data", "../data"])
def test_place_that_is_relative_is_passed_over(relative: str) -> None:
    """A home that moves with the working directory would be a fresh start in each."""
    assert trust_home({"XDG_DATA_HOME": relative}) == home_directory() / ".local/share/trust"
    assert policy_place({"XDG_CONFIG_HOME": relative}) == (home_directory() / ".config/trust/policy.toml", False)


def test_what_is_named_is_the_same_from_every_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert trust_home({"TRUST_HOME": "home"}) == tmp_path / "home"
    assert policy_place({"TRUST_POLICY": "policy.toml"}) == (tmp_path / "policy.toml", True)


def test_user_without_a_home_has_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", _nobody)
    assert trust_home({}) == Path("/nonexistent/.local/share/trust")


def _nobody(user: int) -> object:
    raise KeyError(f"getpwuid(): uid not found: {user}")
