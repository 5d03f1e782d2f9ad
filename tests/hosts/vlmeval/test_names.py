"""Our names and options on VLMEvalKit's command line, checked without starting the host."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.vlmeval import names
from spy_plugin.hosts.vlmeval.keys import hide_keys
from spy_plugin.hosts.vlmeval.previous_runs import resumed_unasked
from spy_plugin.hosts.vlmeval.run import find_host, main, parse, preflight
from tests.conftest import needs


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OPENAI_API_KEY", "SiliconFlow_API_KEY", "OPENAI_API_BASE", "LOCAL_LLM", "BOYUE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_names_that_people_use_become_the_hosts() -> None:
    words = ["--data", "SPYBench", "MMMU", "--model", "Qwen2-VL-7B", "--work-dir", "MMMU"]
    aliases = {"--data": names.dataset, "--model": names.model}
    assert names.rewrite(words, aliases) == [
        *("--data", "SPYBench", "MMMU_DEV_VAL"),
        *("--model", "Qwen2-VL-7B-Instruct", "--work-dir", "MMMU"),
    ]
    assert names.rewrite(["--data=MMMU"], aliases) == ["--data=MMMU_DEV_VAL"]


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ([], "--data"),
        (["--model", "spy-literal"], "--data"),
        (["--data", "SPYBench_MINI"], "--model"),
        (["--data", "SPYBench_MINI", "--base-url", "http://localhost:1/v1"], "--model"),
    ],
)
def test_a_command_line_without_data_or_model_is_refused(
    words: list[str], missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The host would end in a traceback."""
    assert main(words) == 1
    assert f"run.py: error: {missing} is missing." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("hf:org/model-1.5", "org--model-1.5"),
        ("GPT4o_20241120", "GPT4o_20241120"),
        ("something-new", "something-new"),
        ("Mistral Small 3.1 24B Instruct 2503", "Mistral-Small-3.1-24B-Instruct-2503"),
    ],
)
def test_checkpoints_get_names_that_can_stand_in_a_file_name(given: str, name: str) -> None:
    assert names.model(given) == name


def test_folders_get_their_own_name_and_no_two_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / run / "check point" for run in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
    found = [names.model(f"hf:{folder}") for folder in folders]
    assert all(re.fullmatch("check--point-[0-9a-f]{6}", name) for name in found)
    assert len(set(found)) == 2
    assert names.model("hf:a/check point/") == found[0]


@needs("vlmeval")
@pytest.mark.parametrize("name", ["/missing", "./missing", "a/b/c", "empty"])
def test_a_checkpoint_that_cannot_be_one_ends_the_run_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    found = "vlmeval" in sys.modules
    assert main(["--data", "SPYBench_MINI", "--model", f"hf:{name}"]) == 1
    said = "holds no config.json" if name == "empty" else "no such folder"
    assert f"{name}" in (error := capsys.readouterr().err)
    assert said in error
    assert ("vlmeval" in sys.modules) == found  # not even the host was imported


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rulez", "unknown judge 'rulez'. Did you mean rules?"),
        ("gpt4o", "Did you mean gpt-4o"),
        ("gpt-4o", "no key for the judge gpt-4o. Set OPENAI_API_KEY"),
        ("gpt-9", "no key for the judge gpt-9. Set OPENAI_API_KEY"),
        ("deepseek", "Set SiliconFlow_API_KEY"),
    ],
)
def test_a_judge_of_the_host_is_checked_before_a_model_is_loaded(
    name: str, said: str, without_keys: pytest.MonkeyPatch
) -> None:
    words = ["--data", "SPYBench_MINI", "--model", "spy-oracle", "--judge", name]
    with pytest.raises(SpyBenchError, match=re.escape(said)):
        preflight(parse(words)[0])
    preflight(parse([*words, "--mode", "infer"])[0])
    preflight(parse([*words, "--judge-base-url", "http://localhost:1/v1"])[0])
    without_keys.setenv("OPENAI_API_BASE", "http://localhost:1/v1/chat/completions")
    preflight(parse(words)[0])


def test_a_judge_of_the_host_with_its_key_passes(without_keys: pytest.MonkeyPatch) -> None:
    without_keys.setenv("OPENAI_API_KEY", "k")
    preflight(parse(["--data", "SPYBench_MINI", "--judge", "gpt-4o"])[0])
    preflight(parse(["--data", "SPYBench_MINI", "--judge", "llama31-8b"])[0])


def test_an_empty_checkpoint_is_refused() -> None:
    with pytest.raises(SpyBenchError, match="needs a folder or a hub id"):
        names.model("hf:")


def test_keys_leave_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "")  # so that it is restored afterwards
    monkeypatch.setenv("OPENAI_API_KEY", "own")
    assert hide_keys(["--judge-key", "k1", "--verbose"]) == ["--verbose"]
    assert os.environ["JUDGE_API_KEY"] == "k1"
    assert hide_keys(["--judge-key=k2"]) == []
    assert (os.environ["JUDGE_API_KEY"], os.environ["OPENAI_API_KEY"]) == ("k2", "own")
    monkeypatch.setenv("LMDEPLOY_API_KEY", "")
    assert hide_keys(["--key", "k3", "--verbose"]) == ["--verbose"]
    assert os.environ["LMDEPLOY_API_KEY"] == "k3"
    with pytest.raises(SpyBenchError, match="needs a value"):
        hide_keys(["--judge-key"])


