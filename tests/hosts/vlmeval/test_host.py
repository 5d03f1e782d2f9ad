"""The real VLMEvalKit, in its own process, scores our data sets beside its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.records import verdict_of
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.judging import load_verdicts
from spy_plugin.registry.catalog import variants
from spy_plugin.runs.metadata import RunMetadata
from spy_plugin.scoring.metrics import compute, general_score, overall_score
from spy_plugin.scoring.table import tabulate
from tests.conftest import needs
from tests.hosts.chat_server import ChatServer, Troubled
from tests.hosts.general_tables import (
    MME_PERCEPTION,
    MME_REASONING,
    MMMU_VALIDATION,
    OCRBENCH_NORM,
    general_answer,
    write_tables,
)
from tests.hosts.vlmeval.hosting import one, run_host, scores
from tests.own.conftest import example

__all__ = ["example"]

OFFLINE_RUN = Path(__file__).with_name("offline_run.py")


DATA = ("SPYBench_MINI", "SPYBench_MINI_NO_DISTRACTORS", "SPYBench_LAB")


@pytest.fixture(scope="module")
def mini_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """All reference policies on the embedded benchmarks, and the tiny model on one."""
    folder = tmp_path_factory.mktemp("mini")
    first, *others = DATA
    more = run_host("--data", *others, "--model", *POLICIES, cwd=folder)
    assert more.returncode == 0, more.stderr[-3000:]
    models = (*POLICIES, "spy-tiny-random")
    done = run_host("--data", first, "--model", *models, cwd=folder, fresh=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout + done.stderr


@pytest.mark.parametrize("dataset", DATA)
@pytest.mark.parametrize("policy", POLICIES)
def test_policies_score_what_was_known_beforehand(
    policy: str, dataset: str, mini_run: tuple[Path, str]
) -> None:
    (variant,) = (each for each in variants() if each.vlmeval == dataset)
    benchmark = open_benchmark(variant.benchmark)
    absolute = benchmark.protocol.absolute_labels
    expected = compute(
        tabulate(
            verdict_of(sample, POLICIES[policy](sample, absolute))
            for sample in benchmark.samples(distractors=variant.distractors)
        )
    )
    assert scores(mini_run[0], policy, dataset) == expected


def test_a_local_model_goes_the_whole_way(mini_run: tuple[Path, str]) -> None:
    figures = scores(mini_run[0], "spy-tiny-random", "SPYBench_MINI")
    total = len(list(open_benchmark("mini").samples()))
    assert sum(figures["outcomes"].values()) == total
    assert figures["outcomes"]["failed"] == 0


def test_the_same_command_again_changes_no_answer(mini_run: tuple[Path, str]) -> None:
    """The tiny model's answers are difficult for a spreadsheet: empty, or full of symbols."""
    folder, _ = mini_run
    before = scores(folder, "spy-tiny-random", "SPYBench_MINI")
    stem = "outputs/spy-tiny-random/spy-tiny-random_SPYBench_MINI"
    verdicts = one(folder, f"{stem}_rules-*_verdicts.jsonl")
    lines = verdicts.read_text()
    words = ("--data", "SPYBench_MINI", "--model", "spy-tiny-random")
    for more in ((), ("--reuse",)):
        done = run_host(*words, *more, cwd=folder)
        assert done.returncode == 0, done.stderr[-3000:]
        # Only if the host's own log says otherwise.
        assert ("are used again, although the log" in done.stdout) == (not more)
    assert scores(folder, "spy-tiny-random", "SPYBench_MINI") == before
    assert verdicts.read_text() == lines


def test_every_output_names_its_judge(mini_run: tuple[Path, str]) -> None:
    folder, output = mini_run
    stem = "outputs/spy-oracle/spy-oracle_SPYBench_MINI_rules-*"
    metadata = RunMetadata.read(one(folder, f"{stem}_spy.json"))
    assert (metadata.judge.name, metadata.judge.offline) == ("rules", True)
    verdicts = load_verdicts(one(folder, f"{stem}_verdicts.jsonl"))
    assert {verdict.judge for verdict in verdicts} == {"rules"}
    assert "judged by rules" in output


def test_the_record_holds_the_settings_that_the_model_decoded_with(
    mini_run: tuple[Path, str], general_run: tuple[Path, str]
) -> None:
    tiny = "outputs/spy-tiny-random/spy-tiny-random_SPYBench_MINI_rules-*_spy.json"
    run = RunMetadata.read(one(mini_run[0], tiny))
    assert run.options["decoding"] == {"do_sample": False, "max_new_tokens": 512}
    served = one(
        general_run[0], "outputs/served/served_SPYBench_MINI_NO_DISTRACTORS_rules-*_spy.json"
    )
    decoding = RunMetadata.read(served).options["decoding"]
    assert decoding["temperature"] == 0
    assert decoding["max_tokens"] >= 512


