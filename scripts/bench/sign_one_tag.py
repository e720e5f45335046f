"""Figure ``sign-one-tag``: ``trust sign`` of one more tag, as a whole process, the key unlocked by its passphrase.

The limit is over a floor: a Python process which imports exactly what ``trust sign`` imports and derives one key
at the parameters of the very key file that signs, which are asserted not to be below 64 MiB. Beside it ``notary``
publishing one more target into a collection of the same size; its keys cost a thief far less than ours. Then what
one more tag costs as a collection grows. Each run begins with the same collection: it is put back, untimed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from keys.envelope import MIB, Scrypt, ScryptCost, parse_envelope
from keys.key_file import parse_key_file
from scripts.bench.collection import HOST, REPOSITORY, BuiltCollection, build
from scripts.bench.measure import Command, fixed, said_beside, side_by_side
from scripts.bench.peers import NotaryRepository, notary_repository, notary_server
from scripts.bench.result import Row, ratio, timed
from scripts.bench.setting import BenchError, Setting

FIGURE = "sign-one-tag"
FLOORS_MAX = 2.0
MEMORY_FLOOR_BYTES = 64 * MIB
_COMPARED_TAGS = 100
_SIZES = (10, 100, 1_000, 10_000)
_QUICK_SIZES = (10, 100, 1_000)
_SIGN = f"trust sign, {_COMPARED_TAGS} tags"
_FLOOR = "its imports + one key derivation"
_NOTARY = f"notary add -p, {_COMPARED_TAGS} targets"
_IMPORTED = re.compile(r"^import '([^']+)' # ", re.MULTILINE)


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something refused, or the key that signs is derived below the floor.
    """
    built = build(setting, f"{FIGURE}.{_COMPARED_TAGS}", tags=_COMPARED_TAGS)
    cost = _cost(built.targets_key)
    with notary_server(setting, f"{FIGURE}.server") as url:
        repository = notary_repository(setting, url, f"{FIGURE}.notary", targets=_COMPARED_TAGS)
        timings = side_by_side(
            {
                _SIGN: _sign(setting, built),
                _FLOOR: _floor(setting, built, cost),
                _NOTARY: _add(repository),
            },
            rounds=setting.rounds,
        )
    return (
        *(timed(FIGURE, name, timing) for name, timing in timings.items()),
        Row(figure=FIGURE, what="memory of one key derivation", value=cost.memory_bytes / MIB, unit="MiB"),
        ratio(FIGURE, f"trust sign / ({_FLOOR})", timings[_SIGN].over(timings[_FLOOR]), limit=FLOORS_MAX),
        ratio(FIGURE, "trust sign / notary add -p", timings[_SIGN].over(timings[_NOTARY])),
        *_by_size(setting),
    )


def _by_size(setting: Setting) -> Sequence[Row]:
    """Return what one more tag costs in collections of different sizes, measured side by side."""
    commands = {
        f"trust sign, {tags:,} tags": _sign(setting, build(setting, f"{FIGURE}.size.{tags}", tags=tags))
        for tags in (_QUICK_SIZES if setting.is_quick else _SIZES)
    }
    timings = side_by_side(commands, rounds=max(3, setting.rounds // 3))
    return [timed(FIGURE, f"by size: {name}", timing) for name, timing in timings.items()]


def _sign(setting: Setting, built: BuiltCollection) -> Command:
    return Command(
        argv=lambda _round: _sign_argv(setting, built), environ=built.environ, prepare=_restoring(built)
    )


def _sign_argv(setting: Setting, built: BuiltCollection) -> Sequence[str]:
    return (setting.trust, "sign", f"oci:{built.layout}:v0", "--as", f"{HOST}/{REPOSITORY}:one-more")


def _restoring(built: BuiltCollection) -> Callable[[int], None]:
    """Return a preparation after which home and metadata are as they are now."""
    parts = (built.home, built.metadata)
    for part in parts:
        shutil.copytree(part, _kept(part))

    def restore(_round: int) -> None:
        for part in parts:
            shutil.rmtree(part)
            shutil.copytree(_kept(part), part)

    return restore


def _kept(part: Path) -> Path:
    return part.with_name(f"{part.name}.kept")


def _add(repository: NotaryRepository) -> Command:
    return Command(argv=lambda number: repository.add(f"more{number}"), environ=repository.environ)


def _cost(key_file: Path) -> ScryptCost:
    """Return what the derivation of ``key_file`` costs.

    Raises:
        BenchError: it is not scrypt, or below the floor: then the figure would say nothing.
    """
    where = str(key_file)
    kdf = parse_envelope(parse_key_file(key_file.read_bytes(), where=where).encrypted, where=where).kdf
    if not isinstance(kdf, Scrypt) or kdf.cost.memory_bytes < MEMORY_FLOOR_BYTES:
        raise BenchError(f"{key_file.name} is derived too cheaply: expected scrypt of 64 MiB or more, got {kdf}")
    return kdf.cost


def _floor(setting: Setting, built: BuiltCollection, cost: ScryptCost) -> Command:
    imports = "; ".join(f"import {name}" for name in _imported(setting, built))
    derivation = (
        "from cryptography.hazmat.primitives.kdf.scrypt import Scrypt; "
        f"Scrypt(salt=bytes(16), length=32, n={cost.n}, r={cost.r}, p={cost.p}).derive(bytes(16))"
    )
    return fixed(setting.python, "-c", f"{imports}; {derivation}", environ=setting.environ)


def _imported(setting: Setting, built: BuiltCollection) -> Sequence[str]:
    """Return the names of the modules that one ``trust sign`` imports, dependencies first.

    Taken from what ``python -v`` tells of each; ``-X importtime`` passes over what importlib was asked for. It
    signs, for once: the collection must be put back before it is measured.
    """
    told = said_beside(setting.python, "-v", *_sign_argv(setting, built), environ=built.environ)
    names = list(dict.fromkeys(_IMPORTED.findall(told)))
    if "trust.cli.publishing" not in names:
        raise BenchError("python -v told nothing of trust.cli.publishing, which trust sign imports")
    return names
