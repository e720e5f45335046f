"""A container that is moved goes on where it was: its count, its connections' server, its files, its output."""

from __future__ import annotations

import pytest

from tests.migration.harbour import COUNT, Machine, last, until

pytestmark = pytest.mark.root


def test_counter_goes_on_counting_on_another_machine(here: Machine, there: Machine) -> None:
    here.start("counter", f"echo kept > /kept; rm /etc/group; {COUNT}")
    until(lambda: last(here.output("counter")) > 5, "the counter")
    done = here.run("checkpoint", "counter", here.image("counter:live"))
    assert done["signed"]
    assert here.container("counter")["status"] == "exited (137)"
    stopped_at = last(here.output("counter"))
    there.run("restore", there.image("counter:live"), "--name", "moved")
    until(lambda: len(there.output("moved")) > 5, "the counter, moved")
    counted = [int(line) for line in there.output("moved")]
    assert counted == list(range(stopped_at + 1, stopped_at + 1 + len(counted)))
    upper = there.directory_of("moved") / "upper"
    assert (upper / "kept").read_text() == "kept\n"
    assert (upper / "etc/group").is_char_device()
    assert last(here.output("counter")) == stopped_at
    assert there.leftovers()["checkpoints"] == here.leftovers()["checkpoints"] == []
