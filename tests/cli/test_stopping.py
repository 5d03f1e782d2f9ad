"""Ctrl-C and SIGTERM end every command that runs long in under 4 s, and leave nothing unsaid.

`generate` and `judge` against a server: tests/generation/test_stopping.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from PIL import Image

from spy_plugin.benchmark.records import Answer, dump_jsonl
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from tests.cli.silent_server import SilentServer, beginning_of_a_file
from tests.conftest import needs
from tests.data.conftest import write_pictures, write_release
from tests.generation.conftest import in_a_process, line_count
from tests.models.faulty_process import ServerProcess
from tests.report.made_up import write_run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")

SECONDS = 4.0
STOPS = [signal.SIGINT, signal.SIGTERM]
both = pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)


@dataclass(frozen=True)
class Ended:
    """How a command ended after the signal."""

    code: int
    out: str
    err: str


def stopped(
    words: list[str], ready: Callable[[subprocess.Popen[str]], bool], stop: signal.Signals
) -> Ended:
    """Start a command, stop it once it is at work, and check that it and its children end in time.

    Args:
        ready: Says whether it is at work.
    """
    process = in_a_process(words)
    wait_until(lambda: ready(process) or process.poll() is not None)
    if process.poll() is not None:
        pytest.fail(f"it ended by itself: {process.communicate()}")
    children = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    process.send_signal(stop)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"it did not end: {process.communicate()}")
    wait_until(lambda: not any(map(runs, children)))
    seconds = time.monotonic() - began
    sys.stdout.write(f"{' '.join(words[:3])}: {seconds:.2f} s, {len(children)} children\n")
    assert seconds < SECONDS
    assert "Traceback" not in err
    assert process.returncode == 130
    assert "interrupted" in err
    return Ended(process.returncode, out, err)


def runs(child: psutil.Process) -> bool:
    """Whether a process has not ended; nobody waits for one whose parent has."""
    with suppress(psutil.NoSuchProcess):
        return bool(child.status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to work"
        time.sleep(0.02)


def in_threads(process: subprocess.Popen[str]) -> bool:
    """Whether it works in threads, as it does once it decodes pictures."""
    with suppress(psutil.Error):
        return psutil.Process(process.pid).num_threads() > 1
    return False


def has_worked(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether it has had so much processor time, however busy the machine is."""
    with suppress(psutil.Error):
        return bool(psutil.Process(process.pid).cpu_times().user > seconds)
    return False


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    held = SilentServer()
    yield held
    held.close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which a command runs and writes its files."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the package."""
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def some_answers(path: Path) -> Path:
    samples = open_benchmark(MINI).samples()
    path.write_text(dump_jsonl(Answer(s.sample_id, f"No, {s.sample_id}.") for s in samples))
    return path


@both
def test_self_moderate(stop: signal.Signals, server: ServerProcess) -> None:
    answers, out = some_answers(Path("a_answers.jsonl")), Path("b_answers.jsonl")
    server.command(faults=["hang", "429"], every=3, lasting=True)
    words = ["self-moderate", str(answers), "--mini", "--backend", "openai", "--model", "served"]
    words += ["--base-url", server.url, "--out", str(out)]
    ended = stopped(words, lambda _: line_count(out) >= 5, stop)
    assert f"what came is kept in {out}. To resume, run the same command again." in ended.err


@both
def test_judge_in_a_batch(stop: signal.Signals, silent: SilentServer) -> None:
    answers = some_answers(Path("a_answers.jsonl"))
    words = ["judge", str(answers), "--mini", "--judge", "openai:m", "--no-cache"]
    words += ["--base-url", f"{silent.url}/v1", "--batch", "submit"]
    stopped(words, lambda _: silent.asked.is_set(), stop)
    assert not list(Path().glob("*_verdicts.jsonl"))


@both
def test_data_prepare_while_it_downloads(stop: signal.Signals, home: Path) -> None:
    slow = SilentServer(beginning_of_a_file(10_000_000, 300_000))
    words = ["data", "prepare", "--release", f"{slow.url}/release.tar.gz"]

    def begun(_: object) -> bool:
        return any(part.stat().st_size for part in home.glob("downloads/*.part"))

    ended = stopped(words, begun, stop)
    slow.close()
    (part,) = home.glob("downloads/*.part")
    assert f"{part.stat().st_size} bytes are kept in" in ended.err
    assert 0 < part.stat().st_size <= 300_000
    assert "the same command resumes" in ended.err
    assert [folder.name for folder in home.iterdir()] == ["downloads"]


def release_with_large_pictures(folder: Path, count: int = 120) -> Path:
    """A release whose pictures take long to decode."""
    release = write_release(folder, items=count, pictures=False)
    pictures = release / "images" / "test2017"
    write_pictures(pictures, 1)
    Image.effect_noise((2000, 2000), 60).save(pictures / "0.jpg")
    for number in range(1, count):
        (pictures / f"{number}.jpg").hardlink_to(pictures / "0.jpg")
    return release


@both
def test_data_prepare_while_it_decodes(stop: signal.Signals, home: Path) -> None:
    release = release_with_large_pictures(Path("release"))
    stopped(["data", "prepare", "--release", str(release), "--allow-unpinned"], in_threads, stop)
    assert list(home.iterdir()) == []


