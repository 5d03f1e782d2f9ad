"""`spy-bench generate`, `self-moderate` and `merge` by their command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome, Sample
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.judging import load_verdicts
from spy_plugin.models import build
from spy_plugin.models.base import Decoding, ModelSetupError
from spy_plugin.models.fake import FakeModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.runs.metadata import RunMetadata
from tests.conftest import needs
from tests.generation.conftest import STEM, in_a_process, line_count, options
from tests.models.faulty_process import ServerProcess
from tests.models.faulty_server import KEY, FaultyServer, completion


@pytest.fixture(scope="module")
def mini() -> list[Sample]:
    return list(open_benchmark(MINI).samples())


def test_generate_judge_report_show_a_run_of_this_package_alone(
    folder: Path, server: ServerProcess, mini: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(server, "--no-distractors")) == 0
    assert main(options(server)) == 0
    text = capsys.readouterr().out
    assert "answered 60, filtered 0, failed 0 of 860 samples" in text
    answers = folder / f"{STEM}_answers.jsonl"
    assert f"verdicts: spy-bench judge outputs/{answers.name}\n" in text
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 0
    text = capsys.readouterr().out
    assert f"800 samples have no answer in {answers}: they were not asked" in text
    about = RunMetadata.read(folder / f"{STEM}_spy.json")
    assert (about.host, about.model, about.judge.name) == ("spy-bench", "served", "rules")
    assert (about.protocol.name, about.samples) == ("builtin-1", 860)
    assert (about.usage["generate"].requests, about.verdicts) == (60, f"{STEM}_verdicts.jsonl")
    assert main(["report", str(folder), "--out", str(folder / "report")]) == 0
    report = json.loads((folder / "report" / "report.json").read_text())
    (row,) = [row for row in report["rows"] if not row["yardstick"]]
    assert row["model"] == "served"
    assert row["condition"]["protocol"]["name"] == "builtin-1"


def test_a_second_command_asks_only_what_is_missing(
    folder: Path, server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(server)) == 0
    server.command()
    assert main(options(server, limit="90")) == 0
    assert "60 of 90 samples are answered; resuming with 30" in capsys.readouterr().out
    assert len(server.command()) == 30


def test_self_moderation_knows_the_model_and_its_verdicts_are_the_last_turns(
    folder: Path, server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(server)) == 0
    answers, moderated = (folder / f"{STEM}{part}_answers.jsonl" for part in ("", "_SELF_MOD"))
    server.command()
    run = ["self-moderate", str(answers), "--mini", "--base-url", server.url]
    assert main(run) == 0
    assert [len(turns) for turns in server.command()] == [3] * 60 + [5] * 60
    assert "800 samples have no answer in" in capsys.readouterr().out
    found = read_answers(moderated).by_id
    assert all(answer.scored.endswith("in turn 3.") for answer in found.values())
    assert main(run) == 0
    assert server.command() == []
    assert main(["self-moderate", str(moderated), *run[2:]]) == 1
    assert "is self-moderated already" in capsys.readouterr().err
    assert read_answers(moderated).by_id == found
    assert main(["judge", str(moderated), "--mini", "--judge", "rules"]) == 0
    about = RunMetadata.read(folder / f"{STEM}_SELF_MOD_spy.json")
    assert (about.self_moderation, about.dataset) == (True, "SPYBench_MINI_SELF_MOD")
    judged = [v for v in load_verdicts(folder / f"{STEM}_SELF_MOD_verdicts.jsonl") if v.answer]
    assert {v.answer for v in judged} == {answer.scored for answer in found.values()}


def test_self_moderation_by_another_model_is_refused(
    folder: Path, server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(server)) == 0
    run = ["self-moderate", str(folder / f"{STEM}_answers.jsonl"), "--mini"]
    assert main([*run, "--base-url", server.url, "--model", "another"]) == 1
    assert "begun with model served; this run has model another" in capsys.readouterr().err
    assert main([*run, "--base-url", server.url, "--max-tokens", "9"]) == 1
    assert "max_tokens=512" in capsys.readouterr().err


def test_answers_of_unknown_origin_are_moderated_by_the_model_that_is_named(
    folder: Path, server: ServerProcess, mini: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    path = folder / "mine.jsonl"
    path.write_text(json.dumps({"sample_id": mini[0].sample_id, "response": "It is red."}) + "\n")
    run = ["self-moderate", str(path), "--mini", "--base-url", server.url]
    assert main(run) == 1
    assert "Name it with --backend and --model" in capsys.readouterr().err
    assert main([*run, "--backend", "openai", "--model", "served"]) == 0
    (answer,) = read_answers(folder / f"{STEM}_SELF_MOD_answers.jsonl").by_id.values()
    assert (answer.response, len(answer.turns)) == ("It is red.", 2)


def test_two_shards_are_merged_and_judged_as_one(
    folder: Path, server: ServerProcess, mini: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    for shard in ("1/2", "2/2"):
        assert main(options(server, "--shard", shard, limit="9999")) == 0
    parts = sorted(folder.glob("*_shard-*_answers.jsonl"))
    assert len(parts) == 2
    assert main(["merge", *map(str, parts)]) == 0
    assert "860 samples of 2 shards" in capsys.readouterr().out
    merged = folder / f"{STEM}_answers.jsonl"
    assert len(read_answers(merged).by_id) == len(mini)
    server.command()
    assert main(options(server, limit="9999")) == 0
    assert server.command() == []
    assert main(["judge", str(merged), "--mini", "--judge", "rules"]) == 0


@needs("xlsxwriter")
def test_answers_are_handed_to_vlmevalkit(
    folder: Path, server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(server, "--as", "vlmeval", "handed")) == 0
    assert "spy-bench run vlmeval -- --data SPYBench_MINI" in capsys.readouterr().out
    assert list(Path("handed").rglob("status.json"))


def test_what_vlmevalkit_has_no_data_set_for_is_refused_before_the_model_is_asked(
    folder: Path,
    server: ServerProcess,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRED_FORMAT", "json")
    assert main(options(server, "--no-distractors", limit="5")) == 0
    first = folder / f"{STEM}_NO_DISTRACTORS_answers.jsonl"
    run = ["self-moderate", str(first), "--mini", "--base-url", server.url]
    server.command()
    assert main([*run, "--as", "vlmeval", "handed"]) == 1
    problem = "VLMEvalKit has no data set SPYBench_MINI_NO_DISTRACTORS_SELF_MOD"
    assert problem in capsys.readouterr().err
    assert server.command() == []
    assert main(run) == 0
    assert len(server.command()) == 10


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--base-url", "http://127.0.0.1:9/v1", "--retries", "0"], "ConnectError"),
        (["--base-url", "no-address"], "not an http address"),
        (["--base-url", "https://user:secret@example.org/v1"], "user name or password"),
        (["--base-url", "https://models.example.org/v1"], "with --key-variable"),
        (["--shard", "5/2"], "not a shard"),
        (["--engine-args", '{"seed": 1}'], "--engine-args would have no effect"),
        (["--backend", "vllm", "--base-url", "http://x/v1"], "or use --backend openai"),
    ],
)
def test_what_cannot_work_ends_at_once_with_the_remedy(
    more: list[str], problem: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["generate", "--mini", "--backend", "openai", "--model", "served", *more]
    assert main(run) == 1
    text = capsys.readouterr().err
    assert problem in text
    assert "secret" not in text
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [("--temperature", "-1"), ("--temperature", "nan"), ("--timeout", "0")]
)
def test_a_number_that_cannot_be_is_refused(
    wrong: tuple[str, str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["generate", "--mini", "--backend", "openai", "--model", "served", *wrong]
    with pytest.raises(SystemExit):
        main(run)
    assert f"argument {wrong[0]}:" in capsys.readouterr().err


def test_a_refused_key_ends_the_run_and_shows_nowhere(
    folder: Path, server: ServerProcess, tmp_path: Path
) -> None:
    server.command(faults=["leak"], lasting=True, every=2)
    # The server is sent the key because it is the one that OPENAI_BASE_URL names.
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url, "OPENAI_LOG": "debug"}
    process = in_a_process(options(server, "--retries", "0"), environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    found = read_answers(folder / f"{STEM}_answers.jsonl").by_id.values()
    failed = [answer for answer in found if answer.outcome is Outcome.FAILED]
    assert failed
    assert all("***" in answer.error for answer in failed)
    server.command(faults=["no access"], lasting=True)
    process = in_a_process(options(server, "--out", "other.jsonl"), environment)
    more = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "served cannot be asked" in more[1]
    assert "Traceback" not in more[1]
    assert KEY not in "".join([out, err, *more])
    for place in (tmp_path, Path(os.environ["SPY_BENCH_HOME"])):
        for path in place.rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def limited(words: list[str], size: int) -> subprocess.CompletedProcess[str]:
    """Run a command with a limit on file sizes, which acts like a full disk."""
    code = (
        "import resource, sys; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); "
        "from spy_plugin.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("command", ["generate", "self-moderate", "judge"])
def test_a_full_disk_ends_in_one_clear_error_and_keeps_what_was_done(
    command: str, folder: Path, server: ServerProcess, mini: list[Sample]
) -> None:
    pytest.importorskip("resource")
    assert mini  # built before, since it is also a file
    answers = folder / f"{STEM}_answers.jsonl"
    words, out = options(server), answers
    if command == "self-moderate":
        assert main(options(server)) == 0
        words = ["self-moderate", str(answers), "--mini", "--base-url", server.url]
        out = folder / f"{STEM}_SELF_MOD_answers.jsonl"
    if command == "judge":
        assert main(options(server)) == 0
        words = ["judge", str(answers), "--mini", "--judge", "rules"]
        out = folder / f"{STEM}_verdicts.jsonl"
    done = limited(words, 4500)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Make room" in done.stderr
    assert "Traceback" not in done.stderr
    kept = line_count(out)
    assert kept > 5
    assert main(words) == 0
    records = [json.loads(line)["sample_id"] for line in out.read_text().splitlines()]
    assert len(records) == len(set(records)) >= 60


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    folder: Path, server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(options(server, "--out", str(tmp_path / "file" / "a.jsonl"))) == 1
    assert "cannot be written" in capsys.readouterr().err
    if os.geteuid() != 0:  # root can write anywhere
        assert main(options(server)) == 0
        folder.chmod(0o500)
        assert main(options(server, limit="70")) == 1
        assert "make the folder writable" in capsys.readouterr().err
        folder.chmod(0o700)
        assert line_count(folder / f"{STEM}_answers.jsonl") == 60
    assert server.command() is not None


def test_a_name_of_the_registry_becomes_weights_and_engine_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[str, dict[str, Any]]] = []

    class Fake(FakeModel):
        def __init__(self, model: str, decoding: Decoding, **options: Any) -> None:
            super().__init__(model=model)
            made.append((model, options))

    monkeypatch.setattr("spy_plugin.models.vllm_model.VLLMModel", Fake)
    chosen = ModelOptions(engine_args={"max_model_len": 8000, "seed": 1})
    build.build_model("vllm", "Qwen2-VL-7B", chosen)
    ((weights, options),) = made
    assert weights == "Qwen/Qwen2-VL-7B-Instruct"
    assert options["engine_args"]["max_model_len"] == 8000
    assert options["engine_args"]["limit_mm_per_prompt"] == {"image": 1}
    build.build_model("vllm", "my/own-model")
    assert made[-1] == ("my/own-model", {"engine_args": {}})
    build.build_model("vllm", "spy-tiny-base")
    assert (Path(made[-1][0]) / "model.safetensors").is_file()
    with pytest.raises(ModelSetupError, match="--backend openai"):
        build.build_model("vllm", "GPT-4o")


def test_a_providers_model_is_asked_by_its_own_name_with_its_own_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ModelSetupError, match="Set GOOGLE_API_KEY"):
        build.build_model("openai", "Gemini-2.0-Flash")
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    backend = build.build_model("openai", "GPT-4o")
    assert backend.model == "gpt-4o-2024-11-20"
    assert build.model_name("GPT-4o") == "GPT-4o-2024-11-20"


@needs("transformers")
def test_reasoning_models_take_temperature_1_and_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    def of(model: str, **options: Any) -> Decoding:
        return build.build_model("openai", model, ModelOptions(**options)).decoding

    assert of("o4-mini-2025-04-16") == Decoding(1.0, None)
    assert of("gpt-5") == Decoding(1.0, None)
    assert of("GPT-4o") == Decoding(0.0, 512)
    assert of("x", max_tokens=0, seed=3) == Decoding(0.0, None, 3)
    assert build.build_model("transformers", "o4-like").decoding == Decoding(0.0, 512)


@pytest.mark.parametrize(
    "backend", [pytest.param("transformers", marks=needs("transformers")), "policy"]
)
def test_other_backends_answer_resume_and_moderate_alike(
    backend: str, folder: Path, mini: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    name = "spy-oracle" if backend == "policy" else "spy-tiny-random"
    run = ["generate", "--mini", "--backend", backend, "--model", name, "--max-tokens", "4"]
    assert main([*run, "--limit", "6"]) == 0
    assert main([*run, "--limit", "12"]) == 0
    assert "6 of 12 samples are answered; resuming with 6" in capsys.readouterr().out
    answers = folder / f"{name}_SPYBench_MINI_answers.jsonl"
    found = read_answers(answers).by_id
    assert list(found) == [sample.sample_id for sample in mini[:12]]
    assert {answer.outcome for answer in found.values()} == {None}
    about = RunMetadata.read(folder / f"{name}_SPYBench_MINI_run.json")
    # The picture comes first, as in the official scripts for local models.
    assert (about.options["backend"], about.protocol.name) == (backend, "builtin-1")
    assert main(["self-moderate", str(answers), "--mini"]) == 0
    moderated = read_answers(folder / f"{name}_SPYBench_MINI_SELF_MOD_answers.jsonl").by_id
    assert {len(answer.turns) for answer in moderated.values()} == {2}
    assert {i: a.response for i, a in moderated.items()} == {
        i: a.response for i, a in found.items()
    }
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 0
    if backend == "policy":
        verdicts = load_verdicts(folder / f"{name}_SPYBench_MINI_verdicts.jsonl")
        judged = {v.sample_id: v.outcome for v in verdicts if v.sample_id in found}
        oracle = POLICIES["spy-oracle"]
        assert judged == {s.sample_id: oracle(s, BUILTIN.absolute_labels) for s in mini[:12]}


@needs("transformers")
def test_a_batch_that_is_too_large_or_another_placement_is_the_same_run(folder: Path) -> None:
    run = ["generate", "--mini", "--backend", "transformers", "--model", "spy-tiny-random"]
    assert main([*run, "--limit", "3", "--batch-size", "2"]) == 0
    assert (
        main([*run, "--limit", "5", "--batch-size", "4", "--engine-args", '{"device": "cpu"}']) == 0
    )
    assert main([*run, "--limit", "7", "--engine-args", '{"dtype": "float64"}']) == 1


@pytest.mark.parametrize("command", ["generate", "judge"])
def test_openais_key_is_not_sent_to_another_server(command: str, folder: Path) -> None:
    sent: list[str] = []

    class Recording(FaultyServer):
        def handle(self, handler: Any) -> None:
            sent.append(handler.headers["Authorization"])
            super().handle(handler)

    foreign = Recording(lambda *_: completion("respond"))
    try:
        folder.mkdir()
        answers = folder / "a.jsonl"
        answers.write_text('{"sample_id": "00000000/distractors/private", "response": "x"}\n')
        words = {
            "generate": ["generate", "--backend", "openai", "--model", "served", "--limit", "1"],
            "judge": ["judge", str(answers), "--judge", "served", "--no-cache"],
        }[command]
        words += ["--mini", "--base-url", foreign.url]
        environment = {"OPENAI_API_KEY": KEY, "MY_KEY": "mine-0123"}
        process = in_a_process(words, environment)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, sent) == (0, ["Bearer none"]), err
        more = ["--key-variable", "MY_KEY", "--out", str(folder / "again.jsonl")]
        process = in_a_process([*words, *more], environment)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, sent[1:]) == (0, ["Bearer mine-0123"]), err
    finally:
        foreign.close()
