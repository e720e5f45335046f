"""Figure ``shim-memory``: what a target costs a worker that holds many collections.

A process of its own loads one verified collection of 100 targets again and again, as a worker loads a thousand
different ones: nothing of one snapshot is shared with the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from scripts.bench.collection import build
from scripts.bench.measure import run
from scripts.bench.result import Row
from scripts.bench.setting import Setting

FIGURE = "shim-memory"
TARGET_BYTES_MAX = 1_200.0
_TAGS = 50  # each is two targets: the tag, and its digest
_COLLECTIONS, _QUICK_COLLECTIONS = 1_000, 200
_MANY = 10_000
_MIB = 1 << 20
_LOADING = """
import json, os, sys
from pathlib import Path
from registry_shim.snapshot import load_snapshot
from trust.policy_files import read_policy
from trust.state import TrustedState

home, policy, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
[stanza] = read_policy([policy]).stanzas
state = TrustedState(home)
page = os.sysconf("SC_PAGE_SIZE")

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * page

kept = [load_snapshot(stanza, state) for _ in range(10)]
before = resident()
kept += [load_snapshot(stanza, state) for _ in range(count)]
print(json.dumps({"bytes": resident() - before, "targets": kept[0].size}))
"""


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something refused.
    """
    built = build(setting, f"{FIGURE}.trust", tags=_TAGS)
    count = _QUICK_COLLECTIONS if setting.is_quick else _COLLECTIONS
    words = (str(built.home), str(built.policy), str(count))
    found = json.loads(run(setting.python, "-c", _LOADING, *words, environ=built.environ))
    for_each = found["bytes"] / count / found["targets"]
    what = f"a target in memory, {count:,} collections of {found['targets']}"
    many = for_each * found["targets"] * _MANY / _MIB
    return (
        Row(figure=FIGURE, what=what, value=for_each, unit="bytes", limit=TARGET_BYTES_MAX),
        Row(figure=FIGURE, what=f"so {_MANY:,} such collections, for each worker", value=many, unit="MiB"),
    )
