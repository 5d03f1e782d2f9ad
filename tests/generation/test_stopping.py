"""Stop `spy-bench generate`, or start it twice on one file."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.records import Answer, dump_jsonl
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.files.writing import FileLock
from spy_plugin.judging import load_verdicts
from tests.generation.conftest import STEM, in_a_process, options, wait_for_lines
from tests.models.faulty_process import ServerProcess


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_in_good_order_and_says_how_to_go_on(
    stop: signal.Signals,
    folder: Path,
    server: ServerProcess,
) -> None:
    server.command(delay=0.05)
    process = in_a_process(options(server, limit="860"))
    path = folder / f"{STEM}_answers.jsonl"
    wait_for_lines(path, 21, process)  # a header and 20 answers
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 860 samples are answered" in err
    assert f"kept in outputs/{path.name}. To resume, run the same command again." in err
    assert "Traceback" not in err
    kept = list(read_answers(path).by_id)
    assert 20 <= len(kept) < 860
    order = [sample.sample_id for sample in open_benchmark(MINI).samples()]
    assert kept == sorted(kept, key=order.index)
    server.command()
    assert main(options(server, limit="200")) == 0
    assert len(server.command()) <= 200 - min(len(kept), 200) + len(kept)


def test_a_file_that_another_run_writes_is_refused_before_anything_is_said_of_it(
    folder: Path,
    server: ServerProcess,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(options(server, limit="5")) == 0
    path = folder / f"{STEM}_answers.jsonl"
    before = path.read_bytes()
    capsys.readouterr()
    with FileLock(path):
        server.command()
        assert main(options(server, limit="10")) == 1
    out, err = capsys.readouterr()
    assert "is being written by another run" in err
    assert "resuming" not in out
    assert server.command() == []
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_judge_keeps_its_verdicts_in_order_and_resumes(
    stop: signal.Signals, folder: Path, server: ServerProcess
) -> None:
    folder.mkdir()
    samples = list(open_benchmark(MINI).samples())
    answers, out = folder / "m_answers.jsonl", folder / "m_verdicts.jsonl"
    answers.write_text(dump_jsonl(Answer(s.sample_id, f"No, {s.sample_id}.") for s in samples))
    words = ["judge", str(answers), "--mini", "--judge", "openai:served", "--no-cache"]
    words += ["--base-url", server.url]
    server.command(delay=0.05)
    process = in_a_process(words)
    wait_for_lines(out, 20, process)
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"kept in {out}. To resume, run the same command again." in err
    assert "Traceback" not in err
    kept = [verdict.sample_id for verdict in load_verdicts(out)]
    assert 20 <= len(kept) < 860
    assert kept == [sample.sample_id for sample in samples if sample.sample_id in set(kept)]
    server.command()
    assert main(words) == 0
    assert len(server.command()) == 860 - len(kept)


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["generate", "judge"])
def test_a_run_whose_server_hangs_stops_within_four_seconds(
    command: str, stop: signal.Signals, folder: Path, server: ServerProcess
) -> None:
    words, out = options(server, limit="860"), folder / f"{STEM}_answers.jsonl"
    if command == "judge":
        folder.mkdir()
        answers, out = folder / "m_answers.jsonl", folder / "m_verdicts.jsonl"
        samples = list(open_benchmark(MINI).samples())
        answers.write_text(dump_jsonl(Answer(s.sample_id, f"No, {s.sample_id}.") for s in samples))
        words = ["judge", str(answers), "--mini", "--judge", "openai:served", "--no-cache"]
        words += ["--base-url", server.url]
    server.command(faults=["hang", "429"], every=3, lasting=True)
    process = in_a_process(words)
    wait_for_lines(out, 5, process)
    began = time.monotonic()
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 4
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]
