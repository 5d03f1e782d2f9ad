"""`spy-bench matrix`: what it runs, what it refuses, what it estimates, and that it resumes."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from spy_plugin.cli import matrix_run
from spy_plugin.cli.main import main
from spy_plugin.cli.matrix_plan import chains, read_matrix
from spy_plugin.cli.matrix_run import Board
from spy_plugin.errors import DataError
from tests.cli.silent_server import SilentServer

POLICIES = {
    "data": {"mini": True},
    "models": [
        {"backend": "policy", "model": "spy-oracle"},
        {"backend": "policy", "model": "spy-literal"},
    ],
    "judge": {"name": "rules"},
    "conditions": ["self-moderation"],
    "limit": 20,
    "parallel": 2,
}


def write(folder: Path, content: dict[str, Any], **more: Any) -> Path:
    path = folder / "m.yaml"
    path.write_text(yaml.safe_dump({"out": str(folder / "out"), **content, **more}))
    return path


def test_a_matrix_ends_in_one_report_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, out = write(tmp_path, POLICIES), tmp_path / "out"
    assert main(["matrix", str(path)]) == 0
    assert (out / "report" / "report.html").is_file()
    assert "6 of 6 steps done" in (out / "progress.txt").read_text()
    answers = sorted(out.glob("*_answers.jsonl"))
    assert [a.name for a in answers] == [
        f"{model}_{condition}_answers.jsonl"
        for model in ("spy-literal", "spy-oracle")
        for condition in ("distractors", "self-moderation")
    ]
    before = {a: a.read_bytes() for a in answers}
    # Cut inside a line, as a killed run leaves it.
    answers[0].write_bytes(before[answers[0]][:-30])
    assert main(["matrix", str(path)]) == 0
    assert {a: a.read_bytes() for a in answers} == before
    verdicts = out / "spy-oracle_self-moderation_verdicts.jsonl"
    lines = verdicts.read_bytes().splitlines(keepends=True)
    assert len(lines) == 860  # those that were not asked come first
    verdicts.write_bytes(b"".join(lines[:-7]))
    capsys.readouterr()
    assert main(["matrix", str(path), "--dry-run"]) == 0
    said = re.findall(r"# (\S+): (\S+) .*?: (\d+) of mini's samples open", capsys.readouterr().out)
    assert [(*words, int(count)) for *words, count in said if count != "0"] == [
        ("spy-oracle", "judge", 7)
    ]
    assert len(said) == 6


def test_a_step_that_fails_ends_its_model_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nobody = {"base_url": "http://127.0.0.1:9/v1", "retries": 0}
    broken = {"backend": "openai", "model": "spy-nobody", "options": nobody}
    models = [broken, {"backend": "policy", "model": "spy-oracle"}]
    path = write(tmp_path, POLICIES, models=models, conditions=["distractors"])
    assert main(["matrix", str(path)]) == 1
    said = capsys.readouterr().out
    assert "failed: spy-nobody: generate (distractors)" in said
    assert (
        "spy-nobody"
        in (tmp_path / "out" / "logs" / "spy-nobody_distractors_answers.log").read_text()
    )
    assert (tmp_path / "out" / "report" / "report.html").is_file()


def test_what_the_report_would_refuse_is_refused_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(tmp_path, POLICIES), tmp_path / "out"
    mine = out / "report" / "samples" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert main(["matrix", str(path)]) == 1
    assert "is not a sample browser" in capsys.readouterr().err
    assert [each for each in out.rglob("*") if each.is_file()] == [mine]
    mine.unlink()
    mine.parent.rmdir()
    mine.parent.parent.rmdir()
    mine.parent.parent.write_text("mine")
    assert main(["matrix", str(path)]) == 1
    assert f"{out / 'report'}" in capsys.readouterr().err
    assert [each for each in out.rglob("*") if each.is_file()] == [out / "report"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"models": [{"backend": "vllm", "model": "no-such-model"}]}, "no model is called"),
        ({"models": [{"backend": "openai", "model": "gpt-4o"}]}, "no key"),
        ({"judge": {"name": "openai:gpt-4o"}}, "no key"),
        ({"judge": {"name": "no-such-judge"}}, "no-such-judge"),
        ({"data": {"benchmark": "no-such-data"}}, "no-such-data"),
        ({"data": {"mini": True}, "limit": 0}, "limit"),
    ],
)
def test_a_refused_matrix_leaves_nothing(
    content: dict[str, Any],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable in ("OPENAI_API_KEY", "JUDGE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    path = write(tmp_path, {**POLICIES, **content})
    assert main(["matrix", str(path)]) == 1
    assert problem in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_matrix_whose_folder_cannot_be_made_is_refused(
    place: str, dry_run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / place
    assert main(["matrix", str(write(tmp_path, POLICIES, out=str(out))), *dry_run]) == 1
    assert capsys.readouterr().err == (
        f"spy-bench: error: {out / 'report'}: must be a folder, but {tmp_path / 'file'} is a file. "
        "Name another folder as `out`.\n"
    )


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("backend", "model", "problem"),
    [
        ("policy", "spy-orcle", "unknown policy 'spy-orcle'. Use one of spy-always-answer, "),
        ("vllm", "Qwen2-VL-7B-Instrct", "no model is called 'Qwen2-VL-7B-Instrct'. Did you mean "),
        ("transformers", "./nowhere", "./nowhere: no such folder, and not a hub id"),
        ("transformers", "gpt-4o", "gpt-4o has no weights to load; its provider serves it."),
    ],
)
def test_a_model_that_is_not_one_is_refused_before_the_first_run(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    model: str,
    problem: str,
    dry_run: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    models = [POLICIES["models"][0], {"backend": backend, "model": model}]
    assert main(["matrix", str(write(tmp_path, POLICIES, models=models)), *dry_run]) == 1
    assert f"error: {problem}" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*_answers.jsonl"))


def test_a_model_without_a_key_is_refused_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    models = [POLICIES["models"][0], {"backend": "openai", "model": "gpt-4o"}]
    path = write(tmp_path, POLICIES, models=models)
    assert main(["matrix", str(path), "--dry-run"]) == 0
    assert main(["matrix", str(path)]) == 1
    assert "there is no key for" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*_answers.jsonl"))


@pytest.mark.parametrize("model", ["spy-tiny-base", "org/model@main", "Qwen2-VL-7B", "./here"])
def test_a_local_model_is_not_loaded_to_know_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").write_text("not even JSON")
    models = [{"backend": "vllm", "model": model}]
    assert main(["matrix", str(write(tmp_path, POLICIES, models=models)), "--dry-run"]) == 0


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_judge_that_is_not_one_is_refused_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dry_run: list[str]
) -> None:
    path = write(tmp_path, POLICIES, judge={"name": "ruls"})
    assert main(["matrix", str(path), *dry_run]) == 1
    assert "no judge is called 'ruls'. Did you mean rules?" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*_answers.jsonl"))


def test_a_judge_without_a_key_is_refused_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "JUDGE_API_KEY", "OPENAI_BASE_URL", "JUDGE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    path = write(tmp_path, POLICIES, judge={"name": "openai:gpt-4o-2024-11-20"})
    assert main(["matrix", str(path), "--dry-run"]) == 0
    assert main(["matrix", str(path)]) == 1
    assert "there is no key for the judge" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*_answers.jsonl"))


def test_a_stopped_matrix_says_what_was_stopped_and_how_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    show = Board.show

    def interrupt(board: Board) -> None:
        show(board)
        if "running" in board.text():
            monkeypatch.setattr(Board, "show", show)
            raise KeyboardInterrupt

    monkeypatch.setattr(Board, "show", interrupt)
    monkeypatch.setattr(matrix_run, "_LOOK_EVERY", 0.1)
    with closing(SilentServer()) as server:  # so that the step cannot end before it is stopped
        waits = {"backend": "openai", "model": "spy-oracle", "options": {"base_url": server.url}}
        models = [waits, POLICIES["models"][1]]
        path = write(tmp_path, POLICIES, models=models, parallel=1)
        assert main(["matrix", str(path)]) == 130
    assert "to resume: run the same command again" in capsys.readouterr().out
    page = (tmp_path / "out" / "progress.txt").read_text()
    assert "0 of 6 steps done" in page
    assert re.search(r"spy-oracle: generate \(distractors\) +stopped", page)
    assert "running" not in page
    assert "failed" not in page


LOCAL = {
    "backend": "vllm",
    "model": "Qwen2-VL-72B-Instruct",
    "options": {"engine_args": {"tensor_parallel_size": 4}, "engines": 2},
}


def test_the_dry_run_says_commands_gpus_hours_and_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = {"name": "openai:gpt-4o-2024-11-20", "options": {"concurrency": 4}}
    path = write(
        tmp_path, POLICIES, models=[LOCAL], judge=judge, conditions=["distractors"], limit=800
    )
    assert main(["matrix", str(path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    # 78 samples/s of 7B on one GPU make 15 of 72B on two engines, each of which loads for 75 s.
    assert "800 of mini's samples open, 8 GPUs, about 0.04 hours" in said
    assert "in all about 0.3 GPU hours" in said
    assert "--ray local --out" in said
    assert "--engines 2" in said
    assert "--judge openai:gpt-4o-2024-11-20 --concurrency 4" in said
    assert "GPU hours and $0.43 for the judge" in said
    assert not (tmp_path / "out").exists()


def test_self_moderation_begins_with_answers_that_are_not_judged(tmp_path: Path) -> None:
    (chain,) = chains(read_matrix(write(tmp_path, POLICIES, models=[LOCAL])))
    assert [step.words[0] for step in chain.steps] == ["generate", "self-moderate", "judge"]
    assert str(chain.steps[0].out) == chain.steps[1].words[1]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"models": []}, "models"),
        ({"modles": []}, "modles: is an unknown key"),
        ({"models": ["spy-oracle"]}, "models.0: must be a mapping of keys to values"),
        ({"conditions": ["nonsense"]}, "conditions"),
        ({"models": [LOCAL, LOCAL]}, "duplicate entry"),
        ({"models": [{**LOCAL, "options": {"enginess": 2}}]}, "--enginess"),
        ({"data": {"huge": True}}, "--huge|required"),
        ({"judge": {"name": "rules", "options": {"concurrency": -1}}}, "must be >= 1"),
        ({"models": [{**LOCAL, "options": {"shard": "1/2"}}]}, "shard is not an option of an"),
        ({"judge": {"name": "rules", "options": {"dry-run": True}}}, "dry-run is not an option"),
        (
            {"models": [{**LOCAL, "options": {"engine_args": {"tensor_parallel_size": "two"}}}]},
            "tensor_parallel_size must be a whole number >= 1, not 'two'",
        ),
        (
            {"models": [LOCAL, {**LOCAL, "model": "Qwen/Qwen2-VL-72B-Instruct"}]},
            "duplicate entry: two would write Qwen2-VL-72B-Instruct_",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_before_anything_runs(
    tmp_path: Path, more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        read_matrix(write(tmp_path, POLICIES, **more))
