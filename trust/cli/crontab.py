"""Owns the line of a crontab that keeps a collection fresh: when, with which variables, which program."""

from __future__ import annotations

import shlex
from datetime import timedelta
from pathlib import Path

from trust.digest import sha256

_TIMES_A_PERIOD = 4  # three runs may fail before anything expires
_DAY, _QUARTER = timedelta(days=1), timedelta(hours=6)


def crontab_line(
    collection: str, *, period: timedelta, program: str, home: Path, passphrase_file: str | None
) -> str:
    """Return the line that runs ``trust publish`` four times in ``period``, or daily if that is often enough.

    The minute is the collection's own: not every publisher of a registry shall come at the full hour. For a period
    below four hours it runs hourly, which is too seldom: that is for ``--watch``.
    """
    seed = sha256(collection.encode()).hex
    minute, hour = int(seed[:8], 16) % 60, int(seed[8:16], 16) % 24
    often = period / _TIMES_A_PERIOD
    hours = str(hour) if often >= _DAY else f"{hour % 6}-23/6" if often >= _QUARTER else "*"
    command = shlex.join([program, "--quiet", "--home", str(home), "publish", collection])
    if passphrase_file is not None:
        command = f"TRUST_PASSPHRASE_FILE={shlex.quote(passphrase_file)} {command}"
    command = command.replace("%", r"\%")  # cron would end the command there
    return f"{minute} {hours} * * * {command}"
