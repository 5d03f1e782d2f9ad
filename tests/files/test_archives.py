"""Untrusted archives are unpacked as plain files inside the target, or refused completely."""

from __future__ import annotations

import gzip
import io
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.archives import Limits, extract

Member = tarfile.TarInfo


def _tar(path: Path, *members: tuple[Member, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def _file(name: str, content: bytes = b"x") -> tuple[Member, bytes]:
    return Member(name), content


def _special(name: str, kind: bytes, linkname: str = "") -> tuple[Member, bytes]:
    member = Member(name)
    member.type, member.linkname = kind, linkname
    return member, b""


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_any_packing_unpacks_to_its_files(tmp_path: Path, mode: str) -> None:
    archive = _tar(tmp_path / "a", _file("top/a.txt", b"one"), _file("./top/b/c", b"2"), mode=mode)
    assert extract(archive, tmp_path / "out") == 2
    assert (tmp_path / "out/top/a.txt").read_bytes() == b"one"
    assert (tmp_path / "out/top/b/c").read_bytes() == b"2"


def test_a_zip_unpacks_to_its_files_without_their_modes(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("d/run.sh")
    info.external_attr = (stat.S_IFREG | 0o6777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "echo")
        archive.writestr("e/", "")
    assert extract(tmp_path / "a.zip", tmp_path / "out") == 1
    assert not (tmp_path / "out/d/run.sh").stat().st_mode & 0o7111
    assert (tmp_path / "out/e").is_dir()


HOSTILE = {
    "absolute": _file("/etc/x"),
    "climbing": _file("a/../../x"),
    "backslashes": _file("..\\x"),
    "drive": _file("C:/x"),
    "link out": _special("a", tarfile.SYMTYPE, "/etc/passwd"),
    "link inside": _special("a", tarfile.SYMTYPE, "b"),
    "hard link": _special("a", tarfile.LNKTYPE, "../../x"),
    "device": _special("a", tarfile.CHRTYPE),
    "pipe": _special("a", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tar_entry_is_named_and_nothing_stays(tmp_path: Path, kind: str) -> None:
    archive = _tar(tmp_path / "a.tar.gz", _file("good"), HOSTILE[kind])
    with pytest.raises(DataError, match=r"a\.tar\.gz: entry '"):
        extract(archive, tmp_path / "in" / "out")
    assert not (tmp_path / "in" / "out").exists()
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["../x", "/x", "a\\..\\x"])
def test_a_zip_path_that_climbs_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(DataError, match="may be outside the folder"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_zip_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def _zeros_tar(path: Path) -> Path:
    return _tar(path, _file("zeros", bytes(50_000_000)))


def _zeros_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    return path


@pytest.mark.parametrize("make", [_zeros_tar, _zeros_zip])
def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    archive = make(tmp_path / "a")
    assert archive.stat().st_size < 60_000
    with pytest.raises(DataError, match="50,000,000 bytes, beyond the limit"):
        extract(archive, tmp_path / "out")


def test_a_zip_that_hides_its_size_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"y" * 1000)
    content = path.read_bytes()
    size = (1000).to_bytes(4, "little")
    # Local and central header each contain packed and unpacked size: change the latter.
    path.write_bytes(content.replace(size + size, size + (10).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"is longer than it says|cannot be unpacked"):
        extract(path, tmp_path / "out")


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    header = Member("pax")
    header.type, header.size = tarfile.XHDTYPE, 4 * 2**30
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(DataError, match="a header of 4,294,967,296 bytes"):
        extract(tmp_path / "a.tar.gz", tmp_path / "out")


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a", *(_file(f"f{n}") for n in range(4)))
    with pytest.raises(DataError, match="after 3 others, the limit"):
        extract(archive, tmp_path / "out", Limits(files=3))


def test_an_entry_may_not_stand_twice(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a", _file("a/B"), _file("a/b"))
    with pytest.raises(DataError, match="is a duplicate"):
        extract(archive, tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_a_cut_archive_is_refused_and_leaves_nothing(tmp_path: Path, keep: int) -> None:
    archive = _tar(tmp_path / "a.tar.gz", _file("f", random.Random(0).randbytes(1000)))
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(DataError, match="Download it again"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_wrong_checksum_at_the_end_is_refused(tmp_path: Path, mode: str) -> None:
    archive = _tar(tmp_path / "a", _file("f", random.Random(0).randbytes(1000)), mode=mode)
    content = bytearray(archive.read_bytes())
    # gzip: checksum, size; xz: the CRC of the index, index size, flags, magic; bz2: checksum.
    content[{"w:gz": -8, "w:bz2": -2, "w:xz": -14}[mode]] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match="Download it again"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_endless_padding_is_not_read(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tar", _file("f"), mode="w")
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        file.write(archive.read_bytes() + bytes(2**25))
    with pytest.raises(DataError, match="after the last entry"):
        extract(tmp_path / "a.tar.gz", tmp_path / "out")


def test_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(zipfile.ZipInfo(""), "x")
    for archive in (tmp_path / "a.zip", _tar(tmp_path / "a.tar", _file(""), mode="w")):
        with pytest.raises(DataError, match="entry '' has no name"):
            extract(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def _whole_archives(folder: Path) -> list[bytes]:
    entries = [_file("top/a.txt", b"one" * 50), _file("top/b/c", random.Random(1).randbytes(300))]
    made = [_tar(folder / "a", *entries, mode=mode).read_bytes() for mode in ("w", "w:gz", "w:xz")]
    with zipfile.ZipFile(folder / "a", "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in entries:
            archive.writestr(member.name, content)
    return [*made, (folder / "a").read_bytes()]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    kind=st.integers(0, 3),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    keep=st.floats(0.5, 1),
)
def test_a_mutated_archive_unpacks_or_is_refused_and_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    kind: int,
    edits: list[tuple[float, int]],
    keep: float,
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    content = bytearray(_whole_archives(folder)[kind])
    for place, value in edits:
        content[int(place * len(content))] = value
    (folder / "a").write_bytes(content[: max(1, int(keep * len(content)))])
    try:
        extract(folder / "a", folder / "out")
    except DataError as error:
        assert str(folder / "a") in str(error)  # noqa: PT017 - either outcome is right
        assert not (folder / "out").exists()


def test_a_disk_without_room_is_said_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shutil import _ntuple_diskusage

    monkeypatch.setattr("shutil.disk_usage", lambda _: _ntuple_diskusage(10, 10, 5))
    archive = _tar(tmp_path / "a", _file("f"))
    with pytest.raises(SpyBenchError, match=r"0\.0 GB are free\. Free some space\.$"):
        extract(archive, tmp_path / "out")
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path))
    with pytest.raises(SpyBenchError, match=r"Free some space, or set SPY_BENCH_HOME"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
