"""Who answered is part of a run: another server resumes it only when asked to, and is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import Answer, dump_jsonl, last_records
from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.judging.metadata import judged_run_file
from spy_plugin.judging.verdict_file import StoredVerdict
from tests.generation.conftest import STEM
from tests.models.faulty_server import FaultyServer, Reply, Script, completion, servers

Serve = Callable[[Script], FaultyServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with servers() as start:
        yield start


def words(server: FaultyServer, limit: int, *more: str) -> list[str]:
    run = ["generate", "--mini", "--backend", "openai", "--model", "served"]
    return [*run, "--base-url", server.url, "--limit", str(limit), *more]


def run_options(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{STEM}_run.json").read_text())["options"]
    return found


def test_another_server_is_refused_or_recorded_when_asked_for(
    serve: Serve, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (serve(lambda *_: completion("ok")) for _ in range(2))
    assert main(words(first, 3)) == 0
    assert run_options(folder)["server"] == first.url
    assert main(words(second, 6)) == 1
    said = capsys.readouterr().err
    assert f"was begun with server {first.url}; this run has server {second.url}" in said
    assert "add --other-server" in said
    assert second.requests == []
    assert main(words(second, 6, "--other-server")) == 0
    options = run_options(folder)
    assert (options["server"], options["earlier_servers"]) == (second.url, [first.url])
    assert len(second.requests) == 3


def test_another_model_by_the_servers_account_is_refused_or_recorded(
    serve: Serve, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "served-2024-08"

    def script(*_: Any) -> Reply:
        return Reply(body=str(completion("ok").body).replace('"served"', f'"{name}"'))

    server = serve(script)
    assert main(words(server, 3)) == 0
    assert run_options(folder)["answered_by"] == ["served-2024-08"]
    name = "served-2024-11"
    assert main(words(server, 6)) == 1
    said = capsys.readouterr().err
    assert "holds answers of served-2024-08, but the server now says that served-2024-11" in said
    assert main(words(server, 6, "--other-server")) == 0
    assert run_options(folder)["answered_by"] == ["served-2024-08", "served-2024-11"]


def moderate(server: FaultyServer, answers: Path, *more: str) -> list[str]:
    return ["self-moderate", str(answers), "--mini", "--base-url", server.url, *more]


def test_self_moderation_on_another_server_is_refused_or_recorded(
    serve: Serve, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (serve(lambda *_: completion("ok")) for _ in range(2))
    assert main(words(first, 6)) == 0
    answers = folder / f"{STEM}_answers.jsonl"
    assert main(moderate(first, answers)) == 0
    moderated = folder / f"{STEM}_SELF_MOD_answers.jsonl"
    lines = moderated.read_text().splitlines(keepends=True)
    moderated.write_text("".join(lines[:4]))
    capsys.readouterr()
    assert main(moderate(second, answers)) == 1
    assert f"was begun with server {first.url}; this run has server" in capsys.readouterr().err
    assert second.requests == []
    assert main(moderate(second, answers, "--other-server")) == 0
    about = json.loads((folder / f"{STEM}_SELF_MOD_run.json").read_text())["options"]
    assert (about["server"], about["earlier_servers"]) == (second.url, [first.url])
    assert len(second.requests) == 2 * 2


def named(text: str, name: str) -> Reply:
    """A completion by a server that calls its model so."""
    return Reply(body=str(completion(text).body).replace('"served"', f'"{name}"'))


def judge(server: FaultyServer, answers: Path, *more: str) -> list[str]:
    run = ["judge", str(answers), "--mini", "--judge", "openai:served", "--retries", "0"]
    return [*run, "--base-url", server.url, *more]


def judged(verdicts: Path) -> tuple[list[str], list[str], list[str]]:
    """The model of each verdict that was asked; the run file's models and servers."""
    models = [row.judge_model for row in last_records(verdicts, StoredVerdict)[0].values()]
    about = json.loads(judged_run_file(verdicts).read_text())["judge"]
    return [model for model in models if model], about["answered_by"], about["servers"]


def some_answers(path: Path, count: int) -> Path:
    samples = list(open_benchmark(MINI).samples())[:count]
    path.write_text(dump_jsonl(Answer(s.sample_id, f"No, {s.sample_id}.") for s in samples))
    return path


def test_a_judges_cache_holds_for_the_model_that_the_server_says_it_is(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "m-2024-08"
    server = serve(lambda *_: named("reject", name))
    six, nine = some_answers(tmp_path / "6.jsonl", 6), some_answers(tmp_path / "9.jsonl", 9)
    cache = ("--cache", str(tmp_path / "c.sqlite"))
    assert main(judge(server, six, *cache)) == 0
    assert judged(tmp_path / "6_verdicts.jsonl") == (6 * [name], [name], [server.url])
    name = "m-2024-11"
    assert main(judge(server, nine, *cache)) == 0
    assert judged(tmp_path / "9_verdicts.jsonl") == (9 * [name], [name], [server.url])
    assert len(server.requests) == 6 + 9
    # Now from the cache alone, of the model that judged last, without the server.
    server.close()
    again = ("--out", str(tmp_path / "again_verdicts.jsonl"))
    assert main(judge(server, six, *cache, *again)) == 0
    assert "asked 0" in capsys.readouterr().out
    assert judged(tmp_path / "again_verdicts.jsonl") == (6 * [name], [name], [server.url])


def test_verdicts_of_another_model_by_the_servers_account_are_refused_or_recorded(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "m-2024-08"
    server = serve(lambda *_: named("reject", name))
    answers, out = some_answers(tmp_path / "m.jsonl", 4), tmp_path / "m_verdicts.jsonl"
    assert main(judge(server, answers, "--no-cache")) == 0
    some_answers(answers, 7)
    before, name = name, "m-2024-11"
    assert main(judge(server, answers, "--no-cache")) == 1
    said = capsys.readouterr().err
    assert f"holds verdicts of {before}, but the server now says that {name} judges" in said
    assert judged(out)[0] == 4 * [before]
    assert main(judge(server, answers, "--no-cache", "--other-server")) == 0
    assert judged(out) == (4 * [before] + 3 * [name], [before, name], [server.url])


def test_verdicts_of_the_judge_at_another_address_are_refused_or_recorded(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (serve(lambda *_: completion("reject")) for _ in range(2))
    answers, out = some_answers(tmp_path / "m.jsonl", 4), tmp_path / "m_verdicts.jsonl"
    assert main(judge(first, answers, "--no-cache")) == 0
    some_answers(answers, 7)
    assert main(judge(second, answers, "--no-cache")) == 1
    said = capsys.readouterr().err
    assert f"at {first.url}; this is openai:served" in said
    assert "record both servers with --other-server" in said
    assert second.requests == []
    other = ("--no-cache", "--other-server")
    assert main([*judge(second, answers, *other), "--max-tokens", "99"]) == 1  # another judge
    assert main(judge(second, answers, *other)) == 0
    assert judged(out) == (7 * ["served"], ["served"], sorted([first.url, second.url]))
    assert len(second.requests) == 3
