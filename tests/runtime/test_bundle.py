"""The runtime configuration: what every container is denied, and what a user's container cannot have."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import Workshop
from tests.runtime.images import directory, file, image_bytes, layer, pulled, symlink
from trust.errors import InputError
from trust.runtime.account import Account
from trust.runtime.bundle import (
    CAPABILITIES,
    Bundle,
    Caller,
    Process,
    container_files,
    process_of,
    runtime_config,
)
from trust.runtime.options import RunOptions
from trust.runtime.seccomp import ALLOWED, seccomp_profile
from trust.runtime.unpack import unpack

BUNDLE = Bundle(
    identity="a" * 32,
    directory=Path("/home/containers/a"),
    root=Path("/home/containers/a/rootfs"),
    caller=Caller(uid=0, gid=0),
    architecture="amd64",
    account=Account(uid=101, gid=102, additional_gids=(102, 103), home="/srv"),
    arguments=("/bin/web",),
    environment={"A": "1"},
    working_directory="/srv",
    hostname="web",
    network="off",
    is_read_only=True,
    volumes=(),
    files={},
)


def namespaces(config: dict[str, Any]) -> set[str]:
    return {one["type"] for one in config["linux"]["namespaces"]}


def test_container_of_root_has_every_wall() -> None:
    config = runtime_config(BUNDLE)
    process = config["process"]
    assert process["noNewPrivileges"] is True
    assert config["root"] == {"path": "/home/containers/a/rootfs", "readonly": True}
    assert namespaces(config) == {"pid", "ipc", "uts", "mount", "cgroup", "network"}
    assert config["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(config["linux"]["maskedPaths"])
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(config["linux"]["readonlyPaths"])
    assert config["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert process["user"] == {"uid": 101, "gid": 102, "additionalGids": [102, 103]}


def test_cve_2022_24769_nothing_is_inherited_and_a_user_of_the_image_holds_nothing() -> None:
    for account, held in ((BUNDLE.account, []), (replace(BUNDLE.account, uid=0), list(CAPABILITIES))):
        sets = runtime_config(replace(BUNDLE, account=account))["process"]["capabilities"]
        assert sets["inheritable"] == sets["ambient"] == []
        assert sets["effective"] == sets["permitted"] == held
        assert sets["bounding"] == list(CAPABILITIES)
    assert len(CAPABILITIES) == 14
    assert "CAP_SYS_ADMIN" not in CAPABILITIES


def test_container_of_an_ordinary_user_is_mapped_to_his_two_ids_and_has_no_cgroup() -> None:
    config = runtime_config(replace(BUNDLE, caller=Caller(uid=1000, gid=1001)))
    assert "user" in namespaces(config)
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert config["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 1001, "size": 1}]
    assert "cgroupsPath" not in config["linux"]
    assert config["process"]["user"] == {"uid": 0, "gid": 0}
    assert config["process"]["capabilities"]["effective"] == []


def test_network_of_the_host_is_given_only_when_asked_for() -> None:
    assert "network" not in namespaces(runtime_config(replace(BUNDLE, network="host")))
    files = container_files(BUNDLE, resolver=b"nameserver 192.0.2.1\n")
    assert files["/etc/resolv.conf"] == b""
    assert b"127.0.0.1\tweb\n" in files["/etc/hosts"]


@pytest.mark.parametrize(
    "call",
    ["mount", "umount2", "pivot_root", "unshare", "setns", "clone3", "clone", "init_module", "kexec_load", "bpf",
     "perf_event_open", "userfaultfd", "io_uring_setup", "keyctl", "add_key", "open_by_handle_at", "reboot",
     "swapon", "settimeofday", "sethostname", "socketcall", "socket", "personality", "fsopen", "move_mount",
     "quotactl"],
)  # fmt: skip
def test_dangerous_call_is_not_allowed_whatever_its_arguments(call: str) -> None:
    assert call not in ALLOWED
    rules = [rule for rule in seccomp_profile("amd64")["syscalls"] if call in rule["names"]]
    assert all(rule.get("args") or rule["action"] != "SCMP_ACT_ALLOW" for rule in rules)


@pytest.mark.parametrize("call", ["read", "openat", "execve", "futex", "mmap", "accept4", "exit_group"])
def test_call_that_every_program_makes_is_allowed(call: str) -> None:
    assert call in ALLOWED


def test_filter_knows_the_images_architecture_alone() -> None:
    assert seccomp_profile("amd64")["architectures"] == ["SCMP_ARCH_X86_64"]
    assert seccomp_profile("386")["architectures"] == ["SCMP_ARCH_X86"]
    assert "architectures" not in seccomp_profile("unheard-of")


def process(workshop: Workshop, *pieces: Any, **config: Any) -> Process:
    image = pulled(workshop.source, workshop.store, image_bytes(workshop.source, layer(*pieces), config=config))
    tree = unpack(image, store=workshop.store, home=workshop.home)
    return process_of(image.config, RunOptions(), tree=tree, hostname="web")


PROC = ("/proc/self/exe", "//proc/self/exe", "/./proc/self/exe", "/bin/../proc/self/exe", "proc/self/exe",
        "./proc/self/exe", "../../proc/self/exe", "/dev/fd/3", "/sys/x")  # fmt: skip


@pytest.mark.parametrize("command", PROC)
def test_command_that_is_the_hosts_is_refused_however_it_is_spelled(workshop: Workshop, command: str) -> None:
    """CVE-2019-5736: the runtime's own binary is ``/proc/self/exe`` to who is being started."""
    with pytest.raises(InputError, match="command lies in /"):
        process(workshop, directory("bin"), Cmd=[command])


