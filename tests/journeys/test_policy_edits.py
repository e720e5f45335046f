"""What edits a policy keeps what others have said in it, who may read it, and whatever is no policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulators.command_line import NAME, CommandLine, plain_environment
from trust.cli.user_file import replacement, write_bytes
from trust.digest import sha256
from trust.policy_files import read_policy

DENIED = [str(sha256(bytes([number]))) for number in range(8)]
STANZA = ("policy", "add", "registry.test/acme/", "--root", DENIED[0], "--metadata", "registry:")


def start(policy: Path, *argv: str) -> subprocess.Popen[str]:
    """Start one command of the user whose policy is ``policy``."""
    environment = {**plain_environment(), "TRUST_HOME": str(policy.parent / "home"), "TRUST_POLICY": str(policy)}
    return subprocess.Popen(
        [sys.executable, "-c", "from trust.start import main; main()", *argv],
        env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def said(policy: Path, *argv: str, code: int = 0) -> str:
    """Run one command to its end; return its stdout and stderr."""
    process = start(policy, *argv)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (argv, out, err)
    return out + err


def test_denials_at_the_same_moment_are_all_kept(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    said(policy, "policy", "init")
    at_once = [start(policy, "policy", "deny", digest) for digest in DENIED]
    assert [process.communicate(timeout=60) and process.returncode for process in at_once] == [0] * len(DENIED)
    assert {str(digest) for digest in read_policy([policy]).denied_digests} == set(DENIED)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["policy.toml"]


@pytest.mark.parametrize("command", [("policy", "deny", DENIED[0]), STANZA])
def test_edited_policy_is_read_by_whom_it_was(tmp_path: Path, command: tuple[str, ...]) -> None:
    policy = tmp_path / "policy.toml"
    said(policy, "policy", "init")
    policy.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(policy, 65534, 65534)
    before = policy.stat()
    umask = os.umask(0o077)
    try:
        said(policy, *command)
    finally:
        os.umask(umask)
    after = policy.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@pytest.mark.parametrize("command", [("policy", "init"), ("policy", "deny", DENIED[0]), STANZA])
def test_new_policy_is_nobody_elses_to_write(tmp_path: Path, command: tuple[str, ...]) -> None:
    policy = tmp_path / "policy.toml"
    umask = os.umask(0)
    try:
        said(policy, *command)
    finally:
        os.umask(umask)
    assert policy.stat().st_mode & 0o777 == 0o644


def test_denial_goes_where_the_link_leads(tmp_path: Path) -> None:
    kept, policy = tmp_path / "kept" / "site.toml", tmp_path / "policy.toml"
    said(kept, "policy", "init")
    policy.symlink_to(kept)
    said(policy, "policy", "deny", DENIED[0])
    assert policy.is_symlink()
    assert DENIED[0] in kept.read_text()


@pytest.mark.parametrize("command", [("policy", "deny", DENIED[0]), STANZA])
def test_policy_that_is_no_text_is_one_line_and_stays(tmp_path: Path, command: tuple[str, ...]) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_bytes(b"schema = 1 # \xff\n")
    error = json.loads(said(policy, *command, "--json", code=2).splitlines()[0])["error"]
    assert "not UTF-8" in error["message"]
    assert policy.read_bytes() == b"schema = 1 # \xff\n"


@pytest.mark.parametrize("command", [("policy", "deny", DENIED[0]), STANZA])
def test_what_is_no_file_is_not_replaced_by_a_policy(tmp_path: Path, command: tuple[str, ...]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is no file" in said(pipe, *command, code=2)
    assert pipe.is_fifo()


@pytest.mark.parametrize("option", ["--home", "--policy"])
def test_empty_path_is_not_the_current_directory(tmp_path: Path, option: str) -> None:
    assert "expected a path" in said(
        tmp_path / "policy.toml", "verify", "registry.test/acme/web:1", option, "", code=2
    )
    assert list(tmp_path.iterdir()) == []


def test_link_laid_beside_a_file_is_not_written_through(tmp_path: Path) -> None:
    """Whoever may write in the directory knew the name of the next temporary file: it was the process's number."""
    victim, place = tmp_path / "victim", tmp_path / "shared" / "policy.toml"
    victim.write_text("precious")
    place.parent.mkdir()
    planted = place.with_name(f".policy.toml.{os.getpid()}")
    planted.symlink_to(victim)
    write_bytes(place, b"schema = 1\n")
    assert victim.read_text() == "precious"
    assert (place.read_bytes(), place.is_symlink(), planted.is_symlink()) == (b"schema = 1\n", False, True)


