"""Figure ``verify-offline``: a warm ``trust verify --offline IMAGE`` as a whole process.

Beside ``notary lookup`` of one target, a Go binary that asks a server on the loopback device whether there is
anything newer; and beside what Python costs before the first line of ours: a bare interpreter, and one that
imports the three libraries no version of this command could do without.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scripts.bench.collection import build
from scripts.bench.measure import Command, fixed, side_by_side
from scripts.bench.peers import notary_repository, notary_server
from scripts.bench.result import Row, ratio, timed
from scripts.bench.setting import Setting

FIGURE = "verify-offline"
LOOKUPS_MAX = 5.0
_VERIFY = "trust verify --offline"
_LOOKUP = "notary lookup"
_BARE = "python -I -c pass"
_LIBRARIES = "python -I, import click, sqlite3, tomllib"


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or refused.
    """
    built = build(setting, f"{FIGURE}.trust", tags=1)
    with notary_server(setting, f"{FIGURE}.server") as url:
        repository = notary_repository(setting, url, f"{FIGURE}.notary", targets=1)
        timings = side_by_side(
            {
                _VERIFY: fixed(setting.trust, "verify", "--offline", built.image, environ=built.environ),
                _LOOKUP: fixed(*repository.lookup(), environ=repository.environ),
                _BARE: _python(setting, "pass"),
                _LIBRARIES: _python(setting, _imports()),
            },
            rounds=setting.rounds,
        )
    verify = timings[_VERIFY]
    return (
        *(timed(FIGURE, name, timing) for name, timing in timings.items()),
        ratio(FIGURE, f"{_VERIFY} / {_LOOKUP}", verify.over(timings[_LOOKUP]), limit=LOOKUPS_MAX),
        ratio(FIGURE, f"{_VERIFY} / {_BARE}", verify.over(timings[_BARE])),
        ratio(FIGURE, f"{_VERIFY} / {_LIBRARIES}", verify.over(timings[_LIBRARIES])),
    )


def _python(setting: Setting, source: str) -> Command:
    return fixed(setting.python, "-I", "-c", source, environ=setting.environ)


def _imports() -> str:
    toml = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    return f"import click, sqlite3, {toml}"
