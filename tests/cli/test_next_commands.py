"""The commands that are printed for one's own benchmark in a folder run as printed."""

from __future__ import annotations

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from spy_plugin.benchmarks import open_own
from spy_plugin.cli.main import main
from spy_plugin.own.example import write_example

FOLDER = "my own"
GENERATE = ["generate", "--backend", "policy", "--model", "spy-literal", "--benchmark", FOLDER]
ANSWERS = "outputs/spy-literal_SPYBench_OWN_answers.jsonl"


@pytest.fixture(autouse=True)
def form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example in a folder whose name needs quotes, which no variable names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPY_BENCH_OWN", raising=False)
    write_example(Path(FOLDER))


def printed(text: str, before: str) -> list[str]:
    """The words of a command in what was printed."""
    found = re.search(rf"^{before}: +(.*)$", text, re.MULTILINE)
    assert found, text
    return shlex.split(found[1])


def test_each_command_leads_to_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GENERATE) == 0
    judge = printed(capsys.readouterr().out, "verdicts")
    assert judge == ["spy-bench", "judge", ANSWERS, "--benchmark", FOLDER]
    assert main([*judge[1:], "--judge", "rules"]) == 0
    said = capsys.readouterr().out
    assert main(printed(said, "figures")[1:]) == 0
    assert "privacy" in capsys.readouterr().out.lower()
    assert main(printed(said, "report")[1:]) == 0
    assert json.loads(Path("report/report.json").read_text())["rows"]
    capsys.readouterr()
    assert main(["bundle", "outputs", "--benchmark", FOLDER, "--out", "a b.zip"]) == 0
    verify = printed(capsys.readouterr().out, "check")
    assert verify == ["spy-bench", "verify", "a b.zip", "--benchmark", FOLDER]
    assert main(verify[1:]) == 0


def test_the_moderated_answers_are_judged_with_the_folder_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(GENERATE) == 0
    assert main(["self-moderate", ANSWERS, "--benchmark", FOLDER]) == 0
    moderated = ANSWERS.replace("_answers", "_SELF_MOD_answers")
    judge = printed(capsys.readouterr().out.rpartition("answers:")[2], "verdicts")
    assert judge == ["spy-bench", "judge", moderated, "--benchmark", FOLDER]
    assert main([*judge[1:], "--judge", "rules"]) == 0


def test_a_report_on_answers_alone_says_what_its_command_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(GENERATE) == 0
    name = open_own(Path(FOLDER)).name
    assert main(["report", "outputs"]) == 1
    judge = f"Judge them with: spy-bench judge {ANSWERS}"
    what = "--benchmark DIR (put the folder of {} in place of DIR: no file of the run holds"
    assert f"{judge} {what.format(name)}" in capsys.readouterr().err
    monkeypatch.setenv("SPY_BENCH_OWN", FOLDER)
    assert main(["report", "outputs"]) == 1
    assert f"{judge}. " in capsys.readouterr().err
    assert main(["judge", ANSWERS, "--judge", "rules"]) == 0  # as printed
    capsys.readouterr()
    Path("other").mkdir()
    Path(ANSWERS).rename("other/x_answers.jsonl")
    assert main(["report", "other"]) == 1
    judge = "Judge them with: spy-bench judge other/x_answers.jsonl"
    assert f"{judge} {what.format('what they answer')}" in capsys.readouterr().err


def test_a_report_on_answers_to_an_embedded_benchmark_needs_no_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*GENERATE[:-2], "--mini", "--limit", "1"]) == 0
    assert main(["report", "outputs"]) == 1
    answers = "outputs/spy-literal_SPYBench_MINI_answers.jsonl"
    assert f"Judge them with: spy-bench judge {answers}. " in capsys.readouterr().err


@pytest.mark.skipif(find_spec("xlsxwriter") is None, reason="needs xlsxwriter")
def test_the_hosts_command_names_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*GENERATE, "--as", "vlmeval", "work"]) == 0
    command = printed(capsys.readouterr().out, "judge with")
    assert command[:6] == ["SPY_BENCH_OWN=my own", "spy-bench", "run", "vlmeval", "--", "--data"]
