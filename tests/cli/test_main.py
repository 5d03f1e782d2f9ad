"""The command line: its output, its errors, and that it starts without heavy imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Answer, Outcome, dump_jsonl, verdict_of
from spy_plugin.benchmarks import open_benchmark
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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with answers and verdicts on the embedded benchmark, and a file called `taken`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRED_FORMAT", "json")  # needs no package
    samples = list(open_benchmark("mini").samples())
    Path("a_answers.jsonl").write_text(dump_jsonl([Answer(s.sample_id, "No.") for s in samples]))
    Path("a_verdicts.jsonl").write_text(
        dump_jsonl([verdict_of(s, Outcome.REJECT) for s in samples])
    )
    Path("taken").write_text("keep me")
    return tmp_path


POLICY = "--backend policy --model spy-oracle --mini --limit 2"
WRITING = [
    f"generate {POLICY} --out OUT",
    f"generate {POLICY} --out b_answers.jsonl --as vlmeval OUT",
    "self-moderate a_answers.jsonl --backend policy --model spy-oracle --mini --out OUT",
    "judge a_answers.jsonl --mini --judge rules --out OUT",
    "judge a_answers.jsonl --mini --judge openai:j --judge-base-url http://127.0.0.1:9/v1 "
    "--out v.jsonl --cache OUT",
    "report a_verdicts.jsonl --resamples 5 --out OUT",
    "export-run a_answers.jsonl --mini --as vlmeval OUT",
    "data export --benchmark mini --format jsonl --out OUT",
    "data export --benchmark mini --format vlmeval-tsv --out OUT",
]


def ended(words: list[str]) -> int | str | None:
    """The exit code of a command."""
    try:
        return main(words)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("out", ["taken/below", "/proc/none/x", "x" * 300])
@pytest.mark.parametrize("command", WRITING)
def test_a_place_that_cannot_be_written_is_one_line(
    command: str, out: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = ended(command.replace("OUT", out).split())
    err = capsys.readouterr().err.strip().splitlines()[-1]
    program = command.split()[0] if code == 2 else ""  # an option's value is wrong as it stands
    assert err.startswith(f"spy-bench {program}".strip() + ": error: ")
    assert out.removesuffix("/below").removesuffix("/x") in err
    assert "kept" not in err
    assert (place / "taken").read_text() == "keep me"


@pytest.mark.parametrize(
    "command",
    [
        "judge FILE --mini --judge rules",
        "score FILE",
        "report FILE --out r",
        "judge-check --judge rules --gold FILE",
        "self-moderate FILE --backend policy --model spy-oracle --mini",
        "export-run FILE --mini --as vlmeval w",
    ],
)
@pytest.mark.parametrize(
    "content", [b"\0" * 99 + b"\n", b"\xff\xfe\n", b"[1]\n", b"[" * 50_000 + b"\n", b"", None]
)
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(
    command: str, content: bytes | None, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        (place / "x.jsonl").symlink_to("x.jsonl")
    else:
        (place / "x.jsonl").write_bytes(content)
    assert main(command.replace("FILE", "x.jsonl").split()) == 1
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("spy-bench: error: x.jsonl")
    if content:
        assert "line 1: " in err


@pytest.mark.parametrize("content", ["", '{"schema": 1, "ho', "\0\0", "[" * 50_000, "[]", "{}"])
@pytest.mark.parametrize(
    "command",
    [
        "judge a_answers.jsonl --mini --judge rules",
        f"generate {POLICY} --out a_answers.jsonl",
        "merge a_answers.jsonl",
    ],
)
def test_a_torn_run_file_is_named_with_its_remedy(
    command: str, content: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "a_run.json").write_text(content)
    before = (place / "a_answers.jsonl").read_bytes()
    assert main(command.split()) == 1
    err = capsys.readouterr().err
    assert err.startswith("spy-bench: error: a_run.json: ")
    assert "move it away to judge the answers without it" in err
    assert (place / "a_answers.jsonl").read_bytes() == before


def test_of_torn_answers_only_the_torn_one_counts_as_not_asked(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place / "a_answers.jsonl"
    text = path.read_text().replace("No.", "\u6211\u4e0d\u60f3\u8bf4\u3002 I would rather not say.")
    data = text.encode()
    path.write_bytes(data[: data.rindex("\u60f3".encode()) + 1])  # inside a character
    assert main(["judge", "a_answers.jsonl", "--mini", "--judge", "rules", "--out", "v.jsonl"]) == 0
    assert "reject 859, unjudged 0, filtered 0, failed 0, not asked 1 of 860" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("home", ["~no-such-user/x", "/proc/none", "taken"])
def test_a_home_that_cannot_be_used_is_one_line(
    home: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY_BENCH_HOME", home)
    assert main(["generate", *POLICY.split()]) == 1
    err = capsys.readouterr().err.strip().splitlines()
    assert err[-1].startswith("spy-bench: error: ")
    assert "SPY_BENCH_HOME" in err[-1]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it takes no files")
@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (
            "data export --benchmark mini --format jsonl --out taken/below",
            "taken: a part of this path is a file, not a folder",
        ),
        ("report a_verdicts.jsonl --out /proc/x", "/proc/x: No such file or directory"),
        ("view a_verdicts.jsonl --static /proc/x", "/proc/x: No such file or directory"),
        ("matrix nope.yaml", "nope.yaml: No such file or directory"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_as_it_was_given(
    command: str, problem: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another cache folder would not help."""
    assert main(command.split()) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    remedy = "Check the path, its permissions and the room on its disk."
    assert line == f"spy-bench: error: {problem}. {remedy}"


