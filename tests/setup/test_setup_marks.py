"""What set-up hands over, and that nothing is handed over which does not start."""

import json
import os
import stat
from pathlib import Path

import pytest

from scripts.lab.components import Component
from scripts.lab.process import Runner
from scripts.lab.ready import HandOver, Outcome, elsewhere_on_path, loader_of
from scripts.lab.unpacked import Unpacked


@pytest.fixture
def hand_over(tmp_path: Path) -> HandOver:
    (tmp_path / ".lab").mkdir()
    return HandOver(lab=tmp_path / ".lab")


@pytest.fixture
def runner() -> Runner:
    return Runner(environ=os.environ, lock_fd=0)


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_marks_are_withdrawn_together(hand_over: HandOver) -> None:
    hand_over.mark("demo", "m", [])
    hand_over.mark("test", "m", ["note"])
    assert hand_over.marked("test", "m") == ("note",)
    assert hand_over.marked("test", "other") is None
    hand_over.withdraw()
    assert hand_over.marked("demo", "m") is None
    assert hand_over.marked("test", "m") is None


def test_what_starts_is_exposed_and_what_does_not_is_named(hand_over: HandOver, runner: Runner) -> None:
    unpacked = Unpacked(root=hand_over.lab / "root", release="debian 12")
    _program(unpacked.root / "usr/sbin/good", '#!/bin/sh\necho "$0 $1"\n')
    _program(unpacked.root / "usr/bin/bad", "#!/bin/sh\necho libyajl.so.2 is missing >&2\nexit 127\n")
    venv_bin = hand_over.lab.parent / ".venv/bin"
    _program(venv_bin / "ours", '#!/bin/sh\n[ "$1" = version ]\n')
    components = [
        Component(name="good", group="demo", packages=("p",)),
        Component(name="bad", group="demo", packages=("p",)),
        Component(name="absent-from-everywhere", group="demo", packages=("p",)),
        Component(name="ours", group="demo", probe=("version",)),
    ]
    outcome = hand_over.expose(components, unpacked, venv_bin, runner)
    assert dict(outcome.there) == {"good": hand_over.lab / "bin/good", "ours": hand_over.lab / "bin/ours"}
    assert outcome.missing.keys() == {"bad", "absent-from-everywhere"}
    assert "libyajl.so.2 is missing" in outcome.missing["bad"]
    assert not (hand_over.lab / "bin/absent-from-everywhere").exists()


def test_a_component_of_another_checkout_is_not_kept(hand_over: HandOver, tmp_path: Path) -> None:
    foreign = _program(tmp_path / "elsewhere/bin/skopeo", "#!/bin/sh\n")
    kept = _program(hand_over.lab / "bin/umoci", "#!/bin/sh\n")
    crun = _program(hand_over.lab / "bin/crun", "#!/bin/sh\n")
    before = {
        "skopeo": str(foreign),
        "umoci": str(kept),
        "gone": str(hand_over.lab / "bin/gone"),
        "crun": str(crun),
    }
    (hand_over.lab / "env.json").write_text(json.dumps(before))
    runc = _program(hand_over.lab / "bin/runc", "#!/bin/sh\n")
    hand_over.publish(Outcome(there={"runc": runc}, missing={}), {"crun": "needs root"})
    assert json.loads((hand_over.lab / "env.json").read_text()) == {"runc": str(runc), "umoci": str(kept)}
    assert json.loads((hand_over.lab / "left-out.json").read_text()) == {"crun": "needs root"}


def test_our_own_launcher_is_not_taken_for_the_machines(
    hand_over: HandOver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(hand_over.lab / "bin/tool", "#!/bin/sh\n")
    real = _program(tmp_path / "usr/tool", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{hand_over.lab / 'bin'}:{real.parent}")
    assert elsewhere_on_path("tool", hand_over.lab) == real
    monkeypatch.setenv("PATH", str(hand_over.lab / "bin"))
    assert elsewhere_on_path("tool", hand_over.lab) is None


def test_the_loader_is_the_one_that_the_program_names(tmp_path: Path) -> None:
    loader = loader_of(Path("/bin/sh").resolve())
    assert loader is not None
    assert loader.stat().st_mode & stat.S_IXUSR
    assert loader_of(_program(tmp_path / "script", "#!/bin/sh\n/lib64/none\0")) is None
