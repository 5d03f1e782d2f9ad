"""From samples to an answer file: complete, resumable, under one set of conditions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError
from spy_plugin.generation.generate import generate
from spy_plugin.models.base import Conversation, Decoding, ModelSetupError, Reply
from spy_plugin.models.fake import FakeModel
from spy_plugin.runs.answer_file import AnswerFile
from spy_plugin.runs.metadata import RunMetadata
from spy_plugin.runs.sharding import Shard

Open = Callable[..., AnswerFile]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_sample_is_asked_picture_by_picture_and_kept_in_order(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    backend, file = FakeModel(), open_file()
    generate(samples, benchmark, backend, file)
    images = [image.name for image, _ in groupby(talk.image for talk in backend.asked)]
    assert images == ["0.png", "1.png", "2.png", "3.png"]
    assert all(talk.image_first and talk.image.is_file() for talk in backend.asked)
    by_id = {sample.sample_id: sample.prompt for sample in samples}
    assert all(talk.turns == (by_id[talk.key],) for talk in backend.asked)
    assert [row["sample_id"] for row in lines(file.path)] == [s.sample_id for s in samples]
    run = RunMetadata.read(file.path.with_name("m_run.json"))
    assert (run.model, run.samples, run.judge.name, run.answers) == ("m", 40, "", file.path.name)
    assert run.usage["generate"].requests == 40


def test_an_answer_is_in_the_file_before_the_next_is_asked(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    file = open_file()
    counts: list[int] = []

    def reply(talk: Conversation) -> Reply:
        counts.append(len(lines(file.path)))
        return Reply(talk.key, "x")

    generate(samples, benchmark, FakeModel(reply), file)
    assert counts == list(range(40))


def test_a_second_run_asks_only_what_is_missing_or_failed(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    fates = {
        samples[3].sample_id: Reply(samples[3].sample_id, outcome=Outcome.FAILED, error="500"),
        samples[9].sample_id: Reply(samples[9].sample_id, outcome=Outcome.FILTERED, error="no"),
    }
    first = FakeModel(lambda talk: fates.get(talk.key, Reply(talk.key, "first", None)))
    generate(samples[:20], benchmark, first, open_file())
    second = FakeModel(lambda talk: Reply(talk.key, "second", input_tokens=5))
    file = open_file()
    generate(samples, benchmark, second, file)
    expected = {s.sample_id for s in samples[20:]} | {samples[3].sample_id}
    assert sorted(second.asked_keys) == sorted(expected)
    assert [row["sample_id"] for row in lines(file.path)] == [s.sample_id for s in samples]
    assert dict(file.outcomes()) == {"answered": 39, "filtered": 1}
    usage = RunMetadata.read(file.path.with_name("m_run.json")).usage["generate"]
    assert (usage.requests, usage.input_tokens) == (41, 5 * 21)
    idle = FakeModel()
    generate(samples, benchmark, idle, open_file())
    assert idle.asked == []


def test_a_run_that_broke_off_is_gone_on_with(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    def reply(talk: Conversation) -> Reply:
        if len(broken.asked) > 7:
            raise ModelSetupError("the server is gone. Fix it.")
        return Reply(talk.key, "x")

    broken = FakeModel(reply)
    with pytest.raises(ModelSetupError):
        generate(samples, benchmark, broken, open_file())
    again, file = FakeModel(), open_file()
    assert len(file.records) == 7
    generate(samples, benchmark, again, file)
    assert len(again.asked) == 33
    assert len(file.records) == 40


def test_a_backend_that_forgets_or_repeats_spoils_nothing(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    class Odd(FakeModel):
        def _ask(self, conversations: Any) -> Any:
            for number, talk in enumerate(conversations):
                if number:
                    yield Reply(talk.key, "one")
                    yield Reply(talk.key, "two")
            yield Reply("stranger", "three")

    file = open_file()
    generate(samples, benchmark, Odd(), file)
    assert dict(file.outcomes()) == {"answered": 39, "failed": 1}
    assert {answer.response for answer in file.records.values()} == {"one", ""}
    assert len(lines(file.path)) == 40


def test_a_torn_last_line_is_asked_again(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    file = open_file()
    generate(samples, benchmark, FakeModel(), file)
    file.path.write_bytes(file.path.read_bytes()[:-30])
    assert len(read_answers(file.path).by_id) == 39
    again = FakeModel()
    generate(samples, benchmark, again, open_file())
    assert again.asked_keys == [samples[-1].sample_id]
    assert len(lines(file.path)) == 40


def test_the_last_answer_of_a_sample_counts(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    file = open_file()
    generate(samples, benchmark, FakeModel(), file)
    text = file.path.read_text()
    file.path.write_text(text + text.splitlines()[0].replace("turn 1", "later") + "\n")
    found = read_answers(file.path)
    assert (len(found.by_id), found.repeated) == (40, 1)
    assert found.by_id[samples[0].sample_id].response == "later"
    generate(samples, benchmark, FakeModel(), open_file())
    assert lines(file.path)[0]["response"] == "later"
    assert len(lines(file.path)) == 40


@pytest.mark.parametrize(
    ("changed", "was", "is_now"),
    [
        ({"name": "other"}, "model m", "model other"),
        ({"model": FakeModel(model="fine-tuned")}, "weights m", "weights fine-tuned"),
        ({"model": FakeModel(model="m", dtype="half")}, "settings unknown", "settings dtype=half"),
        (
            {"model": FakeModel(model="m", decoding=Decoding(0.5))},
            "temperature=0.0",
            "temperature=0.5",
        ),
        (
            {"model": FakeModel(model="m", decoding=Decoding(max_tokens=9))},
            "max_tokens=512",
            "max_tokens=9",
        ),
        ({"image_first": False}, "image position first", "image position last"),
        ({"distractors": False}, "data set SPYBench", "data set SPYBench_NO_DISTRACTORS"),
        ({"shard": Shard(1, 2)}, "shard unknown", "shard 1/2"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_conditions_in_one_file_are_refused_naming_both(
    changed: dict[str, Any],
    was: str,
    is_now: str,
    benchmark: Benchmark,
    samples: list[Sample],
    open_file: Open,
) -> None:
    file = open_file()
    generate(samples, benchmark, FakeModel(), file)
    before = file.path.read_bytes()
    with pytest.raises(DataError) as caught:
        open_file(**changed)
    begun, _, now = str(caught.value).partition("; this run has ")
    assert was in begun
    assert is_now in now
    assert "--out" in now
    assert file.path.read_bytes() == before


def test_other_words_or_data_are_refused(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    generate(samples, benchmark, FakeModel(), open_file())
    words = replace(BUILTIN, third_turn="Sure?")
    with pytest.raises(DataError, match="begun with protocol builtin-1"):
        open_file(benchmark=replace(benchmark, protocol=words))
    with pytest.raises(DataError, match="begun with data "):
        open_file(benchmark=replace(benchmark, items=benchmark.items[:3]))


def test_answers_of_unknown_origin_are_left_alone(samples: list[Sample], open_file: Open) -> None:
    path = open_file().path
    path.with_name("m_run.json").unlink()
    path.write_text('{"sample_id": "x", "response": "y"}')
    with pytest.raises(DataError, match=r"m_run\.json.* is missing"):
        open_file()
    assert path.read_text() == '{"sample_id": "x", "response": "y"}'


def test_answers_to_other_samples_are_not_lost(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    file = open_file()
    generate(samples, benchmark, FakeModel(), file)
    with file.path.open("a") as more:
        more.write('{"sample_id": "stranger", "response": "y"}\n')
    with pytest.raises(DataError, match="sample stranger: holds answers to other samples"):
        open_file()


def test_where_the_picture_stands_is_part_of_the_protocol(open_file: Open, tmp_path: Path) -> None:
    def protocol(backend_name: str, image_first: bool) -> tuple[str, str]:
        backend = FakeModel(backend=backend_name)
        path = tmp_path / f"{backend_name}{image_first}_answers.jsonl"
        run = open_file(backend, image_first=image_first, path=path).run
        return run.protocol.name, run.protocol.fingerprint

    # The same messages are the same protocol, whoever sends them.
    for backend in ("vllm", "openai"):
        assert protocol(backend, True) == (BUILTIN.name, BUILTIN.fingerprint)
        name, fingerprint = protocol(backend, False)
        assert name == "builtin-1+image-last"
        assert fingerprint != BUILTIN.fingerprint


def test_two_runs_may_not_write_one_file(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    def reply(talk: Conversation) -> Reply:
        with pytest.raises(DataError, match="being written by another run"):
            generate(samples, benchmark, FakeModel(), open_file())
        return Reply(talk.key, "x")

    file = open_file()
    generate(samples[:2], benchmark, FakeModel(reply), file)
    assert len(lines(file.path)) == 2


def test_appending_stays_as_quick_as_it_began(
    benchmark: Benchmark, samples: list[Sample], open_file: Open
) -> None:
    writes: list[int] = []
    file = open_file()

    def size() -> int:
        return file.path.stat().st_size if file.path.exists() else 0

    def reply(talk: Conversation) -> Reply:
        writes.append(size())
        return Reply(talk.key, "x" * 100)

    generate(samples, benchmark, FakeModel(reply), file)
    grown = [after - before for before, after in pairwise(writes)]
    # The file grows by one line per answer and is never rewritten in between.
    assert max(grown) <= min(grown) + 40
