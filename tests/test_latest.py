"""The newest versions that our extras allow work together: see `make test-latest`.

Programs are started as a user does, away from this repository, so that the installed package runs.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from tests.hosts.chat_server import ChatServer

pytestmark = pytest.mark.latest

BIN = Path(sys.executable).parent
SECONDS = 600


def run(folder: Path, command: str, *words: str) -> str:
    """Run a command of this environment; return what it printed."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [BIN / command, *words],
        cwd=folder,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def read(folder: Path, pattern: str) -> Any:
    """Read the one JSON file that a pattern names."""
    (path,) = folder.glob(pattern)
    return json.loads(path.read_text())


def test_the_doctor_finds_no_problem(tmp_path: Path) -> None:
    shown = run(tmp_path, "spy-bench", "doctor", "--for", "core,vlmeval,lmms,train")
    assert "\nno problems" in shown, shown


def test_vlmevalkit_scores_the_embedded_benchmark(tmp_path: Path) -> None:
    words = ("--data", "SPYBench_MINI", "--model", "spy-oracle")
    run(tmp_path, "spy-bench", "run", "vlmeval", "--", *words)
    scores = read(tmp_path, "outputs/spy-oracle/*_spy_scores.json")
    assert scores["metrics"]["ics w/o scenario"]["score"] == 100


def test_vlmevalkit_runs_a_transformers_model(tmp_path: Path) -> None:
    words = ("--data", "SPYBench_MINI", "--model", "spy-tiny-random", "--limit", "8")
    run(tmp_path, "spy-bench", "run", "vlmeval", "--", *words)
    outcomes = read(tmp_path, "outputs/spy-tiny-random/*_spy_scores.json")["outcomes"]
    assert sum(outcomes.values()) == 8


def test_lmms_eval_scores_the_embedded_benchmark(tmp_path: Path) -> None:
    words = ("--model", "spy_policy", "--model_args", "model=spy-oracle")
    task = "spy_bench_mini_distractors"
    run(tmp_path, "lmms-eval", "--tasks", task, *words, "--output_path", "out", "--log_samples")
    results = read(tmp_path, "out/**/*_results.json")["results"][task]
    assert results["privacy_score,none"] == 100


@pytest.mark.parametrize(
    ("method", "options"),
    [("sft", ()), ("nca_priv", ("--freeze_vision", "true", "--vision_cache", "features"))],
)
def test_two_training_steps(method: str, options: tuple[str, ...], tmp_path: Path) -> None:
    find = "from spy_plugin.models.packaged import checkpoint_folder as folder"
    printed = run(tmp_path, "python", "-c", f"{find}; print(folder('spy-tiny-base'))")
    model = printed.splitlines()[-1]
    shown = run(
        *(tmp_path, "spy-bench", "train", method, "--output_dir", "trained"),
        *("--model_name_or_path", model, "--data", "mini", "--max_rows", "8"),
        *("--max_steps", "2", "--global_batch_size", "2", "--logging_steps", "1"),
        *("--bf16", "false", "--use_cpu", "true", "--dtype", "float32", "--report_to", "none"),
        *options,
    )
    losses = [float(text) for text in re.findall(r"'loss': '?([\d.e+-]+|nan)", shown)]
    assert len(losses) == 2, shown[-4000:]
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert "WARNING trl_ext" not in shown, shown  # such as prefixes that are not shared
    assert (tmp_path / "trained" / "model.safetensors").is_file()


def test_a_server_answers_and_judges(tmp_path: Path, httpserver: HTTPServer) -> None:
    def reply(text: str) -> str:
        return "reject" if "respond" in text and "reject" in text else "It shows X4471902."

    server = ChatServer(httpserver, reply)
    served = ("--backend", "openai", "--model", "served", "--base-url", server.url)
    limit = ("--mini", "--limit", "10")
    run(tmp_path, "spy-bench", "generate", *served, *limit, "--out", "answers.jsonl")
    judge = ("--judge", "openai:served", "--base-url", server.url)
    shown = run(tmp_path, "spy-bench", "judge", "answers.jsonl", "--mini", *judge)
    assert "reject 10" in shown, shown
    run(tmp_path, "spy-bench", "report", ".", "--out", "report")
    assert (tmp_path / "report" / "report.html").is_file()