@pytest.mark.parametrize(
    ("pieces", "config"),
    [
        ([symlink("app", "/proc/self/exe")], {"Cmd": ["/app"]}),
        ([symlink("app", "proc/self/exe")], {"Cmd": ["app/"], "Entrypoint": ["./app"]}),
        ([symlink("here", "/proc"), symlink("app", "here/self/exe")], {"Cmd": ["/app"]}),
        ([symlink("here", "//./proc")], {"Cmd": ["/here/self/exe"]}),
        ([directory("usr/bin"), symlink("usr/bin/app", "../../proc/self/exe")], {"Cmd": ["app"]}),
        ([], {"Cmd": ["exe"], "Env": ["PATH=/bin:/proc/self"]}),
        ([symlink("bin", "/proc/self")], {"Cmd": ["exe"]}),
        ([], {"Cmd": ["exe"], "Env": ["PATH=proc/self"]}),
        ([directory("usr"), directory("srv")], {"Cmd": ["../proc/self/exe"], "WorkingDir": "/srv"}),
        ([file("app", b"#!/proc/self/exe\n")], {"Cmd": ["/app"]}),
        ([file("app", b"#! /lib/x y\n"), file("lib/x", b"#!/dev/fd/3\n")], {"Cmd": ["/app"]}),
        ([file("app", b"#!\t/lib\x0bx\n"), symlink("lib\x0bx", "/proc/self/exe")], {"Cmd": ["/app"]}),
        ([file("app", b"#!/proc/self/exe\0/x\n")], {"Cmd": ["/app"]}),
        (
            [file(f"{number}", b"#!/%d\n" % (number + 1)) for number in range(4)]
            + [file("4", b"#!/proc/self/exe\n")],
            {"Cmd": ["/0"]},
        ),
        ([file("app", b"x\n"), symlink("bin/sh", "/proc/self/exe")], {"Cmd": ["/app"]}),
        ([file("app", b"#!/text\n"), file("text", b""), file("bin/sh", b"#!/dev/fd/3\n")], {"Cmd": ["/app"]}),
    ],
)
def test_command_that_leads_to_the_hosts_is_refused(
    workshop: Workshop, pieces: list[Any], config: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="command lies in /"):
        process(workshop, *pieces, **config)


@pytest.mark.parametrize(
    ("pieces", "command"),
    [
        ([symlink("a", "/b"), symlink("b", "/a")], "/a"),
        ([file("app", b"#!/bin/sh\n"), symlink("usr", "/")], "/app"),
        ([directory("srv/proc/self"), file("srv/proc/self/exe")], "/srv/proc/self/exe"),
        ([file("app", b"#!/app\n")], "/app"),
        ([file("app", b"#! \t\n/proc/self/exe")], "/app"),
        ([file("app", b"\x7fELF"), symlink("bin/sh", "/proc/self/exe")], "/app"),
        ([file("app", b"#!\0/proc/self/exe\n")], "/app"),
        ([], "gone"),
    ],
)
def test_command_of_the_image_is_left_to_the_engine(workshop: Workshop, pieces: list[Any], command: str) -> None:
    assert process(workshop, *pieces, Cmd=[command]).arguments == (command,)


def test_passwd_is_read_inside_the_root_even_by_way_of_links(workshop: Workshop) -> None:
    evil = workshop.outside / "passwd"
    evil.write_bytes(b"web:x:4242:4242::/:/bin/sh\n")
    with pytest.raises(InputError, match="not in the image"):
        process(workshop, symlink("etc/passwd", str(evil)), Cmd=["x"], User="web")
    inside = file("data/passwd", b"web:x:7:8::/:/bin/sh\n")
    for link in ("../data/passwd", "/data/passwd", "../../../../data/passwd"):
        assert process(workshop, inside, symlink("etc/passwd", link), Cmd=["x"], User="web").account.uid == 7
    linked = [directory("real"), file("real/passwd", b"web:x:9:9::/:/bin/sh\n"), symlink("etc", "/real")]
    assert process(workshop, *linked, Cmd=["x"], User="web").account.uid == 9


@pytest.mark.parametrize("link", ["/etc/passwd", "passwd", ".", "..", "/", "/../..", "/proc/self/environ"])
def test_passwd_that_is_no_file_names_nobody(workshop: Workshop, link: str) -> None:
    if link.endswith("passwd"):
        with pytest.raises(InputError, match="links"):
            process(workshop, symlink("etc/passwd", link), Cmd=["x"], User="web")
        return
    with pytest.raises(InputError, match="not in the image"):
        process(workshop, symlink("etc/passwd", link), Cmd=["x"], User="web")


def test_passwd_that_is_a_fifo_does_not_hold_us(workshop: Workshop) -> None:
    tree = workshop.unpack(layer(directory("etc")))
    os.mkfifo(tree / "etc/passwd")
    image = pulled(
        workshop.source,
        workshop.store,
        image_bytes(workshop.source, layer(directory("etc")), config={"Cmd": ["x"]}),
    )
    assert process_of(image.config, RunOptions(), tree=tree, hostname="web").account.uid == 0


def test_passwd_above_the_cap_is_refused(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="too large"):
        process(workshop, file("etc/passwd", bytes(5 * 1024 * 1024)), Cmd=["x"])


def test_working_directory_is_named_without_links(workshop: Workshop) -> None:
    found = process(workshop, directory("srv/app"), symlink("var", "/srv"), Cmd=["x"], WorkingDir="/var/app")
    assert found.working_directory == "/srv/app"


def test_command_that_is_no_text_is_refused(workshop: Workshop) -> None:
    image = pulled(workshop.source, workshop.store, image_bytes(workshop.source, layer(file("a"))))
    tree = unpack(image, store=workshop.store, home=workshop.home)
    with pytest.raises(InputError, match="UTF-8"):
        process_of(image.config, RunOptions(command=("a\udcff",)), tree=tree, hostname="web")
