"""`lmms-eval --tasks spy_bench_report` against a server: figures, table, files, cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.records import Outcome, Sample, verdict_of
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.report import combine
from spy_plugin.runs.metadata import RunMetadata
from spy_plugin.scoring import metrics, stats
from spy_plugin.scoring.table import tabulate
from spy_plugin.scoring.verdicts import read_table
from tests.hosts.lmms import general_data
from tests.hosts.lmms.harness import Harness, Result, results, rows
from tests.hosts.lmms.server import JUDGE, MODEL, ChatServer

POLICY = "spy-literal"
TASKS = {"spy_bench_distractors": True, "spy_bench_no_distractors": False}


def figures_of(samples: list[Sample], outcome: Callable[[Sample], Outcome]) -> dict[str, Any]:
    """The figures of the core for known outcomes."""
    table = tabulate([verdict_of(sample, outcome(sample)) for sample in samples])
    figures: dict[str, Any] = metrics.compute(table)["metrics"]
    return figures


def expected(sample: Sample) -> Outcome:
    """The outcomes of the policy, except for what was filtered."""
    if is_blocked(sample.prompt):
        return Outcome.FILTERED
    return POLICIES[POLICY](sample, frozenset())


def is_blocked(prompt: str) -> bool:
    """The prompt of one private sample without a scenario."""
    asked = prompt.rpartition("\n\n")[2]
    return asked.startswith("What is") and asked.endswith("picture 3?") and "confidential" in prompt


class Run:
    """The command under test, run once and then again from its caches."""

    def __init__(
        self, harness: Harness, release: Path, benchmark: Benchmark, http: HTTPServer, root: Path
    ) -> None:
        samples = [s for flag in (True, False) for s in benchmark.samples(distractors=flag)]
        self.server = ChatServer(http, samples, POLICY)
        self.server.fail = lambda prompt: 400 if is_blocked(prompt) else 0
        self.out = root / "out"
        general_data.write_general_data(root)
        self._harness, self._release, self._root = harness, release, root
        self.first = self.again()
        assert self.first.code == 0, self.first.text
        self.saved = results(self.out)
        self.requests = len(self.server.asked), len(self.server.judged)

    def again(self) -> Result:
        """Run the command, once more from the caches."""
        return self._harness.run(
            *("--tasks", "spy_bench_report", "--model", "openai"),
            "--model_args",
            f"model={MODEL},base_url={self.server.url},api_key=model-key,max_retries=1",
            *("--output_path", str(self.out), "--log_samples"),
            *("--use_cache", str(self._root / "cache")),
            cwd=self._root,
            env={
                "SPY_BENCH_RELEASE": str(self._release),
                "OPENAI_API_URL": self.server.url,
                "OPENAI_API_KEY": "judge-key",
                "MODEL_VERSION": JUDGE,
            },
        )


@pytest.fixture(scope="module")
def run(
    harness: Harness,
    release: Path,
    benchmark: Benchmark,
    http: HTTPServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """The first run."""
    return Run(harness, release, benchmark, http, tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_is_the_cores(run: Run, benchmark: Benchmark, task: str) -> None:
    figures = figures_of(list(benchmark.samples(distractors=TASKS[task])), expected)
    ics, hms = figures[metrics.ICS]["score"], figures[metrics.HMS]
    assert figures["exception"] > 0
    saved = {key.split(",")[0]: value for key, value in run.saved["results"][task].items()}
    wanted = {
        "privacy_score": metrics.privacy_score(ics, hms),
        "ics_no_scenario": ics,
        "hms": hms,
        "rta_non_conflict": figures[metrics.RTA]["score"],
        "ata_non_conflict": figures[metrics.ATA]["score"],
        "ata_conflict": figures[metrics.ATA_CONFLICT]["score"],
        "ics_non_conflict": figures[metrics.ICS_SCENARIO]["score"],
        "accuracy_no_scenario": figures[metrics.ACCURACY]["score"],
        "absolute_accuracy": figures[metrics.ABSOLUTE_ACCURACY]["score"],
        "absolute_ics": figures[metrics.ABSOLUTE_ICS]["score"],
        "judged_share": 100 * (1 - figures["exception"] / 40),
        "samples_filtered": figures["exception"],
        "samples_failed": 0,
    }
    assert {name: saved[name] for name in wanted} == pytest.approx(wanted)


def test_the_overall_score_stands_in_table_and_file(run: Run) -> None:
    general = metrics.general_score(
        general_data.MMMU, general_data.OCRBENCH * 100, general_data.MME
    )["score"]
    for task in TASKS:
        row = run.saved["results"][task]
        overall = metrics.overall_score(row["privacy_score,none"], general)
        assert row["general_score,none"] == pytest.approx(general)
        assert row["overall_score,none"] == pytest.approx(overall)
        assert float(run.first.table()[task, "overall_score"]) == pytest.approx(overall, abs=1e-3)


def test_standard_errors_are_ours_from_resampled_pictures(run: Run, benchmark: Benchmark) -> None:
    for task, distractors in TASKS.items():
        samples = benchmark.samples(distractors=distractors)
        table = tabulate([verdict_of(sample, expected(sample)) for sample in samples])
        draws = stats.resampled(table)
        row = run.saved["results"][task]
        for name, figure in (("privacy_score", stats.PRIVACY), ("ics_no_scenario", metrics.ICS)):
            assert row[f"{name}_stderr,none"] == pytest.approx(np.nanstd(draws[figure], ddof=1))
            assert row[f"{name}_stderr_clt,none"] == "N/A"  # the host's own formula
        assert row["rta_non_conflict,none"] == 100
        assert row["rta_non_conflict_stderr,none"] == "N/A"


def test_the_sample_log_holds_each_verdict(run: Run) -> None:
    (path,) = run.out.rglob("*_samples_spy_bench_distractors.jsonl")
    logged = rows(path)
    assert len(logged) == 40
    for row in logged:
        verdict = row["judged_share"]
        assert verdict["outcome"] in ("respond", "reject", "filtered")
        assert verdict["answer"]["response"] == (
            "" if "filtered" in verdict.values() else row["filtered_resps"]
        )


def test_verdicts_and_metadata_are_left_for_the_report(run: Run) -> None:
    (path,) = run.out.rglob("*spy_bench_distractors_spy.json")
    metadata = RunMetadata.read(path)
    assert (metadata.host, metadata.model, metadata.samples) == ("lmms-eval", MODEL, 40)
    assert metadata.judge.name == f"openai:{JUDGE}"
    table = read_table(
        path.with_name(metadata.verdicts),
        known_labels=frozenset(
            {
                "a4_gender",
                "a31_passport",
                "a49_phone",
                "a90_email",
                "a73_landmark",
                "a46_occupation",
            }
        ),
    )
    ics = metrics.compute(table)["metrics"][metrics.ICS]["score"]
    assert ics == run.saved["results"]["spy_bench_distractors"]["ics_no_scenario,none"]
    assert len(rows(path.with_name(metadata.answers))) == 40


def test_the_combined_report_agrees_with_the_hosts_table(run: Run, tmp_path: Path) -> None:
    report = combine([run.out], tmp_path)
    found = report.model_dump_json()
    for task in TASKS:
        row = run.saved["results"][task]
        for name in ("privacy_score", "general_score", "overall_score"):
            assert str(row[f"{name},none"])[:8] in found, (task, name)


def test_the_hosts_judge_settings_are_honoured_and_no_key_is_stored(run: Run) -> None:
    assert run.server.keys[JUDGE] == {"Bearer judge-key"}
    assert run.server.keys[MODEL] == {"Bearer model-key"}
    for path in run.out.rglob("*"):
        if path.is_file():
            assert "judge-key" not in path.read_text(), path
            assert "model-key" not in path.read_text(), path


def test_prompts_reach_the_model_as_the_protocol_says(run: Run, benchmark: Benchmark) -> None:
    prompts = {sample.prompt for sample in benchmark.samples(distractors=True)}
    sent = [
        messages
        for messages in run.server.asked
        if messages[0]["content"][-1].get("text") in prompts
    ]
    assert {messages[0]["content"][-1]["text"] for messages in sent} == prompts
    for messages in sent:
        assert [message["role"] for message in messages] == ["user"]
        assert [part["type"] for part in messages[0]["content"]] == ["image_url", "text"]


def test_a_second_run_is_answered_by_the_caches(run: Run) -> None:
    again = run.again()
    assert again.code == 0, again.text
    # The host's cache also keeps failures, so they are not asked again.
    assert (len(run.server.asked), len(run.server.judged)) == run.requests
    for task in TASKS:
        saved = results(run.out)["results"][task]
        assert saved["privacy_score,none"] == run.saved["results"][task]["privacy_score,none"]
    assert len(list(run.out.rglob("*spy_bench_distractors_verdicts.jsonl"))) == 2
