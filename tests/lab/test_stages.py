"""The stages of the lab: their command lines, that each runs once, and the figures they leave.

Nothing is trained here; `test_learning.py` does that.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("trl")

from spy_plugin import lab
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.cli import main as cli
from spy_plugin.errors import SpyBenchError
from spy_plugin.judging.metadata import judged_run_file
from spy_plugin.lab import run, stage_process, stages
from spy_plugin.lab.sizes import SIZES, SMALL, TINY, LabSize
from spy_plugin.lab.stages import METHODS, RECORD, Alignment, Plan
from spy_plugin.models import packaged as models
from trl_ext import configs

DATASET = TINY.dataset


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(out=tmp_path, base=models.folder("spy-tiny-base"), steps=40)


def _alignment(plan: Plan, method: str) -> Alignment:
    return next(replace(plan, methods=(method,)).alignments())


def _parsed(plan: Plan, method: str, folder: Path) -> tuple[Any, Any, Any, list[str]]:
    """Parse a method's command line with the script's parser; also return the launcher words."""
    from importlib import import_module

    from trl_ext.scripts import _arguments, _common

    alignment = replace(_alignment(plan, method), seed=3)
    words = stages.command(plan, models.folder("spy-tiny-base"), alignment, folder)
    start = words.index(f"trl_ext.scripts.{method}")
    script = import_module(words[start]).METHOD
    config_class = _common._load(script.config)
    return (*_arguments.parse(method, config_class, words[start + 1 :]), words[:start])


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_the_script_accepts_its_command_line(
    method: str, size: LabSize, plan: Plan, tmp_path: Path
) -> None:
    plan = replace(plan, size=size)
    spy, arguments, model, launcher = _parsed(plan, method, tmp_path / "run")
    assert launcher == [sys.executable, "-m"]
    assert Path(model.model_name_or_path) == plan.base
    assert (Path(spy.data) / "tune.json").is_file()
    assert open_benchmark(spy.score_benchmark).name == size.validation
    assert (arguments.seed, arguments.max_steps) == (3, 40)
    assert arguments.resume_from_checkpoint == "last"
    for name, value in plan.size.settings[method].items():
        assert getattr(arguments, name) == value
    assert arguments.lr_scheduler_type == "cosine"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_sees_as_many_prompts_a_step(method: str, plan: Plan, tmp_path: Path) -> None:
    _, arguments, _, _ = _parsed(plan, method, tmp_path / "run")
    rows = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
    prompts_a_row = 2 if method == "nca_priv" else 1
    assert rows * arguments.world_size * prompts_a_row == stages.PROMPTS_PER_STEP


def test_processes_share_the_rows_of_a_step(tmp_path: Path) -> None:
    plan = Plan(out=tmp_path, processes=2)
    spy, arguments, _, launcher = _parsed(plan, "nca_priv", tmp_path / "run")
    assert launcher == stage_process.launcher(2)
    assert arguments.use_cpu
    assert 2 * arguments.per_device_train_batch_size == spy.global_batch_size


def test_the_launcher_starts_the_requested_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "import os, sys; print(os.environ['RANK'], os.environ['WORLD_SIZE'], sys.argv[1])"
    (tmp_path / "told.py").write_text(module, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stage_process.run_logged([*stage_process.launcher(2), "told", "x"], tmp_path / "log")
    lines = (tmp_path / "log").read_text().splitlines()  # the launcher may warn about threads
    assert sorted(line for line in lines if line.endswith(" x")) == ["0 2 x", "1 2 x"]


def test_a_plan_runs_every_method_with_every_seed(tmp_path: Path) -> None:
    plan = Plan(out=tmp_path, methods=("sft", "nca_priv"), seeds=2)
    expected = ["sft-seed0", "sft-seed1", "nca_priv-seed0", "nca_priv-seed1"]
    assert [each.name for each in plan.alignments()] == expected


def test_every_way_to_share_prefixes_is_a_run_of_all_methods_but_sft(tmp_path: Path) -> None:
    plan = Plan(out=tmp_path, methods=("sft", "nca_priv"), prefix_sharing=("row", "image"))
    names = [each.name for each in plan.alignments()]
    assert names == ["sft-seed0", "nca_priv-row-seed0", "nca_priv-seed0"]


@pytest.mark.parametrize("method", ["dpo", "nca", "nca_priv"])
def test_by_default_prefixes_are_shared_as_the_ready_settings_do(
    method: str, plan: Plan, tmp_path: Path
) -> None:
    ready = yaml.safe_load(configs.find(method).read_text(encoding="utf-8"))
    _, arguments, _, _ = _parsed(plan, method, tmp_path / "run")
    assert arguments.prefix_sharing == ready["prefix_sharing"] == lab.PREFIX_SHARING[0]
    assert arguments.precompute_ref_log_probs == ready["precompute_ref_log_probs"]
    _, arguments, _, _ = _parsed(replace(plan, prefix_sharing=("row",)), method, tmp_path / "run")
    assert arguments.prefix_sharing == "row"


def test_stages_at_once_share_the_loader_workers_of_a_gpu(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_on_gpu", lambda: True)
    monkeypatch.setattr(stages, "cores", lambda: 16)

    def words(jobs: int) -> list[str]:
        alone = replace(plan, jobs=jobs)
        return stages.command(alone, plan.out, _alignment(plan, "nca_priv"), plan.out)

    option = "--dataloader_num_workers"
    assert option not in words(1)
    assert [words(jobs)[words(jobs).index(option) + 1] for jobs in (4, 12)] == ["3", "1"]


def _stage(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(stages, "command", lambda *_: [sys.executable, "-c", code])


def test_a_stage_runs_once(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    _stage(
        monkeypatch, "import time; time.sleep(0.8); print('trained')"
    )  # long enough to be sampled
    base = models.folder("spy-tiny-base")
    folder = stages.align(plan, base, Alignment("dpo", 1))
    assert folder == plan.out / "dpo-seed1"
    assert stages.align(plan, base, Alignment("dpo", 1)) == folder
    assert (folder / "train.log").read_text().splitlines() == ["trained"]
    record = json.loads((folder / RECORD).read_text())
    assert record["seconds"] > 0
    assert record["peak_memory_mib"] > 1
    assert record["device"]
    assert (record["jobs"], record["resumed"]) == (1, False)
    assert record["versions"] == stages.versions()


def test_a_stage_that_begins_at_a_checkpoint_is_recorded_as_resumed(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stage(monkeypatch, "print('trained')")
    (plan.out / "dpo-seed1" / "checkpoint-2").mkdir(parents=True)
    folder = stages.align(plan, models.folder("spy-tiny-base"), Alignment("dpo", 1))
    assert stages.read_record(folder)["resumed"] is True


def test_memory_is_that_of_the_stage_and_its_children(tmp_path: Path) -> None:
    held = bytearray(300 * 2**20)  # memory of this process, not of the stage
    hold = "import time; held = bytearray({} * 2**20); time.sleep(1.5)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold.format(60)!r}])"
    _, alone = stage_process.run_logged([sys.executable, "-c", hold.format(100)], tmp_path / "log")
    _, both = stage_process.run_logged([sys.executable, "-c", child], tmp_path / "log")
    assert len(held) == 300 * 2**20
    assert 100 < alone < 200
    assert 65 < both < 150


def test_a_failed_stage_names_its_log_and_is_run_again(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = models.folder("spy-tiny-base")
    log = plan.out / "nca-seed0" / "train.log"
    _stage(monkeypatch, "import sys; print('no space'); sys.exit(3)")
    with pytest.raises(SpyBenchError, match="exit code 3") as caught:
        stages.align(plan, base, Alignment("nca"))
    assert "  no space" in str(caught.value)
    assert str(log) in str(caught.value)
    assert not (log.parent / RECORD).exists()
    _stage(monkeypatch, "print('trained')")
    stages.align(plan, base, Alignment("nca"))
    assert log.read_text().splitlines() == ["no space", "trained"]


def test_a_host_without_verdicts_is_an_error_that_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpyBenchError, match=r"no verdicts.*host\.log"):
        stages.evaluate(tmp_path / "model", tmp_path / "work", DATASET, lambda *_: (0.0, 0.0))


def test_a_host_that_is_done_is_not_asked_again(tmp_path: Path) -> None:
    found = tmp_path / "m" / "T1" / f"m_{DATASET}_verdicts.jsonl"
    found.parent.mkdir(parents=True)
    for path in (found, judged_run_file(found)):
        path.touch()
    asked_again = lambda *_: pytest.fail("asked again")  # noqa: E731
    assert stages.evaluate(tmp_path / "model", tmp_path, DATASET, asked_again) == found


def test_a_host_that_was_stopped_while_it_judged_is_asked_again(tmp_path: Path) -> None:
    part = tmp_path / "T1" / f"m_{DATASET}_verdicts.jsonl"
    whole = tmp_path / "T2" / f"m_{DATASET}_verdicts.jsonl"
    part.parent.mkdir()
    part.touch()

    def launch(*_: object) -> tuple[float, float]:
        whole.parent.mkdir()
        for path in (whole, judged_run_file(whole)):
            path.touch()
        return 1.0, 1.0

    assert stages.evaluate(tmp_path / "model", tmp_path, DATASET, launch) == whole


HISTORY = [
    {"step": 5, "loss": 2.5, "learning_rate": 1e-4},
    {"step": 10, "loss": 2.25},
    {"step": 10, "eval_spy_ics": 40.0, "eval_spy_hms": 50.0, "eval_spy_answers": 90.0},
    {"step": 10, "train_runtime": 3.0},
    {"step": 12, "train_runtime": 3.0},
]


def _checkpoint(folder: Path, step: int, history: list[dict[str, Any]]) -> None:
    state = folder / f"checkpoint-{step}" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"global_step": step, "log_history": history}))


def test_the_training_log_is_that_of_the_last_checkpoint(tmp_path: Path) -> None:
    assert stages.training_log(tmp_path) == []
    _checkpoint(tmp_path, 9, HISTORY[:1])
    _checkpoint(tmp_path, 10, HISTORY)
    assert stages.training_log(tmp_path) == HISTORY


def test_a_curve_has_the_losses_and_the_scores_of_each_step() -> None:
    first, second = run.curve(HISTORY)
    assert (first.step, first.loss, first.ics) == (5, 2.5, None)
    assert (second.step, second.loss, second.ics) == (10, 2.25, 40)
    assert (second.hms, second.answers) == (50, 90)
    assert run.curve([]) == ()


def test_a_missing_base_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere, out = tmp_path / "nowhere", tmp_path / "lab"
    assert cli.main(["lab", "--base", str(nowhere), "--out", str(out)]) != 0
    said = capsys.readouterr().err
    assert f"{nowhere}: the folder does not contain a model" in said
    assert "--base shipped" in said
    assert not out.exists()


def test_a_base_of_the_other_size_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, out = models.folder("spy-tiny-base"), tmp_path / "lab"
    assert cli.main(["lab", "--size", "small", "--base", str(tiny), "--out", str(out)]) != 0
    assert (
        "holds a qwen2_vl model, but the base of size small is a llava model"
        in capsys.readouterr().err
    )
    with pytest.raises(SpyBenchError, match="Use the other --size"):
        stages.base_model(Plan(out=out, size=SMALL, base=tiny))


def test_no_base_of_the_small_size_is_shipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lab"
    assert cli.main(["lab", "--size", "small", "--base", "shipped", "--out", str(out)]) != 0
    assert "Omit --base to train one" in capsys.readouterr().err
    assert not out.exists()


def test_the_command_knows_every_size_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(SIZES) == lab.SIZES
    with pytest.raises(SystemExit) as caught:
        cli.main(["lab", "--size", "huge"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "invalid choice: 'huge'" in said
    assert all(name in said for name in SIZES)


def test_a_base_of_the_small_size_is_refused_by_the_tiny_one(tmp_path: Path) -> None:
    config = json.dumps({"model_type": SMALL.model_type})
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(
        SpyBenchError, match="holds a llava model, but the base of size tiny is a qwen2_vl"
    ):
        stages.base_model(Plan(out=tmp_path / "lab", base=tmp_path))
    assert stages.base_model(Plan(out=tmp_path, size=SMALL, base=tmp_path)) == tmp_path


def test_processes_that_cannot_share_the_rows_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lab", "--processes", "3", "--out", str(tmp_path / "lab")]) != 0
    assert "1, 2, 4, 8 or 16" in capsys.readouterr().err


def test_an_existing_base_is_not_trained_again(tmp_path: Path) -> None:
    shipped = models.folder("spy-tiny-base")
    (tmp_path / "base").symlink_to(shipped)
    assert stages.base_model(Plan(out=tmp_path)) == tmp_path / "base"
    assert stages.base_model(Plan(out=tmp_path, base=shipped)) == shipped


def test_a_folder_started_with_other_settings_is_refused(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = models.folder("spy-tiny-base")
    _stage(monkeypatch, "print('trained')")
    stages.align(plan, base, Alignment("dpo"))
    with pytest.raises(SpyBenchError, match=r"Use another --out"):
        stages.align(replace(plan, steps=41), base, Alignment("dpo"))


@pytest.mark.parametrize(("method", "sharing"), [("sft", None), ("dpo", "image")])
def test_a_folder_from_before_there_were_several_ways_to_share_prefixes_is_kept(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, method: str, sharing: str | None
) -> None:
    """Its records lack the way, the device, the versions and the number of jobs."""
    base, alignment = models.folder("spy-tiny-base"), Alignment(method, 0, sharing)
    _stage(monkeypatch, "print('trained')")
    folder = stages.align(plan, base, alignment)
    record = json.loads((folder / stages.PLAN).read_text())
    assert record.pop("prefix_sharing") == sharing
    (folder / stages.PLAN).write_text(json.dumps(record))
    (folder / RECORD).write_text(json.dumps({"seconds": 2.0, "peak_memory_mib": 3.0}))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert stages.align(plan, base, alignment) == folder
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (folder / stages.PLAN).write_text(json.dumps(record | {"steps": 41}))
    with pytest.raises(SpyBenchError, match="Use another --out"):
        stages.align(plan, base, alignment)
    if method == "dpo":  # the folder of another way has another name; its record must name it
        (folder / stages.PLAN).write_text(json.dumps(record))
        row = Alignment(method, 0, "row")
        folder.rename(plan.out / row.name)
        with pytest.raises(SpyBenchError, match=r"'prefix_sharing': 'image'.* not with"):
            stages.align(plan, base, row)
