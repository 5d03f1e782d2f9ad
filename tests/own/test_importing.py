"""Forms of benchmarks in the official layout and of exported data sets: there and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from spy_plugin.benchmarks import open_benchmark, open_own, open_release
from spy_plugin.cli.main import main
from spy_plugin.data.export import export
from spy_plugin.own.checking import check
from spy_plugin.own.importing import import_benchmark
from tests.own.conftest import Write


def test_the_official_layout_there_and_back_asks_the_same(example: Path, tmp_path: Path) -> None:
    own = open_own(example)
    assert export(own, "official", tmp_path / "release") == 60
    release = open_release(tmp_path / "release")
    assert release.protocol.fingerprint == own.protocol.fingerprint
    again = tmp_path / "again"
    import_benchmark(again, tmp_path / "release")
    back = open_own(again)
    assert check(again).problems == ()
    for distractors in (True, False):
        asked = [list(b.samples(distractors=distractors)) for b in (own, release, back)]
        assert asked[0] == asked[1] == asked[2]
    assert back.name.partition("@")[2] == "a0b2c41d"


@pytest.mark.parametrize("layout", ["official", "hf-dataset"])
def test_the_embedded_benchmark_becomes_a_form(layout: str, tmp_path: Path) -> None:
    if layout == "hf-dataset":
        pytest.importorskip("pyarrow")
    mini = open_benchmark("mini")
    export(mini, layout, tmp_path / "mini")
    import_benchmark(tmp_path / "form", tmp_path / "mini")
    form = open_own(tmp_path / "form")
    assert check(tmp_path / "form").problems == ()
    for distractors in (True, False):
        asked = list(form.samples(distractors=distractors))
        assert asked == list(mini.samples(distractors=distractors))
    assert form.protocol.fingerprint == mini.protocol.fingerprint
    for item in mini.items:
        pictures = [b.image_root / item.image_path for b in (mini, form)]
        assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_a_release_with_a_name_that_a_form_cannot_carry(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = tmp_path / "release"
    export(open_own(example), "official", release)
    for path in (release / "benchmark" / "data").glob("*.json"):
        path.write_text(path.read_text().replace("a29_ausweis", "a29 ausweis"))
    assert main(["new", str(tmp_path / "form"), "--from", str(release)]) == 1
    said = capsys.readouterr().err
    assert "a form cannot carry a name or text of it" in said
    assert "'a29 ausweis'" in said
    assert not (tmp_path / "form").exists()


def test_the_words_of_a_release_come_along_where_a_form_has_a_place(
    official_like: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = official_like("--items", "40", "--images", "5", "--release")
    folder, questions = tmp_path / "form", release / "benchmark" / "data" / "questions.json"
    assert main(["new", str(folder), "--from", str(release)]) == 1
    assert "has words of its own, which a form cannot carry" in capsys.readouterr().err
    content = json.loads(questions.read_text())
    for item in content["benchmark_list"]:
        for name in ("label2text", "instruct_templates"):
            item.pop(name, None)
    questions.write_text(json.dumps(content))
    assert main(["new", str(folder), "--from", str(release)]) == 0
    assert "the judge's words and the later turns are the built-in ones" in capsys.readouterr().out
    asked, official = open_own(folder), open_release(release)
    assert list(asked.samples()) == list(official.samples())
    assert asked.protocol.absolute_labels == official.protocol.absolute_labels


@pytest.mark.parametrize("form", ["hf-dataset", "parquet"])
@pytest.mark.parametrize("distractors", [True, False])
def test_a_data_set_there_and_back_asks_the_same(
    example: Path, tmp_path: Path, form: str, distractors: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A data set of one variant brings both back, since it names the distractors of each item."""
    pytest.importorskip("pyarrow")
    own, out, again = open_own(example), tmp_path / "set.parquet", tmp_path / "again"
    assert export(own, form, out, distractors=distractors) == 60
    assert main(["new", str(again), "--from", str(out)]) == 0
    assert capsys.readouterr().out == (
        f"12 items in {again}; 12 pictures written\ncheck: spy-bench new {again} --check\n"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "set.parquet"]
    assert check(again).problems == ()
    back = open_own(again)
    for variant in (True, False):
        assert list(back.samples(distractors=variant)) == list(own.samples(distractors=variant))
    # The name ends with a hash of all prompts, words and pictures.
    assert back.name == own.name == "own:example@a0b2c41d"
    for path in (example / "pictures").iterdir():
        assert (again / "pictures" / path.name).read_bytes() == path.read_bytes()


