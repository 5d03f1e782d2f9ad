"""Hostile and damaged bundles are refused."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.cli.main import main
from spy_plugin.errors import DataError
from spy_plugin.sharing import bundle_file
from spy_plugin.sharing.bundle_file import read_bundle, write_bundle
from spy_plugin.sharing.findings import Status
from spy_plugin.sharing.records import BundledRun
from tests.sharing.bundles import RUN, changed, findings


def write_zip(path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in entries:
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([("../../etc/passwd", b"x")], "is not a file of a bundle"),
        ([("/runs/1/run.json", b"x")], "is not a file of a bundle"),
        ([("runs/1/../2/run.json", b"x")], "is not a file of a bundle"),
        ([("runs/1/sub/run.json", b"x")], "is not a file of a bundle"),
        ([("runs/1/picture.png", b"x")], "is not a file of a bundle"),
        ([("runs/1/run.json", b"x"), ("runs/1/run.json", b"y")], "is a duplicate"),
        ([(link("runs/1/run.json"), b"/etc/passwd")], "is a link or another special file"),
        ([("runs/1/run.json", b"x")], "has no manifest.json"),
        ([("manifest.json", b"[" * 100_000)], "is not JSON"),
        ([("manifest.json", b'{"format": "other"}')], "\"format\" must be 'spy-bench bundle'"),
        ([("manifest.json", b'{"files": {}}')], '"spy_bench_version" is missing'),
        (
            [("manifest.json", b'{"version": 2, "kind": "of tomorrow"}')],
            "a newer version of spy-bench wrote this file. Upgrade this package: pip install",
        ),
        ([("manifest.json", b"\xff")], "is not JSON"),
        ([(f"runs/{n}/run.json", b"") for n in range(1, 1003)], "has 1,002 entries"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_entries_are_refused(entries: Any, problem: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bad.zip", *entries)
    with pytest.raises(DataError) as error:
        read_bundle(path)
    assert problem in str(error.value)
    assert str(path) in str(error.value)
    assert main(["verify", str(path)]) == 1


def test_bombs_are_bounded_before_they_are_read(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_file, "MOST_BYTES_OF_ONE", 2**20)
    path = write_zip(tmp_path / "bomb.zip", ("runs/1/run.json", b"0" * (2**20 + 1)))
    with pytest.raises(DataError, match="would take 1,048,577 bytes, beyond the limit"):
        read_bundle(path)
    monkeypatch.setattr(bundle_file, "MOST_BYTES", 2**19)
    with pytest.raises(DataError, match="beyond the limit"):
        read_bundle(bundle)


def test_a_directory_of_entries_is_bounded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "_MOST_BYTES_OF_INFO", 0)
    with pytest.raises(DataError, match=r"its list of entries takes \d{3} bytes"):
        read_bundle(bundle)
    monkeypatch.undo()
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.comment = b"x"
    with pytest.raises(DataError, match="does not end in a plain list of entries"):
        read_bundle(bundle)


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "lies.zip", ("runs/1/run.json", b"0" * 100_000))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 100_000), struct.pack("<I", 10)))
    with pytest.raises(DataError, match=r"is not a whole zip file|is not as long as"):
        read_bundle(path)


def test_other_files_and_damaged_ones_are_refused(bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.zip"
    text.write_text("no zip")
    assert "is not a whole zip file" in findings(text)["file"].detail
    missing = findings(tmp_path / "none.zip")["file"].detail
    assert missing.endswith("cannot be read (No such file or directory). Check the path.")
    torn = tmp_path / "torn.zip"
    torn.write_bytes(bundle.read_bytes()[:30_000])
    assert findings(torn)["file"].status is Status.FAILED


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("verdicts.jsonl", b"[1]\n", "line 1: a JSON list, not an object"),
        ("verdicts.jsonl", b'{"sample_id": 1}\n', "line 1: not a valid verdict"),
        ("verdicts.jsonl", b'{"a":' * 5000 + b"\n", "line 1: not JSON"),
        ("verdicts.jsonl", b'{"a":' * 500 + b"1" + b"}" * 500 + b"\n", "line 1: is nested too"),
        ("answers.jsonl", b"\xff\n", "line 1: not UTF-8"),
        ("figures.json", b'{"level": NaN}', "NaN is not a JSON number"),
        ("figures.json", b"{}", '"resamples" is missing'),
        ("run.json", b"null", "run.json: "),
    ],
)
def test_broken_records_are_named(
    name: str, line: bytes, problem: str, bundle: Path, tmp_path: Path
) -> None:
    _, files = read_bundle(bundle)
    write_bundle(tmp_path / "bad.zip", files | {f"{RUN}/{name}": line})
    found = findings(tmp_path / "bad.zip")["records"]
    assert found.status is Status.FAILED
    assert found.detail.startswith(f"bad.zip: {RUN}/{name}")
    assert problem in found.detail


def test_too_many_resamples_are_not_drawn(bundle: Path) -> None:
    def change(run: BundledRun) -> BundledRun:
        return run

    _, files = read_bundle(changed(bundle, change))
    claimed = json.loads(files[f"{RUN}/figures.json"])
    claimed["resamples"] = 10**9
    files[f"{RUN}/figures.json"] = json.dumps(claimed).encode()
    write_bundle(bundle, files)
    assert "less than or equal to 100000" in findings(bundle)["records"].detail


def test_control_characters_do_not_reach_the_terminal(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(run: BundledRun) -> BundledRun:
        first = replace(run.verdicts[0], sample_id="\x1b[31m\x9b2J")
        about = run.run.model_copy(update={"model": "m\x1b[2J\nok"})
        return replace(run, verdicts=[first, *run.verdicts[1:]], run=about)

    assert main(["verify", str(changed(bundle, change))]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_names_cannot_look_like_checks(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(run: BundledRun) -> BundledRun:
        first = replace(run.verdicts[0], sample_id="x\n  judge     ok\nbundle: ok")
        about = run.run.model_copy(update={"model": "m\n  figures   ok\nbundle: ok"})
        return replace(run, verdicts=[first, *run.verdicts[1:]], run=about)

    assert main(["verify", str(changed(bundle, change))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("bundle:")] == ["bundle: failed"]
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [
        "hashes", "samples", "items", "answers", "benchmark", "judge", "figures"
    ]  # fmt: skip
