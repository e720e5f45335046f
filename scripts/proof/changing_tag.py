"""Owns a tag that its publisher moves to and fro and takes back, and what a shim may answer at any moment.

A change counts from the moment at which the command line acknowledged it, and may show from the moment at which
the command was started. A shim knows nothing that is older than its ``max_age``; the rest of ``LAG_SECONDS`` is
for a machine that is busy with everything else. An answer is right if it is what held at some moment between its
question, less those seconds, and its end.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time

from scripts.bench.collection import REPOSITORY, BuiltCollection
from scripts.bench.layout import manifest_in, write_layout
from scripts.bench.measure import run
from scripts.bench.setting import BenchError, Setting
from trust.digest import Digest, sha256
from trust.value import dataclass

TAG = "moves"
MAX_AGE_SECONDS = 2  # of the shim
LAG_SECONDS = MAX_AGE_SECONDS + 20.0
_PAUSE_SECONDS = 0.05
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the tag is from some moment between ``began`` and ``ended`` on; None where it is taken back."""

    digest: Digest | None
    began: float
    ended: float


class ChangingTag:
    """``changes`` and ``answers`` count, ``wrong`` tells what was answered that did not hold."""

    def __init__(self, setting: Setting, built: BuiltCollection, *, port: int) -> None:
        self._setting = setting
        self._built = built
        self._port = port
        self._lock = threading.Lock()
        began = time.monotonic()
        self._history = [Change(digest=None, began=began, ended=began)]
        self.answers = 0
        self.wrong: list[str] = []
        self._layouts = [setting.directory / f"moving-{number}" for number in range(2)]
        for number, layout in enumerate(self._layouts):
            write_layout(layout, [f"moving {number}".encode() * 1000])
        self._sign(0)

    @property
    def changes(self) -> int:
        """How many changes there were, after the first signature."""
        return len(self._history) - 2

    def change(self, over: threading.Event) -> None:
        """Move the tag to and fro, and take it back now and then, until ``over``."""
        for step in itertools.cycle((1, 0, None)):
            if over.wait(_PAUSE_SECONDS):
                return
            if step is None:
                self._revoke()
            else:
                self._sign(step)

    def watch(self, over: threading.Event) -> None:
        """Ask for the tag until ``over``."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not over.wait(_PAUSE_SECONDS):
            asked = time.monotonic()
            try:
                connection.request("GET", f"/v2/{REPOSITORY}/manifests/{TAG}")
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as err:
                self._note(f"no whole answer: {err!r}")
                connection.close()
                continue
            self.answers += 1
            got = sha256(body) if answer.status == http.client.OK else None
            if answer.status not in {http.client.OK, http.client.FORBIDDEN} or got not in self._held(asked):
                self._note(f"got {answer.status} {got}, of {self._held(asked)}")
        connection.close()

    def _held(self, asked: float) -> set[Digest | None]:
        """Return what the tag was at some moment from the time that a shim may lag behind until now."""
        since = asked - LAG_SECONDS
        with self._lock:
            old = [change for change in self._history if change.ended <= since]
            return {change.digest for change in self._history if change.ended > since} | {
                change.digest for change in old[-1:]
            }

    def _sign(self, number: int) -> None:
        self._do(sha256(manifest_in(self._layouts[number])), "push", f"oci:{self._layouts[number]}:v0", "--as",
                 f"{self._built.host}/{REPOSITORY}:{TAG}")  # fmt: skip

    def _revoke(self) -> None:
        self._do(None, "revoke", f"{self._built.host}/{REPOSITORY}:{TAG}")

    def _do(self, digest: Digest | None, *argv: str) -> None:
        began = time.monotonic()
        with self._lock:  # until it is acknowledged it may have happened or not
            self._history.append(Change(digest=digest, began=began, ended=float("inf")))
        try:
            run(self._setting.trust, *argv, environ=self._built.environ)
        except BenchError as err:
            self._note(str(err))
            return
        with self._lock:
            self._history[-1] = Change(digest=digest, began=began, ended=time.monotonic())

    def _note(self, said: str) -> None:
        if len(self.wrong) < _SHOWN:
            self.wrong.append(f"{TAG}: {said}")