def test_what_a_killed_command_left_beside_a_file_is_swept_up_and_a_living_ones_is_not(tmp_path: Path) -> None:
    place = tmp_path / "policy.toml"
    dead = [tmp_path / f".policy.toml.{'0' * 15}{number}" for number in range(3)]
    others = [tmp_path / name for name in (".policy.toml.bak", ".policy.toml.0000", f"policy.toml.{'0' * 16}")]
    for path in (*dead, *others):
        path.write_bytes(b"half")
    with replacement(place) as living:
        living.file.write(b"more")
        assert not any(path.exists() for path in dead)
        write_bytes(place, b"whole")
        assert len(list(tmp_path.glob(".policy.toml.????????????????"))) == 1
        living.keep()
    assert place.read_bytes() == b"more"
    assert {path.name for path in tmp_path.iterdir()} == {"policy.toml", *(path.name for path in others)}


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--registry", "http://mirror.test/x"), "registries: image name has a scheme: got 'http://mirror.test/x"),
        (("--registry", "mirror.test", "--registry", ""), "registries: "),
        (("--root", "sha512:" + "0" * 128), "root: a root pin is sha256, got sha512"),
    ],
)
def test_policy_that_nobody_could_read_is_not_written(
    tmp_path: Path, more: tuple[str, ...], why: str, *, is_there: bool
) -> None:
    policy = tmp_path / "policy.toml"
    if is_there:
        said(policy, "policy", "init")
    before = policy.read_bytes() if is_there else None
    error = json.loads(said(policy, *STANZA, *more, "--json", code=2).splitlines()[0])["error"]
    assert why in error["message"]
    assert "the policy is as before" in error["hint"]
    assert (policy.read_bytes() if policy.exists() else None) == before
    said(policy, "policy", "deny", DENIED[1])
    assert f"denied {DENIED[1]}" in said(policy, "policy", "check")


def test_collection_of_a_file_beside_it_is_not_added_once_more(tmp_path: Path) -> None:
    policy, beside = tmp_path / "policy.toml", tmp_path / "policy.d" / "site.toml"
    said(beside, *STANZA)
    said(policy, "policy", "init")
    before = policy.read_bytes()
    assert "collection registry.test/acme/ stands twice in the policy" in said(policy, *STANZA, code=2)
    assert policy.read_bytes() == before
    said(policy, "policy", "check")


def test_collection_of_a_file_beside_it_is_not_written_by_its_founder_either(
    founder: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "user-tmp").mkdir()
    user = CommandLine(tmp_path, founder.zygote)
    said(
        tmp_path / "policy.d" / "site.toml", "policy", "add", NAME, "--root", DENIED[0], "--metadata", "registry:"
    )
    assert f"collection {NAME} stands twice in the policy" in user.expect(2, *user.init())
    user.expect(0, "policy", "check")
    assert "root sha256:" in user.expect(0, "init", NAME, "--metadata", f"file:{user.metadata}")


def test_denial_is_not_put_off_by_what_is_wrong_beside_it(tmp_path: Path) -> None:
    policy, beside = tmp_path / "policy.toml", tmp_path / "policy.d" / "site.toml"
    beside.parent.mkdir()
    beside.write_text("schema = 2\n")
    assert "schema: expected 1" in said(policy, *STANZA, code=2)
    said(policy, "policy", "deny", DENIED[1])
    assert DENIED[1] in policy.read_text()


@pytest.mark.parametrize("command", [("policy", "deny", DENIED[0]), STANZA])
def test_policy_that_is_wrong_already_takes_no_edit_and_says_why(tmp_path: Path, command: tuple[str, ...]) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('schema = 1\nadmit = ["all"]\n')
    assert f"policy {policy} is wrong: top level: unknown key 'admit'" in said(policy, *command, code=2)
    assert policy.read_text() == 'schema = 1\nadmit = ["all"]\n'
