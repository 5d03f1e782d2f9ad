"""The options that name a benchmark, which several commands share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from spy_plugin.benchmarks import EMBEDDED, open_benchmark
from spy_plugin.cli.benchmark_options import (
    add_benchmark_arguments,
    as_words,
    open_from_arguments,
    words_not_recorded,
)
from spy_plugin.cli.main import main
from spy_plugin.registry.catalog import variants
from spy_plugin.runs.identity import dataset_name


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_benchmark_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_benchmark_goes_by_its_name(name: str) -> None:
    args = parsed(f"--{name}")
    assert open_from_arguments(args).name == name
    assert as_words(args) == [f"--{name}"]


def test_any_benchmark_goes_by_one_option() -> None:
    assert open_from_arguments(parsed("--benchmark", "Mini")).name == "mini"
    assert as_words(parsed("--benchmark", "mini")) == ["--mini"]
    assert as_words(parsed("--benchmark", "some/where")) == ["--benchmark", "some/where"]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--mini",), []),
        (("--benchmark", "Official"), []),
        (("--benchmark", "some/where"), ["--benchmark", "some/where"]),
        (("--release", "there"), ["--release", "there"]),
        (("--questions", "q.json"), ["--questions", "q.json"]),
    ],
)
def test_a_next_command_needs_what_no_run_file_can_name(
    words: tuple[str, ...], kept: list[str]
) -> None:
    assert words_not_recorded(parsed(*words)) == kept


def test_a_release_goes_by_its_folder() -> None:
    args = parsed("--release", "there")
    assert (args.release, args.benchmark) == (Path("there"), None)
    assert as_words(args) == ["--release", "there"]


@pytest.mark.parametrize(
    "words", [(), ("--mini", "--lab"), ("--benchmark", "mini", "--release", "there")]
)
def test_exactly_one_must_be_named(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        parsed(*words)


@pytest.mark.parametrize("words", [("verify", "x.zip"), ("bundle", "x", "--out", "y.zip")])
def test_labels_without_questions_are_refused_not_ignored(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--labels", "label2text.json"]) == 1
    assert "--labels and --images go with --questions" in capsys.readouterr().err


def test_the_labs_samples_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "--lab"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = [sample.sample_id for sample in open_benchmark("lab").samples()]
    assert [row["sample_id"] for row in rows] == expected
    assert len(expected) == 600


def test_runs_are_named_as_the_host_names_their_data_set() -> None:
    for variant in variants():
        found = dataset_name(variant.benchmark, variant.distractors, variant.self_moderation)
        assert found == variant.vlmeval
