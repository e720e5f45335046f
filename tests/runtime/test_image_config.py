"""An image's words about itself are read strictly: configuration, user, options of the user."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.errors import InputError
from trust.runtime.account import Account, resolve_account
from trust.runtime.image import parse_directory, parse_image_config, parse_signal, parse_variable
from trust.runtime.options import parse_name, parse_network, parse_volume

DIFF_ID = "sha256:" + "a" * 64
PASSWD = b"""root:x:0:0:root:/root:/bin/sh
web:x:101:102:web:/srv:/bin/sh
broken:x:5
huge:x:4294967296:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
relative:x:7:7::home:/bin/sh
web:x:0:0:second:/root:/bin/sh
"""
GROUP = b"root:x:0:\nweb:x:102:\nlogs:x:103:other,web\nbroken:x\nalso:x:104:web\n"


def config(run: Any = None, **more: Any) -> bytes:
    document = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [DIFF_ID]}, "config": run, **more}
    return json.dumps(document).encode()


def test_configuration_is_read_with_its_defaults() -> None:
    read = parse_image_config(config())
    assert (read.user, read.environment, read.entrypoint, read.command) == ("", (), (), ())
    assert (read.working_directory, read.stop_signal, str(read.platform)) == ("/", signal.SIGTERM, "linux/amd64")
    assert [str(digest) for digest in read.diff_ids] == [DIFF_ID]


def test_configuration_is_read_whole() -> None:
    run = {
        "User": "web:logs",
        "Env": ["A=b=c", "EMPTY="],
        "Entrypoint": ["/init"],
        "Cmd": ["x", ""],
        "WorkingDir": "//srv/./app/",
        "StopSignal": "SIGRTMIN+3",
        "Labels": {"any": "thing"},
        "Volumes": {"/data": {}},
    }
    read = parse_image_config(config(run, variant="v8", created="2020", history=[]))
    assert read.environment == (("A", "b=c"), ("EMPTY", ""))
    assert (read.entrypoint, read.command, read.working_directory) == (("/init",), ("x", ""), "/srv/app")
    assert read.stop_signal == signal.SIGRTMIN + 3


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{",
        config([]),
        config({"Env": "A=b"}),
        config({"Env": ["A"]}),
        config({"Env": ["=b"]}),
        config({"Cmd": "sh -c x"}),
        config({"Cmd": [1]}),
        config({"Entrypoint": ["a\0b"]}),
        config({"Entrypoint": ["\ud800"]}),
        config({"User": 0}),
        config({"WorkingDir": "relative"}),
        config({"StopSignal": "SIGNOPE"}),
        config({"Cmd": ["x"] * 5000}),
        config(rootfs={"diff_ids": ["sha256:short"]}),
        config(rootfs=[]),
        b'{"os": "linux", "os": "linux"}',
    ],
)
def test_malformed_configuration_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_image_config(data)


@pytest.mark.parametrize(
    "data",
    [
        config({"User": "1000", "user": "0"}),
        config({"user": "0"}),
        config({"u\u017fer": "0"}),
        config({"Entrypoint": ["/ok"], "entrypoint": ["/evil"]}),
        config({"ENV": ["LD_PRELOAD=/evil.so"]}),
        config({"Healthcheck": {"Test": ["NONE"], "test": ["CMD", "/evil"]}}),
        config(Config={"User": "0"}),
        config(rootfs={"diff_ids": [DIFF_ID], "Diff_IDs": []}),
    ],
)
def test_field_in_other_letters_is_ambiguous_as_go_reads_it(data: bytes) -> None:
    with pytest.raises(InputError, match="image configuration is ambiguous"):
        parse_image_config(data)


def test_fields_of_the_images_own_are_in_any_letters() -> None:
    run = {"Labels": {"user": "x", "USER": "y"}, "Env": ["user=a", "USER=b"], "labels": {}}
    assert parse_image_config(config(run, history=[{"Os": 1}])).environment == (("user", "a"), ("USER", "b"))


@pytest.mark.parametrize(
    "path",
    ["/proc/self/fd/7", "/proc", "//proc/./self/fd/9", "/dev/fd/8", "/sys/fs", "/a/../proc/self/fd/7", "", "a"],
)
def test_cve_2024_21626_directory_of_the_hosts_descriptors_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="directory"):
        parse_directory(path)


@given(path=st.text(max_size=60))
def test_directory_is_absolute_and_stable_once_read(path: str) -> None:
    try:
        read = parse_directory(path)
    except InputError:
        return
    assert read.startswith("/")
    assert parse_directory(read) == read
    assert ".." not in read.split("/")


@given(name=st.text(min_size=1).filter(lambda text: "=" not in text), value=st.text())
def test_variable_prints_back(name: str, value: str) -> None:
    text = f"{name}={value}"
    try:
        assert "=".join(parse_variable(text)) == text
    except InputError:
        assert "\0" in text


@pytest.mark.parametrize(("text", "number"), [("SIGTERM", 15), ("TERM", 15), ("9", 9), ("sigquit", 3), ("64", 64)])
def test_signal_is_read_in_every_spelling(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "-1", "SIG_DFL", "RTMIN+99", "TERM+1", "SIGRTMIN+x", "999999999999"]
)
def test_signal_that_linux_lacks_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="signal"):
        parse_signal(text)


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        ("", Account(uid=0, gid=0, additional_gids=(0,), home="/root")),
        ("0", Account(uid=0, gid=0, additional_gids=(0,), home="/root")),
        ("web", Account(uid=101, gid=102, additional_gids=(102, 103, 104), home="/srv")),
        ("101", Account(uid=101, gid=102, additional_gids=(102, 103, 104), home="/srv")),
        ("web:logs", Account(uid=101, gid=103, additional_gids=(103,), home="/srv")),
        ("web:7", Account(uid=101, gid=7, additional_gids=(7,), home="/srv")),
        ("65532", Account(uid=65532, gid=0, additional_gids=(0,), home="/")),
        ("65532:65532", Account(uid=65532, gid=65532, additional_gids=(65532,), home="/")),
        (":logs", Account(uid=0, gid=103, additional_gids=(103,), home="/root")),
        ("relative", Account(uid=7, gid=7, additional_gids=(7,), home="/")),
    ],
)
def test_user_is_resolved_in_the_images_own_files(spelled: str, expected: Account) -> None:
    assert resolve_account(spelled, untrusted_passwd=PASSWD, untrusted_group=GROUP) == expected


@pytest.mark.parametrize(
    "spelled", ["nobody", "broken", "huge", "minus", "web:nogroup", "web:broken", "-1", "root\n", "\uff10"]
)
def test_user_that_the_image_lacks_is_never_root_by_default(spelled: str) -> None:
    with pytest.raises(InputError, match="not in the image"):
        resolve_account(spelled, untrusted_passwd=PASSWD, untrusted_group=GROUP)


@pytest.mark.parametrize("spelled", ["4294967296", "2147483648", "99999999999999999999", "0:4294967296"])
def test_cve_2024_40635_number_that_would_wrap_to_root_is_refused(spelled: str) -> None:
    with pytest.raises(InputError, match="out of range"):
        resolve_account(spelled, untrusted_passwd=PASSWD, untrusted_group=GROUP)


@given(passwd=st.binary(max_size=400), group=st.binary(max_size=400), spelled=st.text(max_size=20))
def test_any_passwd_gives_ids_in_range_or_a_refusal(passwd: bytes, group: bytes, spelled: str) -> None:
    try:
        account = resolve_account(spelled, untrusted_passwd=passwd, untrusted_group=group)
    except InputError:
        return
    assert all(0 <= number < 2**31 for number in (account.uid, account.gid, *account.additional_gids))


@pytest.mark.parametrize("text", ["web", "a", "A.b-c_9", "0" * 128])
def test_name_of_a_container_prints_back(text: str) -> None:
    assert parse_name(text) == text


@pytest.mark.parametrize("text", ["", ".a", "-a", "a/b", "a b", "../x", "a\n", "é", "a" * 129])
def test_name_that_could_be_a_path_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="container name"):
        parse_name(text)


def test_volume_is_read_with_its_access(tmp_path: Path) -> None:
    volume = parse_volume(f"{tmp_path}:/data/:ro")
    assert (volume.source, volume.target, volume.is_read_only) == (tmp_path, "/data", True)
    assert not parse_volume(f"{tmp_path}:/data").is_read_only
    assert not parse_volume(f"{tmp_path}:/data:rw").is_read_only


@pytest.mark.parametrize("text", ["", "/tmp", "data:/data", "/tmp:data", "/tmp:/", "/tmp:/a:zz", "/tmp:/a:ro:x",
                                  "/tmp:/proc/self", "/tmp:/a/../..", "/not/there:/a"])  # fmt: skip
def test_malformed_volume_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_volume(text)


def test_network_is_off_or_the_hosts() -> None:
    assert (parse_network("off"), parse_network("host")) == ("off", "host")
    with pytest.raises(InputError, match="network"):
        parse_network("bridge")
