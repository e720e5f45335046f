"""A snapshot that asks for more than a container here would have is refused, whoever signed it."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.migration.harbour import COUNT, Machine, last, until
from trust.errors import InputError, RefusedError
from trust.runtime.account import Account
from trust.runtime.checkpoint_images import Fields, encoded, fields, message, records
from trust.runtime.checkpoint_mounts import devices_of
from trust.runtime.checkpoint_walls import read_walls, require_within
from trust.runtime.criu import dump_settings, streams_of

pytestmark = pytest.mark.root
ROOT = Account(uid=0, gid=0, additional_gids=(0,), home="/")
CAPABILITIES = 0xA80425FB
SYS_ADMIN = 1 << 21
BEYOND = 1 << 32  # CRIU's reader keeps the 32 bits below


@pytest.fixture(scope="module")
def dumped(founded: tuple[Machine, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give CRIU's images of a real container."""
    machine, images = founded[0], tmp_path_factory.mktemp("images")
    machine.start("measured", COUNT)
    until(lambda: last(machine.output("measured")) > 2, "the counter")
    one, bundle = machine.container("measured"), machine.directory_of("measured")
    (bundle / "criu.conf").write_text(dump_settings(streams_of(one["pid"])))
    state = str(machine.home / "engines/runc")
    where = ["--image-path", str(images), "--work-path", str(tmp_path_factory.mktemp("work"))]
    subprocess.run(["runc", "--root", state, "checkpoint", *where, one["id"]], check=True)
    return images


@pytest.fixture
def images(dumped: Path, tmp_path: Path) -> Path:
    """Give a copy of the images that may be edited."""
    return Path(shutil.copytree(dumped, tmp_path / "images"))


def edit(path: Path, before: bytes, after: bytes) -> None:
    """Replace bytes of an image by as many others; every process's where the name is a pattern."""
    assert len(before) == len(after)
    for each in path.parent.glob(path.name):
        content = each.read_bytes()
        assert before in content, each
        each.write_bytes(content.replace(before, after))


def flags(value: int) -> bytes:
    return encoded(5, value)


def more_capabilities(field: int) -> Callable[[Path], None]:
    return lambda images: edit(
        images / "core-1.img", encoded(field, CAPABILITIES), encoded(field, CAPABILITIES | SYS_ADMIN)
    )


