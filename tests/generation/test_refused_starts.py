"""Runs that end before the model has answered anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.cli.main import main
from tests.conftest import needs
from tests.generation.conftest import STEM, options
from tests.models.faulty_process import ServerProcess


@pytest.mark.parametrize(
    "more",
    [
        ["--backend", "transformers", "--model", "nosuch/model"],
        ["--backend", "transformers", "--model", "spy-tiny-random", "--engine-args", '{"no": 1}'],
        ["--backend", "openai", "--model", "m", "--base-url", "http://127.0.0.1:9/v1"],
    ],
    ids=["no such model", "a wrong argument", "no such server"],
)
@needs("transformers")
def test_a_run_that_could_not_start_leaves_nothing(
    more: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [*more, "--retries", "0"]
    assert main(["generate", "--mini", "--limit", "3", *more]) == 1
    assert main(["generate", "--mini", "--limit", "3", "--out", "a/b/c.jsonl", *more]) == 1
    assert list(folder.parent.iterdir()) == []
    policy = ["generate", "--mini", "--limit", "3", "--backend", "policy", "--model", "spy-oracle"]
    assert main([*policy, "--out", "first.jsonl"]) == 0
    before = set(folder.parent.iterdir())
    (folder.parent / "first_run.json").rename(folder.parent / "moved.json")  # another's answers
    assert main(["self-moderate", "first.jsonl", "--mini", "--out", "d/e.jsonl", *more]) == 1
    assert "error" in capsys.readouterr().err
    assert len(list(folder.parent.iterdir())) == len(before)


def test_a_mistyped_address_does_not_stay_with_the_run(folder: Path, server: ServerProcess) -> None:
    wrong = options(server, "--retries", "0")
    wrong[wrong.index("--base-url") + 1] = "http://127.0.0.1:9/v1"
    assert main(wrong) == 1
    assert main(options(server, limit="6")) == 0
    server.command(faults=["no access"], lasting=True)
    assert main(options(server, "--retries", "0", limit="12")) == 1
    answers = read_answers(folder / f"{STEM}_answers.jsonl").by_id.values()
    assert sum(answer.outcome is None for answer in answers) == 6
