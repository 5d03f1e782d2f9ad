"""Official data are accepted from folders, archives and URLs, but only if they are genuine."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmarks import open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.data import prepare as module
from spy_plugin.data.prepare import TRAIN_FILE, Sources, prepare
from spy_plugin.data.prepared import blob_id, read_prepared, release_of
from spy_plugin.data.verify import verify
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.writing import FileLock
from tests.data.conftest import git_blob, write_pictures, write_release, write_tune
from tests.file_server import Served

LABELS = "benchmark/data/label2text.json"


def _tar(folder: Path, target: Path, top: str) -> Path:
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, top)
    return target


def _zip(folder: Path, target: Path, top: str) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{top}/{path.relative_to(folder)}")
    return target


def test_a_blob_id_is_gits(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"caf\xc3\xa9\r\n\0")
    assert blob_id(tmp_path / "f") == git_blob(tmp_path / "f")


def test_a_pinned_folder_is_prepared_and_opens_as_the_official_benchmark(
    pinned: Path, data_home: Path
) -> None:
    prepared = prepare(Sources(release=str(pinned)))
    assert prepared.pinned
    assert prepared == read_prepared("official")
    benchmark = open_benchmark("official")
    assert (benchmark.name, benchmark.protocol.name) == ("official", "official")
    assert benchmark.image_root == pinned
    assert len(list(benchmark.samples())) == 15
    assert verify("official") == []
    assert not list(data_home.glob(".*"))


@pytest.mark.parametrize(("pack", "name"), [(_tar, "r.tar.gz"), (_zip, "r.zip")])
def test_an_archive_of_the_release_brings_its_pictures(
    pinned: Path, data_home: Path, tmp_path: Path, pack: Callable[..., Path], name: str
) -> None:
    archive = pack(pinned, tmp_path / name, "specify-privacy-3743")
    prepared = prepare(Sources(release=str(archive)))
    assert prepared.image_root == data_home / "official" / "pictures"
    assert (prepared.image_root / "images/test2017/2.jpg").is_file()
    assert archive.is_file()


@pytest.mark.parametrize("top", ["test2017", "images/test2017", "."])
def test_a_picture_archive_fits_whatever_folder_it_starts_with(
    pinned: Path, data_home: Path, tmp_path: Path, top: str
) -> None:
    pictures = tmp_path / "elsewhere"
    shutil.move(pinned / "images" / "test2017", pictures)
    archive = _tar(pictures, tmp_path / "test2017.tar.gz", top)
    prepared = prepare(Sources(release=str(pinned), images=str(archive)))
    assert (prepared.image_root / "images/test2017/0.jpg").is_file()
    assert prepared.record.images == 3


@pytest.mark.parametrize("given", ["", "images", "images/test2017"])
def test_a_picture_folder_may_be_the_root_or_the_folder_itself(
    pinned: Path, data_home: Path, tmp_path: Path, given: str
) -> None:
    shutil.move(pinned / "images", tmp_path / "vispr" / "images")
    prepared = prepare(Sources(release=str(pinned), images=str(tmp_path / "vispr" / given)))
    assert prepared.image_root == tmp_path / "vispr"


def test_pictures_lie_where_the_release_says_to_put_them(pinned: Path, data_home: Path) -> None:
    shutil.move(pinned / "images", pinned / "benchmark" / "data" / "images")
    assert prepare(Sources(release=str(pinned))).image_root == pinned / "benchmark" / "data"


def test_everything_by_url_is_fetched_once_and_the_archives_go(
    pinned: Path, data_home: Path, tmp_path: Path, served: Served
) -> None:
    pictures = tmp_path / "test2017"
    shutil.move(pinned / "images" / "test2017", pictures)
    shutil.rmtree(pinned / "images")
    served.files["/r.tar.gz"] = _tar(pinned, tmp_path / "r.tar.gz", "r").read_bytes()
    served.files["/p.tar.gz"] = _tar(pictures, tmp_path / "p.tar.gz", "test2017").read_bytes()
    served.drop_after = [100]
    prepared = prepare(Sources(f"{served.url}/r.tar.gz", f"{served.url}/p.tar.gz"))
    assert prepared.pinned
    assert prepared.record.source == f"{served.url}/r.tar.gz"
    assert served.ranges == ["", "bytes=100-", ""]
    assert list((data_home / "downloads").iterdir()) == []


def _serve(pinned: Path, folder: Path, served: Served) -> Sources:
    """Serve a release and its pictures as two archives."""
    pictures = folder / "test2017"
    shutil.move(pinned / "images" / "test2017", pictures)
    shutil.rmtree(pinned / "images")
    served.files["/r.tar.gz"] = _tar(pinned, folder / "r.tar.gz", "r").read_bytes()
    served.files["/p.tar.gz"] = _tar(pictures, folder / "p.tar.gz", "test2017").read_bytes()
    return Sources(f"{served.url}/r.tar.gz", f"{served.url}/p.tar.gz")


def test_an_archive_that_has_changed_since_it_was_prepared_is_refused(
    pinned: Path, data_home: Path, tmp_path: Path, served: Served
) -> None:
    sources = _serve(pinned, tmp_path, served)
    first = prepare(sources).record.archives
    assert first == {
        f"{served.url}{name}": hashlib.sha256(content).hexdigest()
        for name, content in served.files.items()
    }
    assert prepare(sources, force=True).record.archives == first
    pictures = tmp_path / "test2017"
    (pictures / "more.txt").write_text("new")
    served.files["/p.tar.gz"] = _tar(pictures, tmp_path / "p2.tar.gz", "test2017").read_bytes()
    new = hashlib.sha256(served.files["/p.tar.gz"]).hexdigest()
    with pytest.raises(DataError, match=f"SHA-256 {new}, but .* was prepared before with"):
        prepare(sources, force=True)
    changed = prepare(sources, force=True, allow_unpinned=True).record.archives
    assert changed[f"{served.url}/p.tar.gz"] == new


@pytest.mark.parametrize("known", [{"size": 7}, {"size": None, "sha256": "0" * 64}])
def test_an_archive_that_is_not_the_registered_one_is_refused_and_fetched_again(
    pinned: Path,
    data_home: Path,
    tmp_path: Path,
    served: Served,
    known: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = _serve(pinned, tmp_path, served)
    (release,) = module.releases()
    entry = release.downloads["benchmark_images"].model_copy(
        update={"url": sources.images, **known}
    )
    changed = release.model_copy(update={"downloads": {"benchmark_images": entry}})
    monkeypatch.setattr(module, "releases", lambda: (changed,))
    with pytest.raises(DataError, match=r"registered with (7|0000)"):
        prepare(sources)
    assert not any("p.tar.gz" in path.name for path in (data_home / "downloads").iterdir())


def test_nothing_is_lost_when_the_second_download_fails(
    pinned: Path, data_home: Path, tmp_path: Path, served: Served
) -> None:
    served.files["/r.tar.gz"] = _tar(
        pinned / "benchmark", tmp_path / "r", "r/benchmark"
    ).read_bytes()
    served.files["/p.tar.gz"] = b"no archive"
    with pytest.raises(DataError, match="Download it again"):
        prepare(Sources(f"{served.url}/r.tar.gz", f"{served.url}/p.tar.gz"))
    assert [p.name.split("-", 1)[1] for p in (data_home / "downloads").iterdir()] == ["r.tar.gz"]
    assert not (data_home / "official").exists()


def test_another_revision_is_refused_with_both_ids(pinned: Path, data_home: Path) -> None:
    expected = git_blob(pinned / LABELS)
    words = json.loads((pinned / LABELS).read_text())
    (pinned / LABELS).write_text(json.dumps(words, indent=1))
    with pytest.raises(DataError) as error:
        prepare(Sources(release=str(pinned)))
    assert f"{LABELS}: expected {expected}, found {git_blob(pinned / LABELS)}" in str(error.value)
    assert "--allow-unpinned" in str(error.value)
    assert read_prepared("official") is None


def test_an_unpinned_revision_is_named_so_wherever_it_is_opened(
    pinned: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = json.loads((pinned / LABELS).read_text())
    (pinned / LABELS).write_text(json.dumps(words, indent=1))
    assert release_of(pinned) is None
    prepared = prepare(Sources(release=str(pinned)), allow_unpinned=True)
    assert not prepared.pinned
    assert open_benchmark("official").name == "official (unpinned)"
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(pinned))
    assert open_benchmark("official").name == "official (unpinned)"


def test_what_a_killed_preparation_left_is_cleared_away(pinned: Path, data_home: Path) -> None:
    left = data_home / ".official.new.tmp" / "made"
    left.mkdir(parents=True)
    (left / "half").write_text("a file that was being copied")
    prepare(Sources(release=str(pinned)))
    assert [path.name for path in data_home.iterdir()] == ["official"]
    with FileLock(data_home / "official"), pytest.raises(DataError, match="by another run"):
        prepare(Sources(release=str(pinned)), force=True)


def test_what_was_prepared_is_replaced_only_when_asked(pinned: Path, data_home: Path) -> None:
    first = prepare(Sources(release=str(pinned)))
    with pytest.raises(SpyBenchError, match="--force"):
        prepare(Sources(release=str(pinned)))
    shutil.rmtree(pinned / "images")
    with pytest.raises(SpyBenchError):  # the registered address does not exist in these tests
        prepare(Sources(release=str(pinned), images=str(pinned)), force=True)
    assert read_prepared("official") == first


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda p: p.unlink(), "the picture is missing"),
        (lambda p: p.write_bytes(p.read_bytes()[:200]), "does not decode"),
        (lambda p: p.write_text("<html>"), "does not decode"),
        (lambda p: (p.unlink(), p.symlink_to("/etc/hostname")), "leaves the data root"),
    ],
)
def test_a_bad_picture_is_named(
    pinned: Path, data_home: Path, damage: Callable[[Path], object], problem: str
) -> None:
    damage(pinned / "images/test2017/1.jpg")
    with pytest.raises(DataError, match=rf"1\.jpg.*{problem}"):
        prepare(Sources(release=str(pinned)))
    assert not (data_home / "official").exists()


HOSTILE_JSON = {
    "deep": "[" * 200_000,
    "cut": '{"benchmark_list": [',
    "nan": '{"benchmark_list": [{"benchmark_id": NaN}]}',
    "twice": '{"benchmark_list": [], "benchmark_list": [1]}',
    "wrong type": '{"benchmark_list": {"0": 1}}',
    "wrong field": '{"benchmark_list": [{"benchmark_id": 7}]}',
    "not text": b"\xff\xfe\x00",
    "huge number": '{"benchmark_list": [' + "9" * 10_000 + "]}",
}


@pytest.mark.parametrize("kind", HOSTILE_JSON)
def test_hostile_json_is_refused_with_its_file(pinned: Path, data_home: Path, kind: str) -> None:
    content = HOSTILE_JSON[kind]
    path = pinned / "benchmark/data/questions.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=r"questions\.json"):
        prepare(Sources(release=str(pinned)), allow_unpinned=True)
    assert not (data_home / "official").exists()


def test_a_huge_file_is_refused_unread(pinned: Path, data_home: Path) -> None:
    with (pinned / "benchmark/data/questions.json").open("r+b") as file:
        file.truncate(2**40)  # sparse: it uses no disk space
    with pytest.raises(DataError, match="1,099,511,627,776 bytes"):
        prepare(Sources(release=str(pinned)), allow_unpinned=True)


def test_a_picture_path_that_climbs_is_refused(pinned: Path, data_home: Path) -> None:
    path = pinned / "benchmark/data/questions.json"
    path.write_text(path.read_text().replace("images/test2017/1.jpg", "../../etc/1.jpg"))
    with pytest.raises(DataError, match="leaves the data root"):
        prepare(Sources(release=str(pinned)), allow_unpinned=True)


def test_verify_sees_every_later_change(pinned: Path, data_home: Path) -> None:
    prepared = prepare(Sources(release=str(pinned)))
    write_pictures(pinned / "other", 3)
    shutil.copy(pinned / "other/0.jpg", pinned / "images/test2017/2.jpg")
    labels = prepared.release / LABELS
    labels.write_text(labels.read_text() + " ")
    problems = verify("official", pictures=True)
    assert [problem.split(":")[0] for problem in problems] == [LABELS, "images/test2017/2.jpg"]
    assert [problem.split(":")[0] for problem in verify("official")] == [LABELS]


@pytest.mark.parametrize("level", ["images/test2017", "images"])
def test_pictures_in_a_linked_folder_are_prepared_and_verified(
    pinned: Path, data_home: Path, tmp_path: Path, level: str
) -> None:
    elsewhere = tmp_path / "disk" / "pictures"
    elsewhere.parent.mkdir()
    (pinned / level).rename(elsewhere)
    (pinned / level).symlink_to(elsewhere, target_is_directory=True)
    prepared = prepare(Sources(release=str(pinned)))
    assert prepared.record.images == 3
    assert verify("official", pictures=True) == []


def test_tune_takes_the_release_that_is_prepared(
    pinned: Path, data_home: Path, tmp_path: Path
) -> None:
    from spy_plugin.benchmark.spy_tune import read_tune_items

    prepare(Sources(release=str(pinned)))
    train = write_tune(tmp_path / "train_data.json")
    pictures = write_pictures(tmp_path / "vispr" / "images" / "train2017", 2)
    prepared = prepare(Sources(images=str(pictures), tune=str(train)))
    assert prepared == read_prepared("tune")
    assert (prepared.pinned, prepared.record.unverified) == (True, (TRAIN_FILE,))
    words = json.loads((prepared.release / LABELS).read_text())
    assert len(read_tune_items(prepared.release / TRAIN_FILE, words)) == 2
    assert (prepared.release / "train/data/eval_data.json").is_file()
    assert verify("tune") == []


def test_tune_without_its_file_says_where_to_get_it(pinned: Path, data_home: Path) -> None:
    with pytest.raises(SpyBenchError, match=r"needs a browser.*train_data\.json"):
        prepare(Sources(release=str(pinned), tune=""))


def test_a_folder_that_is_no_release_is_said(pinned: Path, data_home: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not contain benchmark/config\.py"):
        prepare(Sources(release=str(tmp_path)))
    with pytest.raises(DataError, match="no such file or folder"):
        prepare(Sources(release=str(tmp_path / "nowhere")))


def test_a_process_that_imported_a_host_prepares_nothing_by_url(
    pinned: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.download.__globals__["sys"].modules, "vlmeval", module)
    with pytest.raises(SpyBenchError, match="TLS verification off"):
        prepare(Sources(release="https://example.org/r.tar.gz"))


def test_the_command_tells_what_is_prepared(
    pinned: Path, data_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "path"]) == 1
    assert "spy-bench data prepare" in capsys.readouterr().err
    assert main(["data", "prepare", "--release", str(pinned)]) == 0
    assert "the official revision 2025-10" in capsys.readouterr().out
    assert main(["data", "status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["official"]["pinned"] is True
    assert status["official"]["images"] == 3
    assert status["tune"] is None
    assert main(["data", "path", "--images"]) == 0
    assert capsys.readouterr().out.strip() == str(pinned)
    assert main(["data", "verify", "--pictures"]) == 0
    (pinned / "images/test2017/0.jpg").unlink()
    assert main(["data", "verify"]) == 1


def test_a_broken_record_is_said_with_its_remedy(pinned: Path, data_home: Path) -> None:
    prepared = prepare(Sources(release=str(pinned)))
    (prepared.release / "prepared.json").write_text("{}")
    with pytest.raises(DataError, match=r"prepared\.json.*data prepare --force"):
        read_prepared("official")


def test_a_record_of_a_newer_version_says_so(pinned: Path, data_home: Path) -> None:
    record = prepare(Sources(release=str(pinned))).release / "prepared.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"schema_version": 2, "new": 1}))
    with pytest.raises(DataError, match=r"is 2: a newer version .* Upgrade this package: pip "):
        read_prepared("official")


def test_a_release_written_twice_has_one_fingerprint(tmp_path: Path, data_home: Path) -> None:
    prints = set()
    for name in ("a", "b"):
        release = write_release(tmp_path / name)
        prints.add(prepare(Sources(str(release)), allow_unpinned=True, force=True).fingerprint)
    assert len(prints) == 1


@pytest.mark.parametrize(
    "sources",
    [Sources(tune="missing.json"), Sources(images="missing.tar"), Sources(release="ftp://x/y")],
)
def test_a_missing_file_is_named_before_anything_is_downloaded(
    sources: Sources, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("downloaded")

    monkeypatch.setattr("spy_plugin.data.prepare.download", refuse)
    with pytest.raises(DataError, match=r"^(missing\.\w+|ftp://x/y): no such file or folder"):
        prepare(sources)