def with_a_disk(images: Path) -> None:
    """Put a device node into the archive of /dev."""
    for path in images.glob("tmpfs-dev-*"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            node = tarfile.TarInfo("./sda")
            node.type, node.devmajor, node.devminor = tarfile.BLKTYPE, 8, 0
            archive.addfile(node)
        path.write_bytes(gzip.compress(out.getvalue()))


def with_one_more_mount(images: Path) -> None:
    """Name the last mount twice, by two numbers: its record is a length and as many bytes, at the end."""
    for path in images.glob("mountpoints-*.img"):
        data, at, last = path.read_bytes(), 8, b""
        while at < len(data):
            end = at + 4 + int.from_bytes(data[at : at + 4], "little")
            at, last = end, data[at + 4 : end]
        again = spelled({**fields(last, ""), 2: [9999]})
        path.write_bytes(data + len(again).to_bytes(4, "little") + again)


def with_a_network_device(images: Path) -> None:
    (images / "netdev-9.img").write_bytes(b"")


MOVES: dict[str, tuple[Callable[[Path], None], str]] = {
    "an effective capability": (more_capabilities(11), "has capabilities .*: 0x200000"),
    "a permitted capability": (more_capabilities(10), "has capabilities .*: 0x200000"),
    "a bounding capability": (more_capabilities(12), "has capabilities .*: 0x200000"),
    "new privileges": (
        lambda images: edit(images / "core-*.img", encoded(18, 1), encoded(18, 0)), "no_new_privs is not set",
    ),
    "no filter": (
        lambda images: edit(images / "core-1.img", encoded(11, 2) + b"\x60", encoded(11, 0) + b"\x60"),
        "lacks the filter of system calls",
    ),
    "another filter": (
        lambda images: edit(images / "seccomp.img", b"\x06\0\0\0\x01\0\x05\0", b"\x06\0\0\0\0\0\xff\x7f"),
        "lacks the filter of system calls",
    ),
    "a writable /proc/sys": (
        lambda images: edit(images / "mountpoints-*.img", flags(2097167) + encoded(6, b"/sys"),
                            flags(2097166) + encoded(6, b"/sys")),
        "other mounts than a container here: at /proc/sys",
    ),
    "one more mount": (with_one_more_mount, "other mounts than a container here"),
    "a disk": (with_a_disk, r"has a device that no container here has: ./sda"),
    "the host's network": (
        lambda images: edit(images / "ids-*.img", encoded(6, 10), encoded(6, 2)), "shares a namespace",
    ),
    "a high priority": (
        lambda images: edit(images / "core-1.img", encoded(3, 0) + encoded(4, 0) + encoded(7, b"")[:1],
                            encoded(3, 39) + encoded(4, 0) + encoded(7, b"")[:1]),
        "higher priority",
    ),
    "a network device": (
        with_a_network_device, "a kind that no container here has",
    ),
    "a tunnel held open": (
        lambda images: edit(images / "files.img", encoded(1, 1) + encoded(2, 2), encoded(1, 15) + encoded(2, 2)),
        "holds open a file of a kind",
    ),
}  # fmt: skip


@pytest.mark.parametrize("gained", MOVES)
def test_snapshot_that_brings_privileges_is_refused(dumped: Path, images: Path, gained: str) -> None:
    measure = read_walls(dumped)
    require_within(read_walls(images), measure, ROOT)
    move, words = MOVES[gained]
    move(images)
    with pytest.raises(RefusedError, match=words) as refusal:
        require_within(read_walls(images), measure, ROOT)
    assert refusal.value.reason == "tampered"


def spelled(message: Fields) -> bytes:
    return b"".join(encoded(field, value) for field, values in message.items() for value in values)


def image(path: Path, head: bytes, body: bytes) -> None:
    path.write_bytes(head + len(body).to_bytes(4, "little") + body)


def test_thread_without_a_filter_is_let_through_only_where_its_leaders_is_shared(
    dumped: Path, images: Path
) -> None:
    """CRIU leaves a thread's filter out where it is the leader's, which then says that it is for all threads."""
    head, core = (images / "core-1.img").read_bytes()[:8], dict(next(records(images / "core-1.img")))
    thread = {field: values for field, values in message(core, 5, "core").items() if field not in (11, 12)}
    image(images / "core-1000.img", head, spelled({**core, 5: [spelled(thread)]}))
    head = (images / "pstree.img").read_bytes()[:8]
    image(images / "pstree.img", head, spelled({1: [1], 2: [0], 3: [1], 4: [1], 5: [1, 1000]}))
    for path in images.glob("*-[0-9]*.img"):
        if path.name.startswith(("core", "fs", "ids", "mm", "pagemap")) and path.name[-6:-4] not in ("-1", "00"):
            path.unlink()  # of the process that the counter waits for
    require_within(read_walls(images), read_walls(dumped), ROOT)
    filters = images / "seccomp.img"
    head, (entry,) = filters.read_bytes()[:8], [next(records(filters))]
    alone = [encoded(1, fields(raw, "")[1][0]) for raw in entry[1] if isinstance(raw, bytes)]
    image(filters, head, spelled({1: list(alone)}))
    with pytest.raises(RefusedError, match="lacks the filter"):
        require_within(read_walls(images), read_walls(dumped), ROOT)


def with_creds(images: Path, creds: Callable[[Fields], bytes], *, doubled: bytes = b"") -> None:
    """Write the first process's credentials anew, in one thread or in two that a reader would merge."""
    path = images / "core-1.img"
    head, core = path.read_bytes()[:8], dict(next(records(path)))
    thread = message(core, 5, "core")
    inner = spelled({**thread, 10: [creds(message(thread, 10, "creds"))]})
    threads = [doubled, inner] if doubled else [inner]
    image(path, head, spelled({**core, 5: [*threads]}))


def test_capabilities_that_are_spelled_otherwise_do_not_slip_through(dumped: Path, images: Path) -> None:
    """CRIU's reader takes numbers packed into bytes, and merges messages that are there twice."""
    measure, packed = read_walls(dumped), b"\xff\xff\xff\xff\x0f" + b"\xff\x03"
    with_creds(images, lambda creds: spelled({**creds, 11: [packed]}))
    with pytest.raises(InputError, match="field 11 has other than numbers"):
        require_within(read_walls(images), measure, ROOT)
    shutil.copy(dumped / "core-1.img", images)
    evil = encoded(10, b"".join(encoded(11, word) for word in (0xFFFFFFFF, 0x1FF)))
    with_creds(images, lambda creds: spelled({**creds, 11: []}), doubled=evil)
    with pytest.raises(InputError, match="field 5 is not one message"):
        require_within(read_walls(images), measure, ROOT)


def rewrite(path: Path, *places: int, number: int, value: int | bytes, head_bytes: int = 8) -> None:
    """Write a field of a file's first message anew; ``places`` lead through the messages that hold it."""
    data = path.read_bytes()
    head, end = data[:head_bytes], head_bytes + 4 + int.from_bytes(data[head_bytes : head_bytes + 4], "little")

    def changed(body: bytes, rest: tuple[int, ...]) -> bytes:
        found: Fields = fields(body, "")
        if not rest:
            return spelled({**found, number: [value]})
        (inner,) = found[rest[0]]
        assert isinstance(inner, bytes)
        return spelled({**found, rest[0]: [changed(inner, rest[1:])]})

    body = changed(data[head_bytes + 4 : end], places)
    path.write_bytes(head + len(body).to_bytes(4, "little") + body + data[end:])


def with_a_decoy(images: Path) -> None:
    """Name process 2^32 + 1, which is 1 to CRIU's reader, and have an image of each."""
    for kind in ("core", "ids"):
        shutil.copy(images / f"{kind}-1.img", images / f"{kind}-{BEYOND + 1}.img")
    rewrite(images / "pstree.img", number=1, value=BEYOND + 1)
    rewrite(images / "pstree.img", number=5, value=BEYOND + 1)
    rewrite(images / "core-1.img", 5, 10, number=11, value=0xFFFFFFFF)


def with_a_thread_beyond(images: Path) -> None:
    shutil.copy(images / "core-1.img", images / f"core-{BEYOND + 22}.img")
    rewrite(images / "pstree.img", number=5, value=BEYOND + 22)


def with_namespaces_beyond(images: Path) -> None:
    for path in images.glob("ids-*.img"):
        host = message(next(records(images / "inventory.img")), 3, "")[6][0]
        assert isinstance(host, int)
        rewrite(path, number=6, value=BEYOND + host)


def without_a_network(images: Path) -> None:
    for path in images.glob("ids-*.img"):
        head, ids = path.read_bytes()[:8], dict(next(records(path)))
        image(path, head, spelled({field: values for field, values in ids.items() if field != 6}))


def with_mounts_in_two_places(images: Path) -> None:
    (path,) = images.glob("mountpoints-*.img")
    shutil.copy(path, images / "mountpoints-999.img")


def with_mounts_elsewhere(images: Path) -> None:
    (path,) = images.glob("mountpoints-*.img")
    path.rename(images / "mountpoints-999.img")


def with_filters_in_two_records(images: Path) -> None:
    path = images / "seccomp.img"
    content = path.read_bytes()
    path.write_bytes(content + content[8:])


TWO_READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a process beyond 32 bits": (with_a_decoy, "field 1 has more than 32 bits"),
    "a thread beyond 32 bits": (with_a_thread_beyond, "field 5 has more than 32 bits"),
    "a namespace beyond 32 bits": (with_namespaces_beyond, "field 6 has more than 32 bits"),
    "no word of a namespace": (without_a_network, "shares a namespace"),
    "a user beyond 32 bits": (
        lambda images: rewrite(images / "core-1.img", 5, 10, number=1, value=BEYOND + 33), "field 1 has more than",
    ),
    "a spared process": (
        lambda images: rewrite(images / "core-1.img", 3, number=14, value=BEYOND - 1000), "field 14 has more than",
    ),
    "a number beyond 64 bits": (
        lambda images: rewrite(images / "core-1.img", 5, number=1, value=1 << 64), "has more than 64 bits",
    ),
    "an image of a process of no number": (
        lambda images: shutil.copy(images / "core-1.img", images / "core-4000.img"), "process that it does not",
    ),
    "the mounts in two images": (with_mounts_in_two_places, "not have: mountpoints-999.img"),
    "the mounts of another namespace": (with_mounts_elsewhere, "not have: mountpoints-999.img"),
    "filters of old": (
        lambda images: rewrite(images / "core-1.img", 3, number=11, value=0), "system calls in two places",
    ),
    "filters in two records": (with_filters_in_two_records, "seccomp.img: expected one record, got 2"),
}  # fmt: skip


