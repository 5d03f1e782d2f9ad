"""The command line: its output, its errors, and that it starts without heavy imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from spy_plugin.cli.main import COMMANDS, main
from tests.conftest import GOLDEN


def test_score_prints_the_official_json(capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((GOLDEN / "metrics_expected.json").read_text())["mixed"]
    assert main(["score", str(GOLDEN / "judged_mixed.jsonl.gz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == expected


def test_score_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(GOLDEN / "judged_mixed.jsonl.gz")]) == 0
    out = capsys.readouterr().out
    assert "ics w/o scenario" in out
    assert "27.99" in out
    assert "unjudged 66" in out


def test_samples_prints_protocol_order(
    official_like: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = official_like("--items", "3", "--images", "2", "--release", "--no-images")
    assert main(["samples", "--release", str(folder)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 15
    assert list(rows[0]) == [
        "sample_id",
        "benchmark_id",
        "label",
        "is_privacy",
        "scenario",
        "question_id",
        "image_path",
        "question",
        "prompt",
        "label_words",
        "gt",
    ]
    assert [row["is_privacy"] for row in rows[:5]] == [1, 0, 1, 1, 0]
    assert main(["samples", "--release", str(folder), "--no-distractors"]) == 0
    bare = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all("\n" not in row["prompt"].split("\n\n")[0] for row in bare)


def test_errors_are_one_line_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "no-such-file.jsonl"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("spy-bench: error: no-such-file.jsonl: cannot be read")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["score"], ["score", "f", "--oops"]])
def test_wrong_command_lines_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(f"spy_plugin.cli.{name.replace('-', '_')}")
    assert callable(module.run)
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert name in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom spy_plugin.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'openai', 'pydantic', 'PIL', 'vlmeval', 'lmms_eval'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_core_imports_no_harness_and_no_torch() -> None:
    """Commands other than hosts, generation and training work without their packages."""
    code = (
        "import sys, spy_plugin.benchmark.samples, spy_plugin.scoring.metrics, spy_plugin.judging,"
        " spy_plugin.scoring.verdicts, spy_plugin.benchmarks, spy_plugin.benchmark.policies,"
        " spy_plugin.scoring.stats, spy_plugin.report\n"
        "heavy = {'torch', 'pandas', 'transformers', 'vlmeval', 'lmms_eval', 'trl', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_closed_pipe_is_no_error(official_like: Callable[..., Path]) -> None:
    folder = official_like("--items", "300", "--images", "2", "--release", "--no-images")
    command = f"{sys.executable} -m spy_plugin.cli.main samples --release {folder} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True)
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 1
