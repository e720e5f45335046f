"""The policy that the shim stands by: every change of its files is noticed, wrong ones change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_shim.policy_watch import PolicyWatch
from trust.digest import Digest, sha256
from trust.errors import InputError

OLD, NEW = sha256(b"old"), sha256(b"new")


def denying(digest: Digest) -> str:
    return f'schema = 1\ndeny = {{ digests = ["{digest}"] }}\n'


def has_changed(watch: PolicyWatch) -> bool:
    """Return what it says now: a property is not asked again by who checks types."""
    return watch.has_changed


def test_policy_that_becomes_another_of_the_same_length_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(denying(OLD))
    watch = PolicyWatch(lambda: [file])
    assert watch.policy.denied_digests == {OLD}
    assert not has_changed(watch)
    file.write_text(denying(NEW))
    assert has_changed(watch)
    watch.read()
    assert watch.policy.denied_digests == {NEW}
    assert not has_changed(watch)
    other = tmp_path / "policy.new"
    other.write_text(denying(OLD))
    other.rename(file)
    assert has_changed(watch)


def test_policy_that_is_wrong_changes_nothing_and_is_read_again_once_it_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(denying(OLD))
    watch = PolicyWatch(lambda: [file])
    file.write_text("schema = ")
    with pytest.raises(InputError, match="not valid TOML"):
        watch.read()
    assert watch.policy.denied_digests == {OLD}
    assert not has_changed(watch)
    file.write_text(denying(NEW))
    assert has_changed(watch)
    watch.read()
    assert watch.policy.denied_digests == {NEW}


def test_policy_that_is_taken_for_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(denying(OLD))
    watch = PolicyWatch(lambda: [file])
    watch.touch()
    assert has_changed(watch)
    watch.read()
    assert watch.policy.denied_digests == {OLD}
    assert not has_changed(watch)
