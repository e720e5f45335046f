"""The entry point ``trust-shim``: the name is taken; the gate is not built yet and does not pretend."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Refuse to start: a gate that checks nothing is worse than none."""
    sys.stderr.write(
        "error: this version has no registry shim\n"
        'hint: gate a pull with: ref=$(trust resolve IMAGE) && docker pull "$ref"\n'
    )
    sys.exit(3)
