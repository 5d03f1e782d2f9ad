"""A benchmark is opened by a name, or by the folder of a release."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmarks import (
    DRAWN,
    EMBEDDED,
    UNPINNED,
    known_name,
    open_benchmark,
    open_folder,
    open_named,
)
from spy_plugin.cli.main import main
from spy_plugin.data.prepared import folder_of
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.runs.identity import dataset_name
from tests.data.conftest import write_release


@pytest.mark.parametrize(
    ("written", "name"),
    [("mini", "mini"), ("MINI", "mini"), ("Lab_Small", "lab-small"), (" lab ", "lab")],
)
def test_case_and_underscores_do_not_matter(written: str, name: str) -> None:
    assert known_name(written) == name
    assert open_named(written).name == name


@pytest.mark.parametrize(
    ("wrong", "closest"),
    [("minni", "Did you mean mini?"), ("offical", "Did you mean official?"), ("xyz", "Use offic")],
)
def test_an_unknown_name_gets_the_closest_ones(wrong: str, closest: str) -> None:
    with pytest.raises(SpyBenchError) as caught:
        open_named(wrong)
    assert closest in str(caught.value)
    assert "no such folder" in str(caught.value)
    with pytest.raises(SpyBenchError, match=f"no benchmark is called '{wrong}'"):
        open_benchmark(wrong)


def test_a_name_comes_before_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_release(tmp_path / "mini")
    assert open_named("mini").name == "mini"
    opened = open_named("./mini")
    assert (opened.name, len(opened.items)) == (UNPINNED, 3)


def test_a_name_that_came_from_a_file_never_opens_a_folder(tmp_path: Path) -> None:
    release = write_release(tmp_path / "release")
    with pytest.raises(SpyBenchError, match="no benchmark is called"):
        open_benchmark(str(release))


def test_a_folder_without_a_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not an official SPY-Bench release"):
        open_named(str(tmp_path))


def test_a_prepared_release_is_opened_with_its_pictures_where_it_was_made_and_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "home"))
    release = write_release(tmp_path / "release")
    pictures = tmp_path / "elsewhere"
    shutil.move(release / "images", pictures / "images")
    words = ["--release", str(release), "--images", str(pictures / "images/test2017")]
    assert main(["data", "prepare", *words, "--allow-unpinned"]) == 0
    prepared = folder_of("official")
    named = open_benchmark("official")
    opened = open_folder(prepared)
    assert opened == named
    assert opened.decoded
    copy = shutil.copytree(prepared, tmp_path / "copy", symlinks=True)
    moved = open_folder(copy)
    assert not moved.decoded
    assert (moved.name, moved.items) == (UNPINNED, named.items)
    for sample in moved.samples():
        assert moved.image_file(sample).is_file()


def test_a_copys_claim_to_be_the_official_revision_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "home"))
    release = write_release(tmp_path / "release")
    assert main(["data", "prepare", "--release", str(release), "--allow-unpinned"]) == 0
    copy = shutil.copytree(folder_of("official"), tmp_path / "copy", symlinks=True)
    record = copy / "prepared.json"
    text = record.read_text().replace('"pinned":false', '"pinned":true')
    text = text.replace('"pinned": false', '"pinned": true')
    assert '"pinned": true' in text or '"pinned":true' in text
    record.write_text(text)
    assert open_folder(copy).name == UNPINNED


@pytest.mark.parametrize("name", EMBEDDED)
def test_named_benchmarks_share_the_built_in_labels(name: str) -> None:
    """So that `score` needs none of them to read verdicts on them."""
    benchmark = open_benchmark(name)
    assert benchmark.label_words.keys() <= set(LABELS)
    assert benchmark.protocol.absolute_labels == ABSOLUTE_LABELS


def test_files_of_a_split_that_hosts_lack_have_a_name_of_their_own() -> None:
    assert dataset_name("lab-validation", True) == "SPYBench_LAB_VALIDATION"
    assert dataset_name("lab-small-validation", False) == (
        "SPYBench_LAB_SMALL_NO_DISTRACTORS_VALIDATION"
    )
    names = [dataset_name(name, True) for name in (*DRAWN, "official")]
    assert len(names) == len(set(names))
