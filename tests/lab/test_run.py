"""Several stages at once: they share the cores, and none outlives a failure or Ctrl-C."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Timer

import psutil
import pytest

pytest.importorskip("torch")

from spy_plugin.cli import lab as command
from spy_plugin.cli import main as cli
from spy_plugin.errors import SpyBenchError
from spy_plugin.lab import run, stages
from spy_plugin.lab.stages import Alignment, Plan
from spy_plugin.models import packaged as models

SLEEPS = "import time; print('asleep', flush=True); time.sleep(60)"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    base = models.folder("spy-tiny-base")
    return Plan(out=tmp_path, base=base, methods=("nca_priv",), seeds=2, jobs=2)


def _stages(monkeypatch: pytest.MonkeyPatch, code: Callable[[Alignment, Path], str]) -> None:
    """Run this code instead of a training."""

    def words(plan: Plan, base: Path, alignment: Alignment, folder: Path) -> list[str]:
        return [sys.executable, "-c", code(alignment, folder)]

    monkeypatch.setattr(stages, "command", words)


def _log(plan: Plan, seed: int) -> Path:
    return plan.out / f"nca_priv-seed{seed}" / "train.log"


def test_stages_at_once_meet_and_share_the_cores(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meet(alignment: Alignment, folder: Path) -> str:
        others = [str(plan.out / f"here{seed}") for seed in range(plan.seeds)]
        mine = others[alignment.seed]
        return (
            "import os, time\n"
            f"open({mine!r}, 'w').close()\n"
            f"while not all(map(os.path.exists, {others!r})): time.sleep(0.05)\n"
            "print(os.environ['OMP_NUM_THREADS'])"
        )

    _stages(monkeypatch, meet)
    monkeypatch.setattr(run, "cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    said: list[str] = []
    run.train_lab(plan, say=said.append)
    assert [_log(plan, seed).read_text().strip() for seed in (0, 1)] == ["3", "3"]
    assert stages.read_record(_log(plan, 0).parent)["jobs"] == 2
    assert {line.split(":")[0].strip() for line in said[1:]} == {"nca_priv-seed0", "nca_priv-seed1"}


def _asleep(plan: Plan, seed: int) -> bool:
    return _log(plan, seed).is_file() and "asleep" in _log(plan, seed).read_text()


def test_a_failure_ends_the_other_stages_and_starts_no_more(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = (
        f"import os, sys, time\n"
        f"while not os.path.exists({str(_log(plan, 0))!r}): time.sleep(0.05)\n"
        "time.sleep(1); print('no space'); sys.exit(3)"
    )
    _stages(monkeypatch, lambda alignment, _: fails if alignment.seed == 1 else SLEEPS)
    started = time.monotonic()
    with pytest.raises(SpyBenchError, match=r"exit code 3(.|\n)*  no space") as caught:
        run.train_lab(replace(plan, seeds=3), say=lambda _: None)
    assert str(_log(plan, 1)) in str(caught.value)
    assert time.monotonic() - started < 30
    assert not _log(plan, 2).exists()
    assert not _running_below(plan.out)


def _running_below(folder: Path) -> list[int]:
    """Children of this process that write to a file in the folder."""
    children = psutil.Process().children(recursive=True)
    alive = [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [pid for pid in alive if Path(f"/proc/{pid}/fd/1").resolve().is_relative_to(folder)]


def test_ctrl_c_ends_all_stages(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPS!r}])"
    _stages(monkeypatch, lambda *_: child)

    def interrupt() -> None:
        while not (_asleep(plan, 0) and _asleep(plan, 1)):
            time.sleep(0.05)
        assert len(_running_below(plan.out)) == 4
        os.kill(os.getpid(), signal.SIGINT)

    Timer(0, interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run.train_lab(plan, say=lambda _: None)
    assert not _running_below(plan.out)
    assert not (_log(plan, 0).parent / stages.RECORD).exists()


def test_models_that_were_trained_without_a_host_are_evaluated_later(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["lab", "--base", "shipped", "--methods", "sft", "--out", str(plan.out)]
    trained: list[Alignment] = []
    _stages(monkeypatch, lambda alignment, _: trained.append(alignment) or "")  # type: ignore[func-returns-value]
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "vlmeval" else object())
    monkeypatch.delenv("VLMEVALKIT_DIR", raising=False)
    assert cli.main([*arguments, "--until", "align"]) == 0
    assert (plan.out / "sft-seed0" / stages.RECORD).is_file()
    assert not (plan.out / "hosts").exists()

    monkeypatch.undo()
    asked: list[Path] = []

    def evaluate(model: Path, *_: object) -> Path:
        asked.append(model)
        raise SpyBenchError("evaluated")

    monkeypatch.setattr(stages, "evaluate", evaluate)
    assert cli.main(arguments) != 0
    assert asked[0] == models.folder("spy-tiny-base")
    assert trained == [Alignment("sft")]


def test_a_missing_host_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "vlmeval" else object())
    monkeypatch.delenv("VLMEVALKIT_DIR", raising=False)
    assert cli.main(["lab", "--out", str(tmp_path / "lab")]) != 0
    assert "--until align" in capsys.readouterr().err
    assert not (tmp_path / "lab").exists()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")
def test_a_killed_lab_leaves_no_stage_running(tmp_path: Path) -> None:
    """The next lab would train in the same folder."""
    words = [sys.executable, "-c", "import os; print(os.getpid(), flush=True); " + SLEEPS]
    code = f"from spy_plugin.lab.stage_process import *; run_logged({words!r}, Path('log'))"
    lab, log = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path), tmp_path / "log"
    while not (log.is_file() and "asleep" in log.read_text()):
        assert lab.poll() is None
        time.sleep(0.05)
    stage = os.pidfd_open(int(log.read_text().split()[0]))
    time.sleep(1)  # time to look, on a busy machine too
    lab.kill()
    lab.wait()
    assert select.select([stage], [], [], 30)[0]
    os.close(stage)
