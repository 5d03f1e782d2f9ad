"""Commands that read answers or verdicts find the benchmark in the run file beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Answer, dump_jsonl
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.runs.metadata import RunMetadata
from tests.data.conftest import write_release

RUN = "spy-literal_SPYBench_LAB"
ANSWERS = f"outputs/{RUN}_answers.jsonl"
VERDICTS = f"outputs/{RUN}_verdicts.jsonl"


@pytest.fixture
def answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """A folder with the literal policy's answers on the lab's test split."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRED_FORMAT", "json")
    for name in ("JUDGE_MODEL", "JUDGE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    run = "generate --backend policy --model spy-literal --benchmark LAB"
    assert main(run.split()) == 0
    assert f"verdicts: spy-bench judge {ANSWERS}\n" in capsys.readouterr().out
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        f"judge {ANSWERS}",
        f"self-moderate {ANSWERS}",
        f"export-run {ANSWERS} --as vlmeval work",
        f"judge-check {ANSWERS} --judge rules --judge rules",
    ],
)
def test_the_benchmark_of_answers_is_inferred_and_said(
    command: str, answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 0
    said = capsys.readouterr()
    assert f"benchmark: lab, as {RUN}_run.json says\n" in said.err
    assert "benchmark:" not in said.out
    assert main([*command.split()[:2], "--mini", *command.split()[2:]]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "names the benchmark lab, but --mini names mini. Leave out --mini" in error
    assert f"{RUN}_run.json" in error


def test_json_is_all_that_goes_to_standard_output(
    answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"judge-check {ANSWERS} --judge rules --judge rules --json"
    assert main(run.split()) == 0
    assert json.loads(capsys.readouterr().out)["agreement"]["n"] == 600


def test_judging_an_embedded_benchmark_needs_no_option_and_no_key(
    answered: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_MODEL", "another")  # the hosts do not use it here, either
    assert main(["judge", ANSWERS]) == 0
    said = capsys.readouterr()
    assert "judge: rules, the default of lab\n" in said.err
    assert "respond 240, reject 360, unjudged 0" in said.out
    about = RunMetadata.read(Path(f"outputs/{RUN}_spy.json"))
    assert (about.judge.name, about.benchmark) == ("rules", "lab")


@pytest.mark.parametrize(
    "option", ["--base-url http://127.0.0.1:9/v1", "--key-variable K", "--ray local"]
)
def test_a_servers_option_without_a_judge_is_not_ignored(
    option: str, answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", ANSWERS, *option.split()]) == 1
    error = capsys.readouterr().err
    assert f"{option.split()[0]} is given without a judge, and lab is judged by rules" in error
    assert "Add --judge NAME" in error
    assert not Path(VERDICTS).exists()


def test_score_refuses_the_name_of_another_benchmark(
    answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", ANSWERS]) == 0
    assert main(["score", VERDICTS, "--json"]) == 0
    alone = capsys.readouterr().out
    assert main(["score", VERDICTS, "--benchmark", "lab", "--json"]) == 0
    named = capsys.readouterr().out
    assert json.loads(named)["metrics"] == json.loads(alone.splitlines()[-1])["metrics"]
    assert main(["score", VERDICTS, "--mini"]) == 1
    assert "names the benchmark lab, but --mini names mini" in capsys.readouterr().err


def test_answers_of_unknown_origin_need_the_option(
    answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.jsonl").write_bytes(Path(ANSWERS).read_bytes())
    assert main(["judge", "mine.jsonl"]) == 1
    error = capsys.readouterr().err
    assert "mine.jsonl: no run file beside it" in error
    assert "--benchmark NAME|DIR (official, mini, lab," in error
    assert main(["judge", "mine.jsonl", "--benchmark", "lab"]) == 0
    assert main(["judge", "mine.jsonl", "--benchmark", "lba"]) == 1
    assert "Did you mean lab" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(
    answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", "nowhere.jsonl"]) == 1
    assert "nowhere.jsonl: cannot be read (no such file)" in capsys.readouterr().err


def test_data_that_have_no_name_here_need_the_folder(
    answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(f"outputs/{RUN}_run.json")
    content = json.loads(path.read_text()) | {"benchmark": "/etc"}
    path.write_text(json.dumps(content))
    assert main(["judge", ANSWERS]) == 1
    error = capsys.readouterr().err
    assert "names the benchmark '/etc', and none is known by that name here" in error
    assert "Add --benchmark DIR" in error


def test_a_hosts_record_names_the_benchmark_as_well(
    answered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", ANSWERS]) == 0
    Path(f"outputs/{RUN}_run.json").unlink()
    capsys.readouterr()
    assert main(["judge", ANSWERS]) == 0
    assert f"benchmark: lab, as {RUN}_spy.json says" in capsys.readouterr().err


def test_a_release_in_a_folder_stays_in_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SPY_BENCH_RELEASE", raising=False)
    write_release(tmp_path / "r")
    run = "generate --backend policy --model spy-literal"
    answers = "outputs/spy-literal_SPYBench_answers.jsonl"
    for option in ("--benchmark", "--release"):
        assert main([*run.split(), option, "r"]) == 0
        assert f"verdicts: spy-bench judge {answers} {option} r\n" in capsys.readouterr().out
    assert main(["judge", answers, "--judge", "rules", "--benchmark", "r"]) == 0
    assert main(["judge", answers, "--judge", "rules"]) == 1
    error = capsys.readouterr().err
    assert "the official SPY-Bench data are missing" in error
    assert "SPYBench_MINI" in error
    assert "If a release in a folder was answered, add --benchmark DIR." in error


def test_the_official_benchmark_is_judged_by_gpt_4o(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("JUDGE_MODEL", "JUDGE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    release = write_release(tmp_path / "r")
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(release))
    samples = open_benchmark("official").samples()
    path = tmp_path / "a.jsonl"
    path.write_text(dump_jsonl(Answer(s.sample_id, "No.") for s in samples))
    assert main(["judge", str(path), "--benchmark", "official"]) == 1
    assert "no key for the judge gpt-4o-2024-11-20" in capsys.readouterr().err


def test_a_split_that_the_host_lacks_is_refused_before_a_model_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRED_FORMAT", "json")
    run = "generate --backend policy --model spy-oracle --benchmark lab-validation --as vlmeval w"
    assert main(run.split()) == 1
    assert "VLMEvalKit has no data set SPYBench_LAB_VALIDATION" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
