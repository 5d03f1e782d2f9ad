"""What a command prints as the next command runs as printed, wherever the files are."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.docs.test_commands import environment

POLICY = "spy-bench generate --backend policy --model spy-literal --mini"


def follow(first: list[str], place: Path) -> list[str]:
    """Run commands, then all that they print as the next one; returns those that were printed."""
    place.mkdir()
    waiting, printed = list(first), list[str]()
    while waiting:
        command = waiting.pop(0)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=place,
            env=environment("http://127.0.0.1:9/v1", place),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        for found in re.findall(r"(spy-bench \S+ .*)$", done.stdout, re.MULTILINE):
            if found not in printed:
                printed.append(found)
                waiting.append(found)
    return printed


def test_what_is_proposed_runs_also_in_a_folder_with_a_blank(tmp_path: Path) -> None:
    where = "'my runs/it''s_answers.jsonl'"
    proposed = follow([f"{POLICY} --out {where}"], tmp_path / "place")
    assert [shlex.split(command)[1] for command in proposed] == ["judge", "score", "report"]


def test_what_is_proposed_after_the_last_shard_merges_them(tmp_path: Path) -> None:
    shards = " && ".join(f"{POLICY} --shard {number}/2" for number in (1, 2))
    (merge,) = follow([shards], tmp_path / "place")
    assert merge == "spy-bench merge outputs/spy-literal_SPYBench_MINI_shard-*-of-2_answers.jsonl"
    assert (tmp_path / "place/outputs/spy-literal_SPYBench_MINI_answers.jsonl").is_file()


@pytest.mark.slow
@needs("vlmeval")
def test_what_is_proposed_after_an_export_judges_in_the_host(tmp_path: Path) -> None:
    proposed = follow([f"{POLICY} --as vlmeval 'my runs'"], tmp_path / "place")
    assert {shlex.split(command)[1] for command in proposed} == {"judge", "score", "report", "run"}
    assert list((tmp_path / "place/my runs").rglob("*_spy_scores.json"))
