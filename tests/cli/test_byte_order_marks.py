"""Text files that an editor has saved with a byte order mark are read as those without."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.cli.main import main
from spy_plugin.models.vllm_engine import _template_text
from spy_plugin.report.readers import read_run
from tests.data.conftest import write_release
from tests.report.made_up import write_lmms_general, write_vlmeval_items


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which a command runs and writes its files."""
    monkeypatch.chdir(tmp_path)


def mark(paths: Iterable[Path]) -> int:
    """Put a mark in front of each of some files; returns how many there are."""
    found = [path for path in paths if path.is_file()]
    for path in found:
        assert not path.read_bytes().startswith(BOM_UTF8)
        path.write_bytes(BOM_UTF8 + path.read_bytes())
    return len(found)


def score(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["score", "a_verdicts.jsonl", "--benchmark", "mini", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_answers_verdicts_and_run_files(capsys: pytest.CaptureFixture[str]) -> None:
    policy = ["--backend", "policy", "--model", "spy-literal", "--mini"]
    generate = ["generate", *policy, "--out", "a_answers.jsonl"]
    judge = ["judge", "a_answers.jsonl", "--judge", "rules", "--out", "a_verdicts.jsonl"]
    assert main(generate) == main(judge) == 0
    figures, verdicts = score(capsys), Path("a_verdicts.jsonl").read_bytes()
    assert mark(Path().glob("a_*.json*")) == 4
    assert score(capsys) == figures
    assert main(generate) == 0  # resumes
    assert "860 of 860 samples are answered; resuming with 0" in capsys.readouterr().out
    Path("a_verdicts.jsonl").unlink()
    assert main(judge) == 0
    assert Path("a_verdicts.jsonl").read_bytes() == verdicts
    mark([Path("a_verdicts.jsonl")])
    assert main(["report", "a_verdicts.jsonl", "--out", "r", "--resamples", "5"]) == 0
    assert "spy-literal" in Path("r/report.md").read_text()


def test_a_release(capsys: pytest.CaptureFixture[str]) -> None:
    release = write_release(Path("release"), items=3)
    words = ["samples", "--release", str(release)]
    assert main(words) == 0
    before = capsys.readouterr().out
    assert before.count("\n") > 3
    texts = [path for path in release.rglob("*") if path.suffix in (".json", ".jsonl", ".py")]
    assert mark(texts) >= 3
    assert main(words) == 0
    assert capsys.readouterr().out == before


def test_results_of_the_hosts(tmp_path: Path) -> None:
    write_vlmeval_items(tmp_path / "v", "m")
    write_lmms_general(tmp_path / "l", "org/model", mmmu=0.3)
    before = read_run(tmp_path)
    assert len(before.general) > 3
    texts = [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".csv", ".tsv")]
    assert mark(texts) > 6
    after = read_run(tmp_path)
    assert not after.broken
    assert [(r.model, r.set, r.score, r.rules) for r in after.general] == [
        (r.model, r.set, r.score, r.rules) for r in before.general
    ]
    for was, now in zip(before.general, after.general, strict=True):
        assert (was.items is None) == (now.items is None), was.set


def test_a_chat_template() -> None:
    Path("t.jinja").write_text("{{ messages }}")
    mark([Path("t.jinja")])
    assert _template_text("t.jinja") == "{{ messages }}"


MATRIX = """\
out: out
data: {mini: true}
models: [{backend: policy, model: spy-oracle}]
judge: {name: rules}
conditions: [distractors]
"""


def test_yaml_files(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.yaml").write_text(MATRIX)
    assert main(["matrix", "m.yaml", "--dry-run"]) == 0
    before = capsys.readouterr().out
    assert "spy-oracle" in before
    mark([Path("m.yaml")])
    assert main(["matrix", "m.yaml", "--dry-run"]) == 0
    assert capsys.readouterr().out == before
