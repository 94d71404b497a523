"""Archives that attack: nothing outside the folder is written, and every bound holds."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import archive
from storage.errors import Reason, StorageError

LIMITS = archive.Limits(max_bytes=10_000_000, max_members=1000)
Make = Callable[[tarfile.TarFile], None]


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, size, 0o4777
    return info


def tar_of(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes], name: str = "m.tar") -> Path:
    path = tmp_path / name
    with tarfile.open(path, "w:gz" if name.endswith("gz") else "w", format=tarfile.GNU_FORMAT) as tar:
        for info, body in members:
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def unpack(path: Path, tmp_path: Path, limits: archive.Limits = LIMITS) -> list[str]:
    folder = tmp_path / "world" / "out"
    folder.mkdir(parents=True)
    try:
        return archive.extract(path, folder, limits)
    finally:
        outside = {p.name for p in (tmp_path / "world").iterdir()}
        assert outside == {"out"}
        assert not any(p.is_symlink() for p in folder.rglob("*"))


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz", "m.tgz"])
def test_good_tar_is_unpacked_with_our_modes(tmp_path: Path, name: str) -> None:
    path = tar_of(
        tmp_path, (member("./"), b""), (member("./a/b.bin"), b"b"), (member("c.bin"), b"c"), name=name
    )
    assert unpack(path, tmp_path) == ["a/b.bin", "c.bin"]
    mode = (tmp_path / "world/out/c.bin").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


def test_good_zip_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("a/", "")
        opened.writestr("a/b.bin", b"b" * 5000)
    assert unpack(path, tmp_path) == ["a/b.bin"]


def test_links_to_earlier_members_become_copies(tmp_path: Path) -> None:
    path = tar_of(
        tmp_path,
        (member("a/real.bin"), b"data"),
        (member("a/soft.bin", tarfile.SYMTYPE, "real.bin"), b""),
        (member("hard.bin", tarfile.LNKTYPE, "a/real.bin"), b""),
    )
    assert unpack(path, tmp_path) == ["a/real.bin", "a/soft.bin", "hard.bin"]
    assert (tmp_path / "world/out/hard.bin").read_bytes() == b"data"


@pytest.mark.parametrize(
    "info",
    [
        member("../evil.bin"),
        member("a/../../evil.bin"),
        member("/tmp/evil.bin"),
        member("a\\..\\evil.bin"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.SYMTYPE, "../../etc/passwd"),
        member("link", tarfile.LNKTYPE, "/etc/passwd"),
        member("dangling", tarfile.SYMTYPE, "later.bin"),
        member("pipe", tarfile.FIFOTYPE),
        member("disk", tarfile.BLKTYPE),
        member("tty", tarfile.CHRTYPE),
        member("/".join(["d"] * 100)),
        member("name\nwith newline"),
    ],
    ids=lambda info: f"{info.name[:20]!r}-{info.type.decode()}",
)
def test_unsafe_members_are_refused(tmp_path: Path, info: tarfile.TarInfo) -> None:
    with pytest.raises(StorageError) as caught:
        unpack(tar_of(tmp_path, (info, b"")), tmp_path)
    assert caught.value.reason is Reason.UNSAFE


def test_write_through_a_link_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path, (member("d", tarfile.SYMTYPE, "/tmp"), b""), (member("d/evil.bin"), b"x"))
    with pytest.raises(StorageError, match="link"):
        unpack(path, tmp_path)


@pytest.mark.parametrize("pair", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_names_given_twice_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    with pytest.raises(StorageError) as caught:
        unpack(tar_of(tmp_path, *((member(name), b"x") for name in pair)), tmp_path)
    assert caught.value.reason is Reason.UNSAFE


def test_bombs_stop_at_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros.bin", b"\0" * 80_000_000)
    with pytest.raises(StorageError, match="limit"):
        unpack(path, tmp_path)
    with pytest.raises(StorageError, match="bomb"):
        unpack(path, tmp_path / "2", archive.Limits(max_bytes=10**12, max_members=1000))
    written = sum(p.stat().st_size for p in (tmp_path / "2").rglob("*") if p.is_file())
    assert written <= archive.FREE_RATIO_BYTES + archive.CHUNK_BYTES


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path, *((member(f"f{number}"), b"") for number in range(50)))
    with pytest.raises(StorageError, match="members"):
        unpack(path, tmp_path, archive.Limits(max_bytes=1000, max_members=10))


def test_header_that_claims_gigabytes_costs_no_memory(tmp_path: Path) -> None:
    info = member("x", tarfile.XHDTYPE, size=0)
    info.size = 3 * 1024**3
    path = tmp_path / "m.tar.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(info.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 4096)
    with pytest.raises(StorageError, match="header of"):
        unpack(path, tmp_path)


def test_sparse_terabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tar"
    info = member("sparse.bin")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse.bin",
                        "GNU.sparse.realsize": str(2**40)}  # fmt: skip
    body = b"1\n1099511627775\n1\n".ljust(512, b"\0") + b"x"
    info.size = len(body)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(body))
    with pytest.raises(StorageError, match="sparse"):
        unpack(path, tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/abs", "a\\..\\b", "C:\\x"])
def test_zip_slip_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(name, b"x")
    with pytest.raises(StorageError) as caught:
        unpack(path, tmp_path)
    assert caught.value.reason is Reason.UNSAFE


def test_zip_link_duplicate_and_huge_directory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as opened:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(StorageError, match="link"):
        unpack(path, tmp_path)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as opened:
        warnings.simplefilter("ignore")
        opened.writestr("a", b"1")
        opened.writestr("a", b"2")
    with pytest.raises(StorageError, match="twice"):
        unpack(path, tmp_path / "2")
    raw = bytearray(path.read_bytes())
    end = raw.rfind(b"PK\x05\x06")
    raw[end + 12 : end + 16] = (2**31).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(StorageError, match="directory of"):
        unpack(path, tmp_path / "3")


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz", "m.zip"])
@pytest.mark.parametrize("body", [b"", b"not an archive", b"PK\x03\x04", b"\x1f\x8b\x08\x00"], ids=repr)
def test_what_is_no_archive_is_refused(tmp_path: Path, name: str, body: bytes) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(StorageError) as caught:
        unpack(tmp_path / name, tmp_path)
    assert caught.value.reason in (Reason.INVALID, Reason.UNSAFE)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_methods_without_a_bound_on_memory_are_refused(tmp_path: Path, method: int) -> None:
    """``zipfile`` would expand them whole: 10 KB of bzip2 are 10 GB of memory."""
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("m.bin", bytes(1000))
    with pytest.raises(StorageError, match="make the zip with deflate") as caught:
        unpack(path, tmp_path)
    assert caught.value.reason is Reason.UNSUPPORTED
