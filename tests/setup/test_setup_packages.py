"""Which packages are fetched, how apt is asked, and what a machine without apt is told."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.lab.apt import kept_settings, worth_unpacking
from scripts.lab.base_status import base_status
from scripts.lab.components import COMPONENTS, GROUPS, group_named, groups_within, reason_left_out, wanted
from scripts.lab.errors import SetupFailed
from scripts.lab.process import Runner
from scripts.lab.steps import needed_packages, without_apt
from scripts.lab.unpacked import Unpacked
from tests.setup.conftest import Checkout

_STATUS = """\
Package: apt
Status: install ok installed
Priority: important
Architecture: amd64
Depends: libapt (>= 2), adduser | other-adduser,
 gpgv

Package: libapt
Status: install ok installed
Priority: optional
Architecture: amd64
Pre-Depends: libc6

Package: other-adduser
Status: install ok installed
Priority: optional
Architecture: all

Package: gpgv-static
Status: install ok installed
Priority: optional
Architecture: amd64
Provides: gpgv (= 2), other

Package: libc6
Status: install ok installed
Priority: optional
Architecture: amd64

Package: libc6
Status: install ok installed
Priority: required
Architecture: i386

Package: dash
Essential: yes
Status: install ok installed
Architecture: amd64

Package: docker-ce
Status: hold ok installed
Priority: optional
Architecture: amd64
Conflicts: docker.io

Package: removed
Status: deinstall ok config-files
Priority: required
Architecture: amd64
"""


def test_each_group_contains_the_smaller_ones() -> None:
    names = [{component.name for component in wanted(group)} for group in GROUPS]
    assert names[0] < names[1] < names[2]
    assert {"docker-registry", "runc", "crun", "busybox"} <= names[0]
    assert groups_within("test") == ("demo", "test")
    assert group_named("bench") == "bench"
    with pytest.raises(ValueError, match="expected one of demo, test, bench, got 'all'"):
        group_named("all")


def test_component_names_are_unique() -> None:
    assert len({component.name for component in COMPONENTS}) == len(COMPONENTS)


def test_only_what_needs_root_is_left_out_and_only_for_a_user() -> None:
    def left_out(*, is_root: bool, hybrid: bool) -> set[str]:
        return {c.name for c in wanted("bench") if reason_left_out(c, is_root=is_root, hybrid_cgroups=hybrid)}

    assert left_out(is_root=True, hybrid=True) == set()
    assert left_out(is_root=False, hybrid=False) == {"criu", "docker", "dockerd", "containerd", "ctr"}
    assert left_out(is_root=False, hybrid=True) == {"criu", "crun", "docker", "dockerd", "containerd", "ctr"}


def test_pip_and_authorities_come_first_and_no_package_twice() -> None:
    packages = needed_packages(wanted("test"), pip=True, authorities=True)
    assert packages[:2] == ("python3-pip-whl", "ca-certificates")
    assert len(set(packages)) == len(packages)
    assert "python3-pip-whl" not in needed_packages(wanted("demo"), pip=False, authorities=False)


def test_base_status_is_what_apt_needs_whatever_else_is_installed() -> None:
    kept = base_status(_STATUS, "amd64")
    names = [line.removeprefix("Package: ") for line in kept.splitlines() if line.startswith("Package: ")]
    assert names == ["apt", "libapt", "other-adduser", "gpgv-static", "libc6", "dash"]
    assert "i386" not in kept
    assert base_status("", "amd64") == ""


def test_settings_that_run_or_move_things_are_dropped() -> None:
    dump = """\
Acquire::http::Proxy "http://proxy.test:3128";
Acquire::Check-Valid-Until "false";
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb || true";
DPkg::Post-Invoke:: "rm -f /x";
Dir::Cache "var/cache/apt";
Acquire::Odd "a\\"b";
"""
    assert kept_settings(dump).splitlines() == dump.splitlines()[:2]


def test_of_what_apt_resolves_the_wanted_and_their_libraries_are_taken() -> None:
    uris = "".join(
        f"'http://mirror.test/{name}_1%3a2_amd64.deb' {name}_1%3a2_amd64.deb 10 SHA256:00\n"
        for name in (
            *("libyajl2", "crun", "adduser", "libc6", "libperl5.36", "libfoo-perl", "libx-dev"),
            *("libgl1-mesa-dri", "libllvm15", "libz3-4"),
        )
    )
    assert worth_unpacking(uris, ["crun", "runc"]) == ("libyajl2", "crun")


def test_a_package_counts_only_after_its_last_byte(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: d\n"
    )
    (tree / "usr/sbin").mkdir(parents=True)
    (tree / "usr/sbin/p").write_text("#!/bin/sh\n")
    (tree / "usr/sbin/p").chmod(0o755)
    whole, cut = tmp_path / "p_1_all.deb", tmp_path / "cut.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", tree, whole], check=True, stdout=subprocess.DEVNULL
    )
    cut.write_bytes(whole.read_bytes()[:-40])
    unpacked = Unpacked(root=tmp_path / "root", release="debian 12")
    runner = Runner(environ=os.environ, lock_fd=0)
    with pytest.raises(SetupFailed, match=r"unpacking cut\.deb"):
        unpacked.add([cut], runner)
    assert unpacked.packages() == frozenset()
    unpacked.add([whole], runner)
    unpacked.remember(["p", "q?"])
    assert unpacked.packages() == {"p", "q?"}
    assert unpacked.program("p") == unpacked.root / "usr/sbin/p"
    assert not whole.exists()


def test_a_record_of_another_release_or_a_damaged_one_counts_for_nothing(tmp_path: Path) -> None:
    old = Unpacked(root=tmp_path, release="debian 12")
    old.remember(["p"])
    assert Unpacked(root=tmp_path, release="debian 13").packages() == frozenset()
    (tmp_path / "unpacked.json").write_text('{"release": "debian 12", "packages"')
    assert old.packages() == frozenset()


def test_without_apt_what_is_on_path_suffices() -> None:
    without_apt(wanted("demo"), lambda _: False, pip=False)
    with pytest.raises(SetupFailed, match="not on PATH: crun, pip") as caught:
        without_apt(wanted("demo"), lambda name: name == "crun", pip=True)
    assert caught.value.exit_code == 2


def test_a_machine_without_apt_is_told_what_to_install(checkout: Checkout, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "id", "sha256sum", "stat"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    done = checkout.run("scripts/setup", "--for", "demo", PATH=str(tools), SETUP_PYTHON=sys.executable)
    assert done.returncode == 2
    assert "no apt-get and dpkg on this machine, and not on PATH: docker-registry, runc" in done.stderr
    assert "hint: install docker-registry, runc" in done.stderr
    assert not (checkout.home / ".lab/env.json").exists()
