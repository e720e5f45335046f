"""A set-up with nothing to do says so without starting Python; whatever it rests on, a change ends that."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.setup.conftest import Checkout


def test_ready_checkout_starts_no_python_and_repeats_what_is_left_out(checkout: Checkout) -> None:
    checkout.make_ready("test", "setup: left out: dockerd: its daemon needs root")
    done = checkout.run("scripts/setup")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "setup: left out: dockerd: its daemon needs root\n"
    assert not checkout.started_python()


def test_touching_every_file_changes_nothing(checkout: Checkout) -> None:
    checkout.make_ready("demo")
    for file in checkout.home.rglob("*.py"):
        os.utime(file, (1, 1))
    assert checkout.run("scripts/setup", "--for", "demo").returncode == 0
    assert not checkout.started_python()


def _append(name: str) -> Callable[[Checkout], None]:
    def change(checkout: Checkout) -> None:
        with (checkout.home / name).open("a") as file:
            file.write("# changed\n")

    return change


def _other_interpreter(checkout: Checkout) -> None:
    new = checkout.python.with_name("new")
    new.write_bytes(checkout.python.read_bytes())
    new.chmod(0o755)
    new.replace(checkout.python)  # same bytes, another file: an upgraded Python


def _forget(name: str) -> Callable[[Checkout], None]:
    return lambda checkout: (checkout.home / name).unlink()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_append("requirements.lock"), id="lock"),
        pytest.param(_append("requirements-dev.lock"), id="development lock"),
        pytest.param(_append("pyproject.toml"), id="project"),
        pytest.param(_append("scripts/setup"), id="set-up"),
        pytest.param(_append("scripts/lab/components.py"), id="components"),
        pytest.param(_other_interpreter, id="interpreter"),
        pytest.param(_forget(".venv/bin/python"), id="no environment"),
        pytest.param(_forget(".lab/env.json"), id="no env.json"),
        pytest.param(_forget(".lab/ready.demo"), id="no mark"),
    ],
)
def test_a_change_ends_the_fast_path(checkout: Checkout, change: Callable[[Checkout], None]) -> None:
    checkout.make_ready("demo")
    assert checkout.run("scripts/setup", "--for", "demo").returncode == 0
    assert not checkout.started_python()
    change(checkout)
    assert checkout.run("scripts/setup", "--for", "demo").returncode == 2
    assert checkout.started_python()


def test_a_moved_checkout_is_not_ready(checkout: Checkout, tmp_path: Path) -> None:
    checkout.make_ready("demo")
    moved = Checkout(home=tmp_path / "moved", python=checkout.python, environ=checkout.environ)
    checkout.home.rename(moved.home)
    assert moved.run("scripts/setup", "--for", "demo").returncode == 2
    assert moved.started_python()


def test_an_empty_mark_is_not_ready(checkout: Checkout) -> None:
    checkout.make_ready("demo")
    (checkout.home / ".lab/ready.demo").write_text("")
    assert checkout.run("scripts/setup", "--for", "demo").returncode == 2
    assert checkout.started_python()


def test_a_smaller_group_is_not_taken_for_a_larger_one(checkout: Checkout) -> None:
    checkout.make_ready("demo")
    assert checkout.run("scripts/setup", "--for", "test").returncode == 2
    assert checkout.started_python()


def test_no_usable_python_is_exit_2_and_the_hint_names_it(checkout: Checkout) -> None:
    done = checkout.run("scripts/setup", "--for", "demo")
    assert done.returncode == 2
    assert f"tried {checkout.python}" in done.stderr
    assert "hint: install python3" in done.stderr


def test_an_unknown_argument_is_exit_2(checkout: Checkout) -> None:
    done = checkout.run("scripts/setup", "--fro", "demo")
    assert done.returncode == 2
    assert "unknown argument: --fro" in done.stderr
    assert not checkout.started_python()