@both
def test_data_verify(stop: signal.Signals, home: Path) -> None:
    release = write_release(Path("release"), items=120)
    assert main(["data", "prepare", "--release", str(release), "--allow-unpinned"]) == 0
    for picture in (release / "images" / "test2017").iterdir():
        picture.unlink()
    (release / "images" / "test2017").rmdir()
    large = release_with_large_pictures(Path("large"))
    (large / "images" / "test2017").rename(release / "images" / "test2017")
    stopped(["data", "verify", "--pictures"], in_threads, stop)


@both
def test_report(stop: signal.Signals) -> None:
    for number in range(3):
        write_run(Path("runs"), f"m{number}")
    words = ["report", "runs", "--out", "report", "--resamples", "1500000"]
    stopped(words, lambda process: has_worked(process, 2), stop)
    assert not Path("report").exists() or list(Path("report").iterdir()) == []


@both
def test_samples_whose_reader_has_stopped_reading(stop: signal.Signals) -> None:
    process = in_a_process(["samples", "--mini"])
    assert process.stdout is not None
    process.stdout.read(1)
    time.sleep(0.5)  # the pipe is full by now
    began = time.monotonic()
    process.send_signal(stop)
    assert process.wait(timeout=60) == 130
    assert time.monotonic() - began < SECONDS


@both
def test_matrix(stop: signal.Signals, server: ServerProcess) -> None:
    server.command(faults=["hang"], every=3, lasting=True)
    at = {"base-url": server.url}
    models = [{"backend": "openai", "model": f"m{n}", "options": at} for n in range(2)]
    plan = {"out": "out", "data": {"mini": True}, "models": models, "parallel": 2}
    plan |= {"judge": {"name": "rules"}, "conditions": ["distractors"]}
    Path("m.yaml").write_text(yaml.safe_dump(plan))

    def both_answer(_: object) -> bool:
        files = list(Path("out").glob("*_answers.jsonl"))
        return len(files) == 2 and all(line_count(file) > 2 for file in files)

    stopped(["matrix", "m.yaml"], both_answer, stop)


@pytest.mark.slow
@needs("transformers")
@both
def test_generate_with_transformers(stop: signal.Signals) -> None:
    out = Path("a_answers.jsonl")
    words = ["generate", "--mini", "--backend", "transformers", "--model", "spy-tiny-random"]
    words += ["--out", str(out)]
    ended = stopped(words, lambda _: line_count(out) >= 8, stop)
    assert f"what came is kept in {out}" in ended.err


@both
def test_generate_with_a_policy(stop: signal.Signals) -> None:
    out = Path("a_answers.jsonl")
    words = ["generate", "--mini", "--backend", "policy", "--model", "spy-oracle"]
    # A full disk aside, nothing slows it down: it may be done before the signal comes.
    process = in_a_process([*words, "--out", str(out)])
    wait_until(lambda: line_count(out) > 0 or process.poll() is not None)
    began = time.monotonic()
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < SECONDS
    assert process.returncode in (0, 130, -stop)
    assert "Traceback" not in err


@pytest.mark.slow
@needs("trl")
@both
@pytest.mark.parametrize("launch", [[], ["--accelerate", "ddp", "--num-processes", "2"]])
def test_train(launch: list[str], stop: signal.Signals) -> None:
    from tests.trl_ext import script_runs

    options = script_runs.prepare(Path())
    more = {"max_steps": 100_000, "save_strategy": "steps", "save_steps": 2}
    more |= {"logging_strategy": "no", "save_total_limit": 1}
    words = script_runs.words(options, output_dir=Path("trained"), **more)
    ended = stopped(
        ["train", *launch, "sft", *words],
        lambda _: any(Path("trained").glob("checkpoint-*/trainer_state.json")),
        stop,
    )
    assert "--resume_from_checkpoint" in ended.err


@pytest.mark.slow
@needs("trl")
@both
@pytest.mark.parametrize("base", [[], ["--base", "shipped"]], ids=["base", "alignment"])
def test_lab(base: list[str], stop: signal.Signals) -> None:
    words = ["lab", "--out", "lab", "--methods", "sft", "--steps", "4000", *base]
    log = Path("lab", "sft-seed0", "train.log")

    def at_work(process: subprocess.Popen[str]) -> bool:
        if base:
            return log.is_file() and "loss" in log.read_text()
        return has_worked(process, 12)

    stopped(words, at_work, stop)


@pytest.mark.slow
@needs("vlmeval")
@both
def test_vlmeval_with_a_slow_judge_of_its_own(stop: signal.Signals, silent: SilentServer) -> None:
    words = ["run", "vlmeval", "--", "--data", "SPYBench_MINI", "--model", "spy-oracle"]
    words += ["--judge", "served", "--judge-base-url", f"{silent.url}/v1/chat/completions"]
    words += (
        ["--vlmevalkit", os.environ["VLMEVALKIT_DIR"]] if "VLMEVALKIT_DIR" in os.environ else []
    )
    ended = stopped(words, lambda _: silent.asked.is_set(), stop)
    assert "--reuse" in ended.err
