"""One's own benchmark in both hosts: the figures that our own commands give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spy_plugin.cli.main import main
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.vlmeval import names
from spy_plugin.runs.metadata import RunMetadata
from spy_plugin.scoring.metrics import HMS, ICS
from tests.conftest import needs
from tests.hosts.lmms.harness import Harness
from tests.hosts.vlmeval.hosting import one, run_host, scores
from tests.own.conftest import example

__all__ = ["example"]


def test_a_folder_is_translated_into_the_hosts_name(
    example: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPY_BENCH_OWN", "")
    assert names.dataset(f"spy:{example}") == "SPYBench_OWN"
    assert names.dataset(f"spy-no-distractors:{example}") == "SPYBench_OWN_NO_DISTRACTORS"
    assert names.dataset(f"spy-self-mod:{example}") == "SPYBench_OWN_SELF_MOD"
    names.note_own_folder(["MMMU", f"spy:{example}", f"spy-self-mod:{example}"])
    assert names.os.environ["SPY_BENCH_OWN"] == str(example)
    with pytest.raises(SpyBenchError, match="Run one at a time"):
        names.note_own_folder([f"spy:{example}", f"spy:{tmp_path}"])
    with pytest.raises(SpyBenchError, match=f"{tmp_path} holds no benchmark"):
        names.note_own_folder([f"spy:{tmp_path}"])


@needs("vlmeval")
def test_vlmevalkit_scores_it(example: Path, tmp_path: Path) -> None:
    done = run_host(
        *("--data", f"spy:{example}", "--model", "spy-literal", "--judge", "rules"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = scores(tmp_path, "spy-literal", "SPYBench_OWN")["metrics"]
    assert (found[ICS]["score"], found[HMS]) == (75, 40)
    stem = "outputs/spy-literal/spy-literal_SPYBench_OWN_rules-*_spy.json"
    run = RunMetadata.read(one(tmp_path, stem))
    assert (run.benchmark, run.samples) == ("own:example@a0b2c41d", 60)


@needs("lmms_eval")
def test_lmms_eval_scores_it(example: Path, harness: Harness, tmp_path: Path) -> None:
    done = harness.run(
        *("--model", "spy_policy", "--model_args", "model=spy-literal"),
        *("--tasks", "spy_bench_own", "--output_path", "out"),
        cwd=tmp_path,
        env={"SPY_BENCH_OWN": str(example), "SPY_BENCH_JUDGE": "rules"},
    )
    assert done.code == 0, done.text[-3000:]
    table = done.table()
    for task in ("spy_bench_own_distractors", "spy_bench_own_no_distractors"):
        assert table[task, "privacy_score"] == "57.5"
    path = next((tmp_path / "out").rglob("*own_distractors_spy.json"))
    assert json.loads(path.read_text())["benchmark"] == "own:example@a0b2c41d"


def test_without_its_folder_a_host_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPY_BENCH_OWN", raising=False)
    assert main(["samples", "--benchmark", "own"]) == 1
    assert "SPY_BENCH_OWN does not name it" in capsys.readouterr().err
