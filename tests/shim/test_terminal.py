"""How a run of ``trust-shim`` ends: one line for whatever failed, and the exit code of the contract."""

from __future__ import annotations

import json

import click
import pytest

from registry_shim.terminal import run
from trust.errors import ConflictError, InputError, RefusedError, StateError, TrustError

FAILURES = (
    (InputError("no such file"), 2, "no such file", None),
    (RefusedError("rolled back", reason="rolled-back"), 1, "rolled back", "rolled-back"),
    (ConflictError("another was first"), 4, "another was first", None),
    (StateError("disk is full"), 3, "disk is full", "state-damaged"),
    (TrustError("something"), 3, "something", None),
    (OSError(28, "No space left on device", "/var/log"), 3, "No space left on device: /var/log", None),
    (KeyboardInterrupt(), 3, "interrupted", None),
    (ValueError("nobody expected it"), 3, "this is a defect of trust-shim: ValueError: nobody expected it", None),
)


@pytest.mark.parametrize(("failure", "code", "message", "reason"), FAILURES)
def test_whatever_fails_is_one_line_and_an_exit_code(
    failure: BaseException, code: int, message: str, reason: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command("serve")
    @click.option("--json", "as_json", is_flag=True)
    def serve(*, as_json: bool) -> None:
        assert as_json
        raise failure

    assert run(serve, ["--json"]) == code
    said = capsys.readouterr()
    assert said.err.strip().splitlines()[0] == f"error: {message}"
    assert "Traceback" not in said.err
    error = json.loads(said.out)["error"]
    assert (error["message"], error["code"], error["reason"]) == (message, code, reason)