@needs("vlmeval")
def test_missing_data_are_one_error_that_says_all(
    capsys: pytest.CaptureFixture[str], private_home: Path
) -> None:
    assert main(["--data", "SPYBench", "--model", "spy-oracle"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in ("data are missing", "SPY_BENCH_RELEASE", str(private_home), "data prepare"):
        assert part in error


@needs("vlmeval")
def test_without_a_key_the_official_set_stops_before_it_starts(
    official_like: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    release = official_like("--items", "3", "--images", "2", "--release")
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(release))
    assert main(["--data", "SPYBench", "--model", "spy-oracle"]) == 1
    error = capsys.readouterr().err
    for choice in ("JUDGE_API_KEY", "JUDGE_BASE_URL", "--judge rules"):
        assert choice in error
    preflight(parse(["--data", "SPYBench", "--judge", "rules"])[0])
    preflight(parse(["--data", "SPYBench", "--mode", "infer"])[0])


def test_a_broken_or_missing_picture_stops_before_it_starts(
    official_like: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = official_like("--items", "3", "--images", "1", "--release")
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(release))
    options, _ = parse(["--data", "SPYBench", "--judge", "rules"])
    picture = next(release.glob("images/*/*.jpg"))
    picture.write_bytes(picture.read_bytes()[:-60])
    with pytest.raises(SpyBenchError, match=r"item 0000000\d: the picture does not decode"):
        preflight(options)
    picture.unlink()
    with pytest.raises(SpyBenchError, match="the picture is missing"):
        preflight(options)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpyBenchError, match="is not a VLMEvalKit checkout"):
        find_host(tmp_path)


def test_a_misspelt_data_set_stops_before_it_starts() -> None:
    with pytest.raises(SpyBenchError, match="Did you mean SPYBench_MINI"):
        preflight(parse(["--data", "SPYBench_MIN", "--model", "spy-oracle"])[0])


@pytest.mark.parametrize(
    "words",
    [
        ["--judge-args", '{"key": "planted", "temperature": 0}'],
        ['--judge-args={"key": "planted", "temperature": 0}'],
        ["--judge-ar", '{"key": "planted", "temperature": 0}'],
    ],
)
def test_a_key_among_the_judges_arguments_leaves_them(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert hide_keys([*words, "--verbose"]) == [
        *("--judge-args", '{"temperature": 0}'),
        "--verbose",
    ]
    assert os.environ["JUDGE_API_KEY"] == "planted"


def test_judge_arguments_without_a_key_stay_and_broken_ones_are_not_shown() -> None:
    assert hide_keys(["--judge-args", '{"seed":1}']) == ["--judge-args", '{"seed":1}']
    with pytest.raises(SpyBenchError, match="--judge-args is not valid JSON") as error:
        hide_keys(["--judge-args", '{"key": "planted"'])
    assert "planted" not in str(error.value)


def test_a_shortened_option_hides_its_key_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "")
    assert hide_keys(["--judge-k", "planted", "--judge", "rules"]) == ["--judge", "rules"]
    assert os.environ["JUDGE_API_KEY"] == "planted"


def interrupted(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spy_plugin.hosts.vlmeval.run._run", stop)
    return main(["--data", "SPYBench_MINI", "--model", "hf:a/b", *words])


def test_an_interrupted_run_is_told_of_reuse_only_where_there_are_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("--work-dir", str(tmp_path))
    assert interrupted(monkeypatch, *words) == 130
    assert "--reuse" not in capsys.readouterr().err
    run = tmp_path / "a--b" / "T20260101-000000"
    run.mkdir(parents=True)
    (run / "01_SPYBench_MINI.pkl").write_bytes(b"")
    assert interrupted(monkeypatch, *words) == 130
    assert "with --reuse to resume" in capsys.readouterr().err


def test_answers_that_the_host_resumes_unasked_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "m_SPYBench_MINI.xlsx").write_bytes(b"")
    (folder / "m_SPYBench.xlsx").symlink_to("m_SPYBench_MINI.xlsx")  # as in a checkout
    data = ["SPYBench", "SPYBench_MINI", "SPYBench_SELF_MOD"]
    assert resumed_unasked(tmp_path, ["m", "n"], data) == [folder / "m_SPYBench_MINI.xlsx"]


def test_an_unknown_option_of_the_judge_stops_before_it_starts() -> None:
    words = ["--data", "SPYBench_MINI", "--judge", "openai:m", "--judge-base-url", "http://x/v1"]
    preflight(parse(words)[0])
    with pytest.raises(SpyBenchError, match="temperature"):
        preflight(parse([*words, "--judge-args", '{"temperature": 0}'])[0])
