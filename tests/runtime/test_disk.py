"""What lies in TRUST_HOME is private, written whole, copied exactly, and removed whatever its shape."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from trust.errors import StateError
from trust.runtime.copying import copy_content, copy_tree
from trust.runtime.disk import make_private_directory, read_document, remove_tree, write_document


def deep(directory: Path, levels: int) -> None:
    """Have directories nested below ``directory`` deeper than any path can say."""
    fd = os.open(directory, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_tree_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    deep(tmp_path / "t", 2200)
    remove_tree(tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


def test_tree_with_links_and_shut_directories_is_removed_and_nothing_beside_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "kept").write_bytes(b"x")
    tree = tmp_path / "tree"
    for name in ("a/b", "a/.1", ".1/.2", ".3"):
        (tree / name).mkdir(parents=True)
    (tree / ".2").write_bytes(b"a name that removal itself would choose")
    (tree / "a/link").symlink_to(outside)
    (tree / "a/b/abs").symlink_to("/")
    (tree / "link").symlink_to("..")
    os.link(outside / "kept", tree / "a/hard")
    os.mkfifo(tree / "a/pipe")
    (tree / "a/b").chmod(0)
    (tree / "a").chmod(0)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").read_bytes() == b"x"
    assert (stat.S_IMODE(outside.stat().st_mode), list(outside.iterdir())) == (0o755, [outside / "kept"])


def test_removing_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")


def test_link_in_the_place_of_a_tree_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match="link"):
        remove_tree(tmp_path / "link")
    assert (tmp_path / "kept").is_dir()


def test_directory_is_private_whatever_it_was_before(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("open", "new"):
        assert stat.S_IMODE(make_private_directory(tmp_path / name).stat().st_mode) == 0o700


def test_document_is_whole_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for document in ({"a": 1}, {"b": ["\udcff", "é"]}):
        write_document(path, document)
        assert read_document(path) == document
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'"text"'])
def test_damaged_document_is_an_error_and_not_absent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(StateError, match="record"):
        read_document(tmp_path / "record.json")


def test_empty_document_is_what_a_power_cut_leaves_and_counts_as_absent(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(b"")
    assert read_document(tmp_path / "record.json") is None


def test_copy_is_the_same_tree_and_shares_no_file_with_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d/e").mkdir(parents=True)
    (source / "d/f").write_bytes(b"content" * 100_000)
    (source / "d/f").chmod(0o640)
    (source / "empty").write_bytes(b"")
    os.link(source / "d/f", source / "d/e/same")
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe", 0o620)
    os.utime(source / "d/f", (1_600_000_000, 1_600_000_000))
    (source / "d").chmod(0o1777)
    os.utime(source / "d", (1_500_000_000, 1_500_000_000))
    copy_tree(source, tmp_path / "copy")
    assert _state(tmp_path / "copy") == _state(source)
    copied = tmp_path / "copy/d/f"
    assert copied.stat().st_ino == (tmp_path / "copy/d/e/same").stat().st_ino != (source / "d/f").stat().st_ino
    copied.write_bytes(b"changed")
    assert (source / "d/f").read_bytes() == b"content" * 100_000


def _copied(tmp_path: Path, *strace: str, limit: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
    """Copy one file of 1.25 MiB in a process of its own, whose system calls ``strace`` answers."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"content!" * (5 << 15))
    code = (
        "import sys, pathlib; from trust.runtime.copying import copy_tree; "
        "copy_tree(*map(pathlib.Path, sys.argv[1:]))"
    )
    tool = shutil.which("strace")
    assert tool is not None, "strace is not on PATH: run the tests through scripts/test"
    return subprocess.run(
        [tool, "-qq", "-o", "/dev/null", *(word for rule in strace for word in ("-e", rule)),
         sys.executable, "-c", code, source, tmp_path / "copy"],
        check=False, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip


@pytest.mark.parametrize("answer", ["retval=0", "error=EXDEV", "retval=0:when=2+"])
def test_file_that_the_kernel_does_not_copy_is_copied_whole_all_the_same(tmp_path: Path, answer: str) -> None:
    done = _copied(tmp_path, f"inject=copy_file_range:{answer}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "copy/file").read_bytes() == (tmp_path / "source/file").read_bytes()


def test_file_that_is_written_short_is_no_copy(tmp_path: Path) -> None:
    """The last piece does not fit, and the kernel takes a part of it without a word."""
    done = _copied(tmp_path, "inject=copy_file_range:error=EXDEV", limit=(1 << 20) + 4096)
    assert done.returncode == 1
    assert "OSError: [Errno 27]" in done.stderr


def test_source_that_was_cut_short_meanwhile_is_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    source, target = os.open(path, os.O_RDONLY), os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT)
    try:
        with pytest.raises(OSError, match="expected 8 bytes, got 7"):
            copy_content(source, target, 8)
    finally:
        os.close(source)
        os.close(target)


def _state(root: Path) -> list[tuple[str, int, int, int, int, bytes]]:
    found = []
    for path in sorted([root, *root.rglob("*")]):
        one = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(one.st_mode) else b""
        where = str(path.relative_to(root))
        found.append(
            (where, one.st_mode, one.st_uid, one.st_nlink, int(one.st_mtime) if where != "." else 0, content)
        )
    return found