def test_words_of_ones_own_and_odd_texts_come_back(write: Write, tmp_path: Path) -> None:
    """Instructions, quotes, commas, semicolons, two lines, no role, no distractor, a folder."""
    pytest.importorskip("pyarrow")
    folder = write(
        csv="id,picture,label,question,ground_truth,distractors,scenarios,question_id\n"
        'q.1,a.png,name,"Who, ""she"";\nis it?","Ada; Vale",card=private; name=asked,desk,x\n'
        "q2,sub/b.png,town,Where {to}?,Höllow,none,none,\n"
        "q3,sub/b.png,card,Which?,=1,,,\n"
    )
    form = folder / "benchmark.yaml"
    form.write_text(form.read_text() + 'instructions: {public: "Say {}", private: "Not {}"}\n')
    own = open_own(folder)
    export(own, "hf-dataset", tmp_path / "hf")
    import_benchmark(tmp_path / "again", tmp_path / "hf")
    back = open_own(tmp_path / "again")
    assert list(back.samples()) == list(own.samples())
    assert back.name == own.name
    assert back.protocol == own.protocol


def test_nothing_is_overwritten_by_an_import(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    export(open_own(example), "hf-dataset", tmp_path / "hf")
    again, name = tmp_path / "again", next((example / "pictures").iterdir()).name
    (again / "pictures").mkdir(parents=True)
    (again / "pictures" / name).write_text("mine")
    words = ["new", str(again), "--from", str(tmp_path / "hf")]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert f"{again}/pictures/{name}: already exists. Name another folder, or add --force." in said
    assert (again / "pictures" / name).read_text() == "mine"
    assert [path.name for path in again.iterdir()] == ["pictures"]
    assert main([*words, "--force"]) == 0
    assert check(again).problems == ()


def test_a_broken_picture_of_a_data_set_leaves_nothing_behind(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    folder = write()
    (folder / "photos" / "sub" / "b.png").write_bytes(b"not a picture")
    export(open_own(folder), "hf-dataset", tmp_path / "hf")
    assert main(["new", str(tmp_path / "new" / "again"), "--from", str(tmp_path / "hf")]) == 1
    said = capsys.readouterr().err
    # Nine samples of two other items are before it.
    assert (
        "test-00000.parquet, row 9: the picture 'sub/b.png' does not decode (of no known format). "
        in said
    )
    assert list((tmp_path / "new").iterdir()) == []


def test_items_that_a_form_would_read_in_another_way_are_named(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release, form = tmp_path / "release", tmp_path / "form"
    export(open_own(example), "official", release)
    questions = release / "benchmark" / "data" / "questions.json"
    good = json.loads(questions.read_text())
    for change, expected in (
        (
            {"benchmark_id": "a/b"},
            "item a/b: a form cannot carry it (the id 'a/b' is not 1 to 80 letters",
        ),
        (
            {"question_item": good["benchmark_list"][1]["question_item"] | {"question": "Who? "}},
            "item q0002: a form cannot carry it (a text begins or ends with a blank",
        ),
    ):
        bad = json.loads(json.dumps(good))
        bad["benchmark_list"][1].update(change)
        questions.write_text(json.dumps(bad))
        assert main(["new", str(form), "--from", str(release)]) == 1
        assert expected in capsys.readouterr().err
        assert not form.exists()
    questions.write_text(json.dumps(good))
    picture = next(release.glob("*.png"))
    picture.unlink()
    assert main(["new", str(form), "--from", str(release)]) == 1
    assert f"a form cannot carry it (the picture '{picture.name}' is missing in" in (
        capsys.readouterr().err
    )


def test_a_folder_that_is_neither(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", str(tmp_path / "form"), "--from", str(tmp_path)]) == 1
    assert "neither a folder in the official layout (benchmark/config.py is missing) nor" in (
        capsys.readouterr().err
    )
    assert main(["new", str(tmp_path / "form"), "--from", str(tmp_path / "x.parquet")]) == 1
    assert "x.parquet: does not exist. Check the path." in capsys.readouterr().err
    (tmp_path / "x.parquet").write_text("no table")
    assert main(["new", str(tmp_path / "form"), "--from", str(tmp_path / "x.parquet")]) == 1
    said = capsys.readouterr().err
    if find_spec("pyarrow"):
        assert "x.parquet: is not Parquet, or was cut short (" in said
    else:
        assert "pyarrow is not installed. Install it with: pip install" in said
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_prepared_copy_is_imported_with_its_pictures_elsewhere(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, photos, home = tmp_path / "release", tmp_path / "photos", tmp_path / "home"
    export(open_own(example), "official", release)
    photos.mkdir()
    for picture in release.glob("*.png"):
        picture.rename(photos / picture.name)
    monkeypatch.setenv("SPY_BENCH_HOME", str(home))
    words = ["--release", str(release), "--images", str(photos), "--allow-unpinned"]
    assert main(["data", "prepare", *words]) == 0
    assert main(["new", str(tmp_path / "form"), "--from", str(home / "official")]) == 0
    assert check(tmp_path / "form").problems == ()
    assert list(open_own(tmp_path / "form").samples()) == list(open_own(example).samples())
