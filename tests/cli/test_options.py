"""Options that take numbers have one set of types, ranges and exit codes in every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from spy_plugin.cli import option_types, resampling_options
from spy_plugin.cli.main import COMMANDS, main
from spy_plugin.scoring import stats

SHARED = {
    option_types.non_negative_int: ("0", "-1"),
    option_types.positive_int: ("1", "0"),
    option_types.positive_int_or_auto: ("1", "0"),
    option_types.non_negative_float: ("0", "-0.1"),
    option_types.positive_float: ("0.1", "0"),
    option_types.port: ("0", "-1"),
}
"""Type -> the smallest text that it takes (or one near it), and one that is too small."""

ELSEWHERE = {("train", "--num-processes")}
"""Handed to `accelerate`, which checks it; `trl_ext` imports nothing of `spy_plugin.cli`."""


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"spy-bench {command}")
    import_module(f"spy_plugin.cli.{command.replace('-', '_')}").add_arguments(parser)
    return parser


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option of a parser and of its actions' parsers."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from actions_of(inner)
        else:
            yield action


def number_options() -> Iterator[tuple[str, argparse.Action]]:
    for command in COMMANDS:
        for action in actions_of(parser_of(command)):
            if is_number(action) and (command, action.option_strings[0]) not in ELSEWHERE:
                yield command, action


def is_number(action: argparse.Action) -> bool:
    if isinstance(action.default, int | float) and not isinstance(action.default, bool):
        return True
    if not callable(action.type):
        return False
    try:
        return isinstance(action.type("1"), int | float)
    except (argparse.ArgumentTypeError, ValueError, OSError):
        return False


NUMBERS = [(c, a.option_strings[0], a) for c, a in number_options()]


def test_the_walk_finds_the_number_options() -> None:
    names = {(command, option) for command, option, _ in NUMBERS}
    assert {("score", "--resamples"), ("report", "--resamples"), ("judge", "--price")} <= names
    assert {("generate", "--temperature"), ("lab", "--seeds"), ("judge", "--retries")} <= names


@pytest.mark.parametrize(
    ("command", "option", "action"), NUMBERS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_number_option_uses_a_shared_type(
    command: str, option: str, action: argparse.Action
) -> None:
    assert action.type in SHARED, f"{command} {option} has a type of its own"


@pytest.mark.parametrize("option", ["--resamples", "--seed"])
@pytest.mark.parametrize("words", [["score", "v.jsonl"], ["report", "v.jsonl", "--out", "r"]])
@pytest.mark.parametrize("value", ["-1", "1.5", "many"])
def test_a_number_out_of_range_ends_every_command_alike(
    words: list[str], option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*words, option, value])
    assert stopped.value.code == 2
    assert f"argument {option}: must be " in capsys.readouterr().err


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.__name__)
def test_the_types_take_their_range_and_say_what_it_is(kind: object) -> None:
    assert callable(kind)
    smallest, too_small = SHARED[kind]
    assert kind(smallest) == float(smallest)
    with pytest.raises(argparse.ArgumentTypeError, match=r"^must be >=? [01], not "):
        kind(too_small)
    for text in ("x", "", "nan", "inf"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"^must be a (whole )?number, not "):
            kind(text)


def test_the_default_of_resamples_is_that_of_the_figures() -> None:
    assert resampling_options.RESAMPLES == stats.RESAMPLES


def test_every_option_that_takes_a_file_uses_the_shared_type() -> None:
    files = {
        (command, action.dest): action.type
        for command in COMMANDS
        for action in actions_of(parser_of(command))
        if str(action.metavar).startswith(("FILE", "SHARD")) or action.dest == "answers"
    }
    assert {("generate", "out"), ("judge", "answers"), ("merge", "shards")} <= set(files)
    del files["data", "tune"]  # may be given without a file
    assert [name for name, kind in files.items() if kind is not option_types.file_path] == []


@pytest.mark.parametrize("folder", [".", "..", "/", "", "new/"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_runs(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    policy = ["--backend", "policy", "--model", "spy-literal", "--mini"]
    for words in (["generate", *policy], ["judge", "a.jsonl"], ["self-moderate", "a", *policy]):
        with pytest.raises(SystemExit) as stopped:
            main([*words, "--out", folder])
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert f"argument --out: must be a file, not the folder {folder!r}" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["report", "runs", "--out"], "--out"),
        (["view", "runs", "--static"], "--static"),
        (["lab", "--out"], "--out"),
        (["new", "--example"], "DIR"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_refused_before_anything_runs(
    words: list[str],
    option: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        main([*words, place])
    assert stopped.value.code == 2
    said = f"error: argument {option}: must be a folder, but 'file' is a file\n"
    assert capsys.readouterr().err.endswith(said)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        (option_types.json_object, '{"a": NaN}', "NaN is not a JSON number"),
        (option_types.json_object, '{"a": 1, "a": 2}', "duplicate key 'a'"),
        (option_types.name, " ", "not an empty text"),
        (option_types.file_path, "-", r"\./- is one that is called so"),
    ],
)
def test_texts_that_would_be_taken_for_something_else(
    kind: Callable[[str], object], text: str, problem: str
) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=problem):
        kind(text)


@pytest.mark.parametrize(
    "command",
    [
        ["report", ""],
        ["report", "runs", "--out", ""],
        ["new", "", "--example"],
        ["gate", "runs", "--baseline", ""],
        ["data", "export", "--format", "official", "--out", ""],
        ["export-results", "runs", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "must be a path, not an empty text" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_no_command_takes_a_bare_path_type() -> None:
    bare = [
        (command, action.dest)
        for command in COMMANDS
        for action in actions_of(parser_of(command))
        if action.type is Path
    ]
    assert bare == []


def test_a_comparison_needs_two_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--pictures", "30", "--models", "1"]) == 1
    assert "--models is 1. A comparison needs at least 2." in capsys.readouterr().err