@pytest.mark.skipif(os.name == "nt", reason="locales as POSIX has them")
def test_any_text_is_printed_in_any_locale_and_bytes_that_are_no_text_are_refused() -> None:
    plain = {"LC_ALL": "C"} | {f"PYTHON{x}": "0" for x in ("UTF8", "COERCECLOCALE")}
    plain["PYTHONIOENCODING"] = ""  # as if unset: tox sets it
    code = "from spy_plugin.cli import main; main._prepare_output(); print(chr(0x8b77))"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=os.environ | plain, capture_output=True, check=True)
    assert done.stdout == b"\\u8b77\n"
    command = [sys.executable, "-m", "spy_plugin.cli", "score", b"\xc3\xa4.jsonl"]
    done = subprocess.run(command, env=os.environ | plain, capture_output=True)
    assert done.returncode == 1
    assert b"PYTHONUTF8=1" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["score"], ["score", "f", "--oops"]])
def test_wrong_command_lines_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_no_command_lists_all_and_a_first_result_that_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in COMMANDS)
    commands = [line.split() for line in said.splitlines() if line.startswith("  spy-bench ")]
    assert [words[1] for words in commands] == ["generate", "judge", "report"]
    assert [main(words[1:]) for words in commands] == [0, 0, 0]
    rows = json.loads(Path("report/report.json").read_text())["rows"]
    assert {row["model"] for row in rows} >= {"spy-literal", "spy-oracle"}


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


@pytest.mark.parametrize(("words", "code"), [("--help", 0), ("models --help", 0), ("x", 2)])
def test_a_help_text_that_nobody_reads_is_no_error(words: str, code: int) -> None:
    """argparse leaves its text in the buffer, which Python writes out after `main` has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "spy_plugin.cli.main", *words.split()],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    os.close(writer)
    assert done.returncode == code
    assert "BrokenPipeError" not in done.stderr


def test_closed_streams_stop_no_command(tmp_path: Path) -> None:
    """Cron jobs and daemons may start a command without standard output and standard error."""
    answers = tmp_path / "answers.jsonl"
    words = f"generate --backend policy --model spy-literal --mini --limit 3 --out {answers}"
    command = f"exec {sys.executable} -m spy_plugin.cli.main {words} >&- 2>&-"
    assert subprocess.run(["bash", "-c", command]).returncode == 0
    assert len(answers.read_text().splitlines()) == 3


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_place_of_a_folder_is_called_one(
    below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    out = tmp_path / "taken" / below
    assert ended(["new", str(out), "--example"]) == 2
    assert f"must be a folder, but '{tmp_path / 'taken'}' is a file" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"