@pytest.mark.parametrize("otherwise", TWO_READERS)
def test_snapshot_that_criu_would_read_otherwise_is_refused(dumped: Path, images: Path, otherwise: str) -> None:
    """CRIU's reader keeps 32 bits of a larger number, and reads one image where two are there."""
    move, words = TWO_READERS[otherwise]
    move(images)
    with pytest.raises((InputError, RefusedError), match=words):
        require_within(read_walls(images), read_walls(dumped), ROOT)


def entry_of(name: str, kind: bytes, *, size: int = 0, major: int = 0) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.devmajor = kind, size, major
    return entry.tobuf(tarfile.GNU_FORMAT)


FIRST = entry_of("./null", tarfile.CHRTYPE, major=1)
DISK = entry_of("./sda", tarfile.BLKTYPE, major=8)
ZEROS = bytes(10240)
ARCHIVES = {
    "a second gzip member": (gzip.compress(FIRST) + gzip.compress(DISK + ZEROS), "more follows the compressed"),
    "an entry behind the end": (gzip.compress(FIRST + ZEROS + DISK + ZEROS), "more behind its end"),
    "an entry behind a malformed one": (gzip.compress(FIRST + b"x" * 512 + DISK + ZEROS), "bad checksum|invalid"),
    "a device with content": (
        gzip.compress(entry_of("./null", tarfile.CHRTYPE, size=512) + entry_of("./a", tarfile.REGTYPE, size=512)
                      + DISK + ZEROS),
        "of kind b'3', 512 bytes",
    ),
    "an archive that is cut": (gzip.compress(FIRST + DISK)[:-9], "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("otherwise", ARCHIVES)
def test_archive_that_tar_would_read_otherwise_is_refused(tmp_path: Path, otherwise: str) -> None:
    content, words = ARCHIVES[otherwise]
    (tmp_path / "tmpfs-dev-5.tar.gz.img").write_bytes(gzip.compress(FIRST + ZEROS))
    assert list(devices_of(tmp_path)) == [("./null", 1, 0)]
    (tmp_path / "tmpfs-dev-5.tar.gz.img").write_bytes(content)
    with pytest.raises(InputError, match=words):
        list(devices_of(tmp_path))


def test_process_that_gave_up_rights_is_let_through(dumped: Path, images: Path) -> None:
    edit(images / "core-1.img", encoded(11, CAPABILITIES), encoded(11, CAPABILITIES & ~(1 << 27)))
    require_within(read_walls(images), read_walls(dumped), ROOT)


def test_process_that_became_another_user_is_refused(images: Path) -> None:
    with pytest.raises(RefusedError, match="another user"):
        require_within(
            read_walls(images), read_walls(images), Account(uid=33, gid=33, additional_gids=(33,), home="/")
        )


@pytest.mark.parametrize("name", ["core-1.img", "ids-1.img", "inventory.img", "mountpoints-*.img", "pstree.img"])
def test_truncated_image_is_refused_in_one_line(images: Path, name: str) -> None:
    for path in images.glob(name):
        content = path.read_bytes()
        for length in (0, 3, 9, len(content) - 1):
            path.write_bytes(content[:length])
            with pytest.raises((InputError, RefusedError)):
                require_within(read_walls(images), read_walls(images), ROOT)
