"""The commands with a model in vLLM, from samples to verdicts; a killed run resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.models.base import Conversation

from .conftest import ENGINE_ARGS, TOKENS

if TYPE_CHECKING:
    from spy_plugin.models.vllm_model import VLLMModel

pytestmark = pytest.mark.vllm

SAMPLES = 40
ENDS_WITHIN = 30.0  # seconds
ENGINE = json.dumps(ENGINE_ARGS | {"max_num_seqs": 2})


def spy_bench(*words: str) -> list[str]:
    return [sys.executable, "-m", "spy_plugin.cli", *words]


def run(*words: str) -> str:
    done = subprocess.run(spy_bench(*words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def kill_when(ready: Callable[[int], bool], command: list[str]) -> None:
    """Start a command and kill it at some moment; its child processes end by themselves.

    Args:
        ready: Called repeatedly with the process id of the command.
    """
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None and not ready(process.pid):
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGSTOP)  # nothing changes during the check
        assert others(process.pid)
        process.kill()
        process.wait()
        end = time.monotonic() + ENDS_WITHIN
        while members(process.pid) and time.monotonic() < end:
            time.sleep(0.1)
        assert not members(process.pid), "the engine outlives the command"
    finally:
        for number in members(process.pid):
            os.kill(number, signal.SIGKILL)
        process.wait()


def others(process: int) -> list[int]:
    return [number for number in members(process) if number != process]


def members(group: int) -> list[int]:
    """The ids of the running processes of a process group."""
    done = subprocess.run(
        ["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == group and not row[2].startswith("Z")]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


@pytest.mark.parametrize("engine_runs", [False, True], ids=["at once", "once the engine runs"])
def test_a_run_killed_while_the_model_loads_leaves_nothing_running(
    model: Path, tmp_path: Path, engine_runs: bool
) -> None:
    answers = tmp_path / "x_answers.jsonl"
    engine = ENGINE  # one process beside the command on two cores, otherwise two
    if engine_runs:
        engine = json.dumps(json.loads(ENGINE) | {"distributed_executor_backend": "mp"})
    words = ["--backend", "vllm", "--model", str(model), "--engine-args", engine, "--mini"]
    seen: dict[int, float] = {}

    def ready(process: int) -> bool:
        now = time.monotonic()
        named = [n for n in others(process) if not engine_runs or title(n).startswith("VLLM")]
        # Half a second, because processes younger than a twentieth of a second may be missed.
        return any(now - seen.setdefault(number, now) > 0.5 for number in named)

    kill_when(ready, spy_bench("generate", *words, "--out", str(answers)))
    assert not answers.exists() or not lines(answers)


def title(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except OSError:  # it has ended
        return ""


def test_from_samples_to_verdicts_with_a_kill_in_between(model: Path, tmp_path: Path) -> None:
    answers = tmp_path / "x_answers.jsonl"
    engine = ["--backend", "vllm", "--model", str(model), "--engine-args", ENGINE]
    wanted = ["--mini", "--limit", str(SAMPLES), "--max-tokens", "96"]
    generate = ["generate", *engine, *wanted, "--out", str(answers)]
    kill_when(lambda _: answers.exists() and lines(answers) >= 6, spy_bench(*generate))
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

    options = ["--structured", "choice", "--engine-args", json.dumps(ENGINE_ARGS)]
    judge = ["--judge", f"vllm:{model}", *options]
    verdicts = tmp_path / "x_verdicts.jsonl"
    run("judge", str(answers), "--mini", *judge, "--out", str(verdicts))
    judged = [row for row in rows(verdicts) if row["sample_id"] in found]
    assert len(judged) == SAMPLES
    assert {row["outcome"] for row in judged} <= {"respond", "reject"}


def test_two_shards_are_merged_into_the_answers_of_one_run(
    backend: VLLMModel, model: Path, tmp_path: Path
) -> None:
    engine = ["--backend", "vllm", "--model", str(model), "--engine-args", json.dumps(ENGINE_ARGS)]
    parts = [tmp_path / f"{number}_answers.jsonl" for number in (1, 2)]
    words = ["generate", *engine, "--mini", "--max-tokens", str(TOKENS)]
    running = [
        subprocess.Popen(
            spy_bench(*words, "--shard", f"{number}/2", "--out", str(part)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number, part in enumerate(parts, 1)
    ]
    assert [process.wait() for process in running] == [0, 0]
    merged = tmp_path / "merged_answers.jsonl"
    run("merge", *map(str, parts), "--out", str(merged))

    benchmark = open_benchmark(MINI)
    samples = list(benchmark.samples())
    found = {row["sample_id"]: row["response"] for row in rows(merged)}
    assert set(found) == {sample.sample_id for sample in samples}
    assert len(rows(merged)) == len(samples)
    some = [
        Conversation(sample.sample_id, benchmark.image_file(sample), (sample.prompt,))
        for sample in samples[::10]
    ]
    assert {reply.key: reply.text for reply in backend.ask(some)} == {
        talk.key: found[talk.key] for talk in some
    }
    run("judge", str(merged), "--mini", "--judge", "rules")
