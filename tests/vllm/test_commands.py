"""The commands with a model in vLLM, from samples to verdicts; a killed run is gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import ENGINE_ARGS

pytestmark = pytest.mark.vllm

SAMPLES = 40
ENGINE = json.dumps(ENGINE_ARGS | {"max_num_seqs": 2})


def spy_bench(*words: str) -> list[str]:
    return [sys.executable, "-m", "spy_plugin.cli", *words]


def run(*words: str) -> str:
    done = subprocess.run(spy_bench(*words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def kill_after(lines: int, command: list[str], out: Path) -> None:
    """Start a command in a session of its own and kill it, and all it started, mid-way."""
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None and (
            not out.exists() or out.read_bytes().count(b"\n") < lines
        ):
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_from_samples_to_verdicts_with_a_kill_in_between(model: Path, tmp_path: Path) -> None:
    answers = tmp_path / "x_answers.jsonl"
    engine = ["--backend", "vllm", "--model", str(model), "--engine-args", ENGINE]
    wanted = ["--mini", "--limit", str(SAMPLES), "--max-tokens", "64"]
    generate = ["generate", *engine, *wanted, "--out", str(answers)]
    kill_after(6, spy_bench(*generate), answers)
    whole, _, _ = answers.read_text().rpartition("\n")
    earlier = [json.loads(line) for line in whole.splitlines()][:-1]
    assert len(earlier) < SAMPLES - 5
    answers.write_text(whole[:-9])  # the last line is torn

    said = run(*generate)
    found = {row["sample_id"]: row for row in rows(answers)}
    assert len(found) == len(rows(answers)) == SAMPLES
    assert str(answers) in said
    assert all(found[row["sample_id"]] == row for row in earlier)
    assert all(row["outcome"] is None and row["output_tokens"] for row in found.values())
    before = rows(answers)
    run(*generate)
    assert rows(answers) == before

    moderated = tmp_path / "moderated_answers.jsonl"
    run("self-moderate", str(answers), "--mini", *engine, "--out", str(moderated))
    turns = {row["sample_id"]: row["turns"] for row in rows(moderated)}
    assert set(turns) == set(found)
    assert all(len(later) == 2 and all(later) for later in turns.values())

    options = json.dumps(ENGINE_ARGS | {"structured": "choice"})
    judge = ["--judge", f"vllm:{model}", "--judge-options", options]
    verdicts = tmp_path / "x_verdicts.jsonl"
    run("judge", str(answers), "--mini", *judge, "--out", str(verdicts))
    judged = [row for row in rows(verdicts) if row["sample_id"] in found]
    assert len(judged) == SAMPLES
    assert {row["outcome"] for row in judged} <= {"respond", "reject"}
