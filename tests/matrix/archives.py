"""Attacks by layers that their publisher signed without looking: what an archive does where it is unpacked.

Each image is signed as it is, so ``verify`` and the shim let it through; what holds is the unpacker of ``run``. It
refuses what has no place inside the root, and contains the rest: then the image runs, and prints its name. What
gets out is looked for in a directory beside, which a plain extraction of the same layer does reach.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.matrix.attack import Attack, attack
from tests.matrix.stage import Case
from tests.runtime.images import Piece, file, hard_link, layer, layer_of, symlink, tar
from tests.simulators.upstream import Picture

RUNS = "gives another"  # contained: it runs, and nothing of it is outside
REFUSED = "malformed"
Archive = Callable[[Path], Sequence[Piece]]  # of the directory outside


def attacks() -> Iterator[Attack]:
    """Give them all."""
    layers: dict[str, tuple[str, Archive]] = {
        "dots in a name": (REFUSED, lambda out: [file("../" * 40 + f"{out}/owned".lstrip("/"), b"x")]),
        "an absolute name": (RUNS, lambda out: [file(f"{out}/owned", b"x")]),
        "a symlink and a write through it": (
            RUNS,
            lambda out: [symlink("way", str(out)), file("way/owned", b"x")],
        ),
        "a symlink to the root and a write through it": (
            RUNS,
            lambda out: [symlink("way", "/."), file(f"way{out}/owned", b"x")],
        ),
        "a hard link out of the root": (
            REFUSED,
            lambda out: [hard_link("way", "../" * 40 + f"{out}/secret".lstrip("/")), file("way", b"x")],
        ),
        "a hard link through a symlink": (
            REFUSED,
            lambda out: [symlink("way", str(out)), hard_link("link", "way/secret"), file("link", b"x")],
        ),
        "a whiteout through a symlink": (RUNS, lambda out: [symlink("way", str(out)), file("way/.wh.secret")]),
        "an opaque whiteout through a symlink": (
            RUNS,
            lambda out: [symlink("way", str(out)), file("way/.wh..wh..opq")],
        ),
        "a device node": (
            RUNS,
            lambda _out: [Piece(name="memory", kind=tarfile.CHRTYPE, device=(1, 1), mode=0o666)],
        ),
        "a fifo": (RUNS, lambda _out: [Piece(name="fifo", kind=tarfile.FIFOTYPE)]),
        "a path of 4096 directories": (REFUSED, lambda _out: [file("d/" * 4096 + "f")]),
    }
    for what, (answer, archive) in layers.items():
        yield _signed(f"layer with {what}", answer, _unpacks, archive)
    yield _signed("layer whose content is not its diffID", "tampered", _other_content)
    yield _signed("command that is the engine itself", REFUSED, _config, {"Cmd": ["/proc/self/exe"]})
    yield _signed(
        "working directory among the host's descriptors", REFUSED, _config,
        {"Cmd": ["/bin/pwd"], "WorkingDir": "/proc/self/fd/7"},
    )  # fmt: skip


def _signed(name: str, answer: str, move: Callable[..., object], *arguments: object) -> Attack:
    expected = {"verify": RUNS, "shim": RUNS, "run": answer}
    return attack(name, expected, move, *arguments, unprotected=None, follows=True)


def _unpacks(case: Case, archive: Archive) -> None:
    pieces = list(archive(case.outside))
    if any(piece.content for piece in pieces):  # it writes, and needs nobody who knows of whiteouts
        _require_that_it_works(case, tar(*pieces))
        layers = [layer(*pieces)]
    else:
        layers = [layer(piece) for piece in pieces]
    _sign(case, case.stage.runnable("another", *layers))


def _require_that_it_works(case: Case, content: bytes) -> None:
    """Require that whoever extracts it as it is has something outside, and take that away again."""
    with tempfile.TemporaryDirectory(dir=case.folder) as place, tarfile.open(fileobj=io.BytesIO(content)) as naive:
        naive.extraction_filter = lambda member, _place: member  # as it was before there were filters
        naive.extractall(place)  # noqa: S202 - ours, and this is what it shows
    assert case.is_outside_changed, "the archive does no harm to anybody"
    case.mend_outside()


def _other_content(case: Case) -> None:
    content, stored = tar(file("said")), layer(file("stored"))
    _sign(case, case.stage.runnable("another", layer_of(content, blob=stored.blob)))


def _config(case: Case, config: dict[str, object]) -> None:
    _sign(case, case.stage.runnable("another", config=config))


def _sign(case: Case, picture: Picture) -> None:
    case.sign("1", picture)
