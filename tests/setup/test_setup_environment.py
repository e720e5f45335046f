"""The locks, the environment made from them, and the project's commands in it."""

import os
import re
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.lab import pip_source
from scripts.lab.process import cleaned
from scripts.lab.project import script
from scripts.lab.steps import lock_for
from scripts.lab.unpacked import Unpacked
from scripts.lab.venv import Environment, interpreter_mark
from tests.setup.conftest import Checkout

_HERE = Path(__file__).parents[2]
_LOCKS = ("requirements.lock", "requirements-dev.lock")
_VERSION = re.compile(r"^([a-z0-9.-]+==\S+)", re.MULTILINE)


@pytest.mark.parametrize("name", _LOCKS)
def test_a_lock_pins_and_hashes_everything_and_names_no_host(name: str) -> None:
    text = (_HERE / name).read_text()
    blocks = text.replace("\\\n", " ").splitlines()
    assert len(blocks) > 10
    assert all(_VERSION.match(block) and "--hash=sha256:" in block for block in blocks)
    assert re.search(r"://|^-|--index|--find-links|@ ", text, re.MULTILINE) is None


def test_the_development_lock_holds_the_runtime_in_the_same_versions() -> None:
    runtime, development = (set(_VERSION.findall((_HERE / name).read_text())) for name in _LOCKS)
    assert runtime < development


def test_the_demo_installs_what_runs_and_no_tool_of_development() -> None:
    runtime, development = ((_HERE / name).read_text() for name in _LOCKS)
    assert lock_for("demo", runtime, development) == runtime
    assert "pytest==" not in runtime
    assert lock_for("test", runtime, development) == development


def test_an_environment_is_believed_only_for_its_lock_group_path_and_python(tmp_path: Path) -> None:
    environment = Environment(home=tmp_path / ".venv", locks=("a", "b"))
    assert environment.need("demo") == "anew"
    environment.make()
    assert environment.need("demo") == "anew"
    environment.remember("demo")
    assert environment.need("demo") == "nothing"
    assert environment.need("test") == "more"
    environment.remember("test")
    assert environment.need("demo") == "nothing"
    assert Environment(home=environment.home, locks=("a", "c")).need("demo") == "anew"
    shutil.copytree(environment.home, tmp_path / "moved", symlinks=True)
    assert Environment(home=tmp_path / "moved", locks=("a", "b")).need("demo") == "anew"
    environment.python.unlink()
    assert environment.need("demo") == "anew"
    assert interpreter_mark(environment.python) == ""
    environment.make()
    assert environment.need("demo") == "anew"


@pytest.mark.parametrize("folder", ["plain", "with space", "long" * 40])
def test_a_command_starts_its_function_and_nothing_to_find_it_by(tmp_path: Path, folder: str) -> None:
    home = tmp_path / folder
    home.mkdir()
    (home / "python").write_text(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
    (home / "python").chmod(0o755)
    (home / "package.py").write_text(
        "import sys\n\ndef main():\n"
        "    dear = {'pkg_resources', 'importlib.metadata'}.intersection(sys.modules)\n"
        "    print(sorted(dear), sys.argv[1])\n"
        "    return 7\n"
    )
    command = home / "command"
    command.write_text(script(str(home / "python"), "package:main"))
    command.chmod(0o755)
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(home)}
    done = subprocess.run(
        ["sh", "-c", '"$0" "a b"', command], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (7, "[] a b\n")


def test_mirrors_stay_and_what_redirects_an_install_goes() -> None:
    kept = cleaned(
        {
            "PIP_INDEX_URL": "i",
            "PIP_TARGET": "t",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HTTPS_PROXY": "p",
            "PYTHONPATH": "x",
        },
        {"PYTHONPATH": "pip"},
    )
    assert kept == {"PIP_INDEX_URL": "i", "HTTPS_PROXY": "p", "PYTHONPATH": "pip"}


def test_pip_is_told_of_authorities_only_where_the_machine_has_none(tmp_path: Path) -> None:
    wheel, pip, root, bundle = tmp_path / "pip-1.whl", tmp_path / "pip", tmp_path / "root", tmp_path / "bundle"
    certificates = tmp_path / "machine.crt"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pip/_vendor/certifi/core.py", f"WHERE = '{certificates}'\n")
    pip_source.unpack_wheel(wheel, pip)
    folder = root / "usr/share/ca-certificates/mozilla"
    folder.mkdir(parents=True)
    for name in ("b", "a"):
        (folder / f"{name}.crt").write_text(name)
    assert pip_source.give_authorities(pip, root, bundle, {}, system=certificates) == {
        "SSL_CERT_FILE": str(bundle)
    }
    assert bundle.read_text() == "a\nb"
    assert (pip / "pip/_vendor/certifi/core.py").read_text() == f"WHERE = '{bundle}'\n"
    mine = {"SSL_CERT_FILE": "mine"}
    assert pip_source.give_authorities(pip, root, bundle, mine, system=certificates) == {}
    bundle.unlink()
    certificates.write_text("there")
    assert pip_source.give_authorities(pip, root, bundle, {}, system=certificates) == {}
    assert not bundle.exists()


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("false", 0), ("true", 1)])
def test_a_missing_component_is_named_and_in_ci_a_failure(checkout: Checkout, ci: str, status: int) -> None:
    """Everything is fetched already, but what was unpacked has lost its programs."""
    home = checkout.home.resolve()
    program = f"""\
from pathlib import Path
from scripts.lab import steps
from scripts.lab.components import wanted
home = Path({str(home)!r})
steps.Unpacked(root=home / ".lab/root", release=steps._release()).remember(
    steps.needed_packages(wanted("demo"), pip=True, authorities=True))
locks = tuple((home / name).read_text() for name in steps.LOCKS)
environment = steps.Environment(home=home / ".venv", locks=locks)
environment.make()
environment.remember("demo")
"""
    (home / ".lab").mkdir()
    subprocess.run([sys.executable, "-c", program], cwd=home, check=True)
    (found,) = (home / ".venv").glob("lib/python3*/site-packages")
    (found / "borrowed.pth").write_text("".join(f"{folder}\n" for folder in site.getsitepackages()))
    tools = home / "tools"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-m", "scripts.lab", "--for", "demo", "--sources", "abc"],
        cwd=home,
        env={**os.environ, "CI": ci, "PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "setup: missing: docker-registry: no package of this release has it" in done.stderr
    assert ("in CI nothing may be missing" in done.stderr) == bool(status)
    assert not (home / ".lab/ready.demo").exists()
    assert "docker-registry" not in (home / ".lab/env.json").read_text()
    assert Unpacked(root=home / ".lab/root", release="other").packages() == frozenset()
