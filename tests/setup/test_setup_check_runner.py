"""``scripts/test`` runs every kind of check, whatever failed before, and tells by its status which did first."""

import os
from pathlib import Path

import pytest

from tests.setup.conftest import Checkout

_KINDS = ("ruff", "mypy", "lint-imports", "python")


def _tool(checkout: Checkout, name: str, text: str) -> None:
    path = checkout.home / ".venv/bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    real = checkout.python.with_name("real")
    checkout.make_ready("test")
    (checkout.home / ".venv/bin/python").unlink()
    real.write_text('#!/bin/sh\necho "python $*"\necho "== 3 passed in 0.1s =="\nexit ${PYTEST_STATUS-0}\n')
    real.chmod(0o755)
    (checkout.home / ".venv/bin/python").symlink_to(real)
    (checkout.home / ".lab/ready.test").write_text(checkout.mark() + "\n")
    for name in ("ruff", "mypy", "lint-imports"):
        _tool(checkout, name, f'echo "{name} $*"')
    return checkout


def test_every_kind_runs_and_pytests_closing_line_is_last(ready: Checkout) -> None:
    done = ready.run("scripts/test", "tests/values", "-x")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    ran = [line for line in lines if line.split()[0] in _KINDS]
    assert ran == [
        "ruff check --quiet .",
        "ruff format --check --quiet .",
        "mypy --no-error-summary",
        "lint-imports --no-logo",
        f"python -m pytest -n 3 {'' if os.geteuid() == 0 else '-m not root '}tests/values -x",
    ]
    assert lines[-1] == "== 3 passed in 0.1s =="
    assert done.stderr == ""


def test_the_status_is_that_of_the_first_kind_that_failed(ready: Checkout) -> None:
    _tool(ready, "mypy", "exit 3")
    _tool(ready, "lint-imports", "exit 4")
    done = ready.run("scripts/test", PYTEST_STATUS="5")
    assert done.returncode == 3
    assert "== 3 passed in 0.1s ==" in done.stdout
    assert "passed: ruff check, ruff format; failed: mypy, lint-imports" in done.stdout
    assert done.stderr == "test: failed: mypy, lint-imports, pytest\n"


def test_no_test_at_all_is_a_failure(ready: Checkout) -> None:
    assert ready.run("scripts/test", PYTEST_STATUS="5").returncode == 5


def test_nothing_is_checked_where_set_up_failed(checkout: Checkout) -> None:
    done = checkout.run("scripts/test")
    assert done.returncode == 2
    assert "==" not in done.stdout


def test_the_demo_starts_with_its_components_on_path(ready: Checkout, tmp_path: Path) -> None:
    (ready.home / ".lab/ready.test").rename(ready.home / ".lab/ready.demo")
    done = ready.run("scripts/demo", "--quick", f"--dir={tmp_path}", PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == (
        f"python {ready.home.resolve()}/scripts/compromised_update.py --quick --dir={tmp_path}"
    )