def test_the_run_ends_with_one_table_and_the_files(mini_run: tuple[Path, str]) -> None:
    folder, output = mini_run
    lines = output.splitlines()
    for model in (*POLICIES, "spy-tiny-random"):
        assert any(line.startswith(model) and "SPYBench_MINI" in line for line in lines)
    assert "Run Summary Report" in output
    assert (folder / "outputs" / "spy_report" / "report.html").is_file()


class Model:
    """Answers as `spy-literal` does, and the general questions as the tables expect."""

    def __call__(self, text: str) -> str:
        general = general_answer(text)
        if general is not None:
            return general
        lines = text.split("\n\n")[0]
        return "I'm sorry, I can't share that." if "confidential" in lines else "It shows a cat."


@pytest.fixture(scope="module")
def server_module() -> Any:
    with HTTPServer(host="127.0.0.1") as server:
        yield server


@pytest.fixture(scope="module")
def general_server(server_module: HTTPServer) -> ChatServer:
    return ChatServer(server_module, Model())


@pytest.fixture(scope="module")
def general_run(
    general_server: ChatServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A served model on SPY-Bench and on the three general sets, scored by the host's classes."""
    folder = tmp_path_factory.mktemp("general")
    server = general_server
    done = run_host(
        *("--data", "SPYBench_MINI_NO_DISTRACTORS", "MMMU", "OCRBench", "MME"),
        *("--model", "served", "--base-url", server.url, "--judge", "exact_matching"),
        *("--api-nproc", "8", "--key", "planted-model-key"),
        cwd=folder,
        script=OFFLINE_RUN,
        LMUData=str(write_tables(folder / "LMUData")),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout + done.stderr


def test_the_hosts_summary_has_the_combined_scores(general_run: tuple[Path, str]) -> None:
    folder, output = general_run
    block = scores(folder, "served", "SPYBench_MINI_NO_DISTRACTORS")["metrics"]
    privacy = (block["ics w/o scenario"]["score"] + block["hms"]) / 2
    general = general_score(MMMU_VALIDATION, OCRBENCH_NORM, MME_PERCEPTION + MME_REASONING)
    overall = overall_score(privacy, general["score"])
    summary = output[output.rindex("Run Summary Report") :]
    for name, value in {
        "Privacy Score": privacy,
        "ICS": block["ics w/o scenario"]["score"],
        "HMS": block["hms"],
        "General": general["score"],
        "Overall": overall,
    }.items():
        row = next(line for line in summary.splitlines() if f" {name} " in line)
        assert f"{value:.4g}" in row.split(), row


@pytest.fixture(scope="module")
def judged_run(
    server_module: HTTPServer,
    official_like: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, ChatServer, Troubled, str, dict[str, str]]:
    """Official-like data, judged over HTTP by a server that fails often."""
    folder = tmp_path_factory.mktemp("judged")
    release = official_like("--items", "12", "--images", "4", "--release")
    trouble = Troubled(lambda text: "respond" if "It shows" in text else "reject")
    server_module.clear()
    server = ChatServer(server_module, trouble)
    environment = {"SPY_BENCH_RELEASE": str(release), "SPY_BENCH_HOME": str(folder / "home")}
    done = run_host(
        *("--data", "SPYBench", "SPYBench_NO_DISTRACTORS", "--model", "spy-literal"),
        *("--judge", "openai:judge-model", "--judge-base-url", server.url, "--api-nproc", "8"),
        *("--judge-args", '{"key": "planted-secret-key"}'),
        cwd=folder,
        **environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, server, trouble, done.stdout + done.stderr, environment


def test_a_failing_judge_loses_nothing(
    judged_run: tuple[Path, ChatServer, Troubled, str, dict[str, str]],
) -> None:
    folder, _, trouble, _, _ = judged_run
    assert set(trouble.troubles) == {"429", "500", "slow", "garbage"}
    for dataset in ("SPYBench", "SPYBench_NO_DISTRACTORS"):
        outcomes = scores(folder, "spy-literal", dataset)["outcomes"]
        assert sum(outcomes.values()) == 60
        assert outcomes["failed"] == 0
        assert outcomes["respond"] > 0
        assert outcomes["reject"] > 0


def refuse_key(key: str, folder: Path, output: str) -> None:
    assert key not in output
    for path in folder.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


def test_the_models_key_reaches_no_file_and_no_log(general_run: tuple[Path, str]) -> None:
    refuse_key("planted-model-key", *general_run)


def test_the_judges_key_reaches_no_file_and_no_log(
    judged_run: tuple[Path, ChatServer, Troubled, str, dict[str, str]],
) -> None:
    folder, server, _, output, _ = judged_run
    assert server.headers[0]["Authorization"] == "Bearer planted-secret-key"
    refuse_key("planted-secret-key", folder, output)


def test_a_second_run_asks_only_what_is_missing(
    judged_run: tuple[Path, ChatServer, Troubled, str, dict[str, str]],
) -> None:
    folder, server, _, _, environment = judged_run
    before = scores(folder, "spy-literal", "SPYBench")
    path = one(folder, "outputs/spy-literal/spy-literal_SPYBench_openai-*_verdicts.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    # The state after a killed run: ten verdicts are missing, one line is torn.
    path.write_text("".join(lines[:50]) + lines[50][:30])
    asked = len(server.asked)
    done = run_host(
        *("--data", "SPYBench", "--model", "spy-literal", "--reuse"),
        *("--judge", "openai:judge-model", "--judge-base-url", server.url),
        cwd=folder,
        JUDGE_API_KEY="planted-secret-key",
        **environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert scores(folder, "spy-literal", "SPYBench") == before
    assert len(server.asked) == asked  # questions from before the kill are in the cache


@needs("vlmeval")
def test_the_hosts_own_judge_can_be_used_and_another_beside_it(
    server_module: HTTPServer, official_like: Callable[..., Path], tmp_path: Path
) -> None:
    release = official_like("--items", "4", "--images", "2", "--release")
    server_module.clear()
    server = ChatServer(server_module, lambda text: "respond" if "It shows" in text else "reject")
    environment = {
        "OPENAI_API_KEY": "sk-planted",
        "SPY_BENCH_RELEASE": str(release),
        "SPY_BENCH_HOME": str(tmp_path / "home"),
    }
    # An upstream checkout: run.py beside the package.
    checkout = tmp_path / "VLMEvalKit"
    checkout.mkdir()
    spec = importlib.util.find_spec("vlmeval")
    assert spec is not None
    assert spec.origin is not None
    (checkout / "vlmeval").symlink_to(Path(spec.origin).parent)
    (checkout / "run.py").write_text(
        "from vlmeval.run import load_env, main\n\nif __name__ == '__main__':\n"
        "    load_env()\n    main()\n"
    )
    done = run_host(
        *("--data", "SPYBench_NO_DISTRACTORS", "--model", "spy-oracle", "--judge", "gpt-4o-mini"),
        *("--judge-base-url", server.url, "--vlmevalkit", str(checkout)),
        cwd=tmp_path,
        fresh=True,
        **environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = scores(tmp_path, "spy-oracle", "SPYBench_NO_DISTRACTORS")
    assert figures["metrics"]["ics w/o scenario"]["score"] == 100.0
    assert server.asked
    stem = "outputs/spy-oracle/spy-oracle_SPYBench_NO_DISTRACTORS"
    first = one(tmp_path, f"{stem}_host-gpt-4o-mini-*_spy.json")
    assert RunMetadata.read(first).judge.name == "host:gpt-4o-mini"
    assert figures["outcomes"]["failed"] == 0

    done = run_host(
        *("--data", "SPYBench_NO_DISTRACTORS", "--model", "spy-oracle", "--judge", "rules"),
        *("--vlmevalkit", str(checkout), "--reuse"),
        cwd=tmp_path,
        **environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert first.exists()  # the verdicts of another judge stay
    assert RunMetadata.read(one(tmp_path, f"{stem}_rules-*_spy.json")).judge.name == "rules"


def test_our_data_sets_ask_for_the_protocols_limit_and_the_hosts_own_for_theirs(
    general_run: tuple[Path, str], general_server: ChatServer
) -> None:
    limits = {
        (general_answer(asked) is None, limit)
        for asked, limit in zip(general_server.asked, general_server.limits, strict=True)
    }
    assert limits == {(True, 512), (False, 32_768)}


def test_the_users_own_limit_is_kept_recorded_and_marked(
    httpserver: HTTPServer, example: Path, tmp_path: Path
) -> None:
    server = ChatServer(httpserver, Model())
    done = run_host(
        *("--data", f"spy-no-distractors:{example}", "--model", "served"),
        *("--base-url", server.url, "--judge", "rules", "--api-nproc", "8", "--max-tokens", "700"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(server.limits) == {700}
    run = RunMetadata.read(one(tmp_path / "outputs" / "served", "*_spy.json"))
    assert run.options["max_tokens"] == 700
    report = one(tmp_path / "outputs" / "spy_report", "report.html").read_text(encoding="utf-8")
    assert "Answered with a limit of 700 new tokens; the protocol" in report
