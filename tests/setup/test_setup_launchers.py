"""The launchers, started for real: programs get their arguments unchanged and only what they need beside."""

import os
import subprocess
from pathlib import Path

import pytest

from scripts.lab.launcher import Places, font_configuration, launcher, podman_configuration

_ECHO = '#!/bin/sh\nprintf "%s|" "${LD_LIBRARY_PATH-}" "$@"\n'


@pytest.fixture
def places(tmp_path: Path) -> Places:
    lab = tmp_path / "a lab"
    (lab / "bin").mkdir(parents=True)
    return Places(lab=lab, root=lab / "root", libraries=(lab / "root/usr/lib/x-linux-gnu",), loader=None)


def _started(places: Places, name: str, *arguments: str, program: str = _ECHO, **environ: str) -> str:
    path = places.lab / "program"
    path.write_text(program)
    path.chmod(0o755)
    start = places.lab / "bin" / name
    start.write_text(launcher(name, path, places))
    start.chmod(0o755)
    done = subprocess.run(
        [start, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(places.lab), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_arguments_pass_unchanged_and_libraries_are_found(places: Places) -> None:
    said = _started(places, "runc", "a b", "", "$HOME", "'", LD_LIBRARY_PATH="/mine")
    assert said == f"{places.libraries[0]}:/mine|a b||$HOME|'|"


def test_a_traced_program_does_not_see_the_library_path(places: Places) -> None:
    with_loader = Places(lab=places.lab, root=places.root, libraries=places.libraries, loader=Path("/bin/echo"))
    said = _started(with_loader, "strace", "-f", "true")
    assert said == f"--library-path {places.libraries[0]} {places.lab / 'program'} -f true\n"


def test_faketime_stands_in_for_debians_program(places: Places) -> None:
    (places.libraries[0] / "faketime").mkdir(parents=True)
    show = ["sh", "-c", 'echo "$FAKETIME $LD_PRELOAD $0"', "x"]
    library = places.libraries[0] / "faketime"
    # The loader complains on stderr that the library, which this test does not have, cannot be preloaded.
    relative, preload = _started(places, "faketime", "2001-02-03 UTC", *show).split(" ", 1)
    assert preload == f"{library}/libfaketime.so.1 x\n"
    assert int(relative) < -20 * 365 * 86_400
    exact = _started(places, "faketime", "-m", "-f", "@2001-02-03 04:05:06", *show)
    assert exact == f"@2001-02-03 04:05:06 {library}/libfaketimeMT.so.1 x\n"


def test_the_browser_finds_its_own_program_and_fonts_and_runs_for_root_too(places: Places) -> None:
    beside = places.lab / "lib/chromium"
    beside.mkdir(parents=True)
    (beside / "browser").write_text('#!/bin/sh\nprintf "%s|" "${LD_LIBRARY_PATH-}" "$FONTCONFIG_FILE" "$@"\n')
    (beside / "browser").chmod(0o755)
    start = places.lab / "bin/start"
    start.write_text(launcher("chromium-headless-shell", places.lab / "bin/browser", places))
    start.chmod(0o755)
    said = subprocess.run(
        [start, "--x"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    libraries = places.libraries[0]
    root = "--no-sandbox|" if os.geteuid() == 0 else ""
    assert said.stdout == f"{libraries}:{libraries}/pulseaudio|{places.lab}/etc/fonts.conf|{root}--x|"
    fonts = font_configuration(places)
    assert f"<dir>{places.root}/usr/share/fonts</dir>" in fonts


def test_podman_and_skopeo_are_given_a_policy_where_there_is_none(places: Places) -> None:
    policy = places.root / "etc/containers/policy.json"
    libraries = places.libraries[0]
    pull = ("podman", "--log-level", "error", "pull", "-q", "run")
    if Path("/etc/containers/policy.json").exists():
        expected = (f"{libraries}|--log-level|error|pull|-q|run|", f"{libraries}|inspect|")
    else:
        expected = (
            f"{libraries}|--log-level|error|pull|--signature-policy|{policy}|-q|run|",
            f"{libraries}|--policy|{policy}|inspect|",
        )
    assert (_started(places, *pull), _started(places, "skopeo", "inspect")) == expected
    (places.lab / ".config/containers").mkdir(parents=True)
    (places.lab / ".config/containers/policy.json").write_text("{}")
    assert _started(places, *pull) == f"{libraries}|--log-level|error|pull|-q|run|"
    assert _started(places, "skopeo", "inspect") == f"{libraries}|inspect|"


def test_what_the_caller_has_set_is_left_alone(places: Places) -> None:
    show = '#!/bin/sh\necho "$CONTAINERS_CONF" "$CONTAINERS_STORAGE_CONF"\n'
    ours = f"{places.lab}/etc/containers.conf {places.lab}/etc/storage.conf\n"
    assert _started(places, "podman", program=show) == ours
    assert _started(places, "podman", program=show, CONTAINERS_CONF="a", CONTAINERS_STORAGE_CONF="b") == "a b\n"


def test_podman_keeps_its_images_and_helpers_below_the_checkout(places: Places) -> None:
    files = podman_configuration(places)
    assert f'graphroot = "{places.lab}/containers/storage"' in files["storage.conf"]
    assert f'conmon_path = ["{places.lab}/bin/conmon"]' in files["containers.conf"]


def test_crun_is_started_plainly_where_the_cgroup_layout_allows(places: Places) -> None:
    text = launcher("crun", Path("/p/crun"), places)
    assert "umount /sys/fs/cgroup/unified" in text
    if not Path("/sys/fs/cgroup/unified/cgroup.procs").exists():
        assert _started(places, "crun", "run", "x") == f"{places.libraries[0]}|run|x|"
