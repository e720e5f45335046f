"""Owns a client that is not ours: ``skopeo`` pulls through the shim, one image after another."""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Sequence

from scripts.bench.checked import Ask
from scripts.bench.collection import REPOSITORY
from scripts.bench.setting import Setting, launcher
from trust.digest import sha256

_PATIENCE_SECONDS = 120


class RealClient:
    """``pulls`` counts, ``wrong`` tells what was other than the oracle has it."""

    def __init__(self, setting: Setting, asks: Sequence[Ask], *, port: int) -> None:
        self._setting = setting
        self._asks = [ask for ask in asks if "/manifests/" in ask.path]
        self._registry = f"127.0.0.1:{port}"
        self._skopeo = launcher(setting, "skopeo", is_needed=True) or ""
        self.pulls = 0
        self.wrong: list[str] = []

    def pull(self, over: threading.Event) -> None:
        """Pull until ``over``: what is signed comes whole, of what is not there is no manifest."""
        for ask in itertools.cycle(self._asks):
            if over.is_set():
                return
            fault = self._pulled(ask)
            self.pulls += 1
            if fault is not None:
                self.wrong.append(f"skopeo: {ask.path}: {fault}")

    def _pulled(self, ask: Ask) -> str | None:
        last = ask.path.rpartition("/")[2]
        name = f"{REPOSITORY}@{last}" if ":" in last else f"{REPOSITORY}:{last}"
        directory = self._setting.fresh(f"skopeo-{self.pulls}")
        done = subprocess.run(
            [
                self._skopeo, "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false",
                f"docker://{self._registry}/{name}", f"dir:{directory}",
            ],
            env=dict(self._setting.environ), capture_output=True, text=True, check=False,
            timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
        manifest = directory / "manifest.json"
        if ask.signed is None:
            return None if done.returncode != 0 and not manifest.exists() else "it was let in"
        if done.returncode != 0:
            return f"it was refused: {done.stderr[-200:]}"
        got = sha256(manifest.read_bytes())
        return None if got == ask.signed else f"expected {ask.signed}, got {got}"
