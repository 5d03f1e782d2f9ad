"""A damaged file of answers, verdicts or questions: the same figures, or a refusal with the line.

Each test reads the damaged file a second time, with plain `json`, and compares: whatever the
package takes from the file must stand there, and no figure may rest on a field that was changed.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spy_plugin.benchmark.answers import read_answers, variant_of
from spy_plugin.benchmark.loading import load_benchmark, load_release
from spy_plugin.benchmark.records import (
    Answer,
    Outcome,
    Sample,
    Verdict,
    dump_jsonl,
    verdict_of,
)
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError
from spy_plugin.scoring.metrics import compute
from spy_plugin.scoring.verdicts import read_table

EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True)
Damage = Callable[[bytes], bytes]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Draw what happens to a file: as disks, editors and broken copies do it."""
    kind = draw(st.sampled_from(sorted(_KINDS)))
    place = draw(st.floats(0, 1, exclude_max=True))
    length = draw(st.integers(1, 12))
    garbage = draw(st.binary(min_size=1, max_size=12))

    def damage(data: bytes) -> bytes:
        return _KINDS[kind](data, int(place * len(data)), length, garbage)

    return damage


def _by_lines(data: bytes, place: int, change: Callable[[list[bytes], int], None]) -> bytes:
    lines = data.splitlines(keepends=True)
    change(lines, data[:place].count(b"\n"))
    return b"".join(lines)


def _swap(lines: list[bytes], at: int) -> None:
    lines[at], lines[at - 1] = lines[at - 1], lines[at]


def _next(data: bytes, at: int, pattern: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change the next thing of a kind at or after a place, if there is one."""
    found = re.compile(pattern).search(data, at)
    if found is None:
        return data
    return data[: found.start()] + change(found[0]) + data[found.end() :]


_KINDS: dict[str, Callable[[bytes, int, int, bytes], bytes]] = {
    "cut": lambda data, at, n, garbage: data[:at],
    "zeros after a cut": lambda data, at, n, garbage: data[:at] + bytes(n * 50),
    "zeros": lambda data, at, n, garbage: data[:at] + bytes(n) + data[at + n :],
    "overwritten": lambda data, at, n, garbage: data[:at] + garbage + data[at + len(garbage) :],
    "inserted": lambda data, at, n, garbage: data[:at] + garbage + data[at:],
    "removed": lambda data, at, n, garbage: data[:at] + data[at + n :],
    "flipped": lambda data, at, n, garbage: data[:at] + bytes([data[at] ^ n]) + data[at + 1 :],
    "another digit": lambda data, at, n, garbage: _next(
        data, at, rb"[0-9]", lambda digit: b"%d" % ((int(digit) + n % 9 + 1) % 10)
    ),
    "another key": lambda data, at, n, garbage: _next(
        data, at, rb'"[a-z_2]+":', lambda key: key.replace(key[1:2], b"", 1)
    ),
    "joined": lambda data, at, n, garbage: _by_lines(
        data, at, lambda lines, row: lines.insert(row, lines.pop(row).rstrip(b"\n"))
    ),
    "twice": lambda data, at, n, garbage: _by_lines(
        data, at, lambda lines, row: lines.insert(row, lines[row])
    ),
    "swapped": lambda data, at, n, garbage: _by_lines(data, at, _swap),
    "blank lines": lambda data, at, n, garbage: data.replace(b"\n", b"\n\n \n"),
    "carriage returns": lambda data, at, n, garbage: data.replace(b"\n", b"\r\n"),
    "byte order mark": lambda data, at, n, garbage: codecs.BOM_UTF8 + data,
    "nested": lambda data, at, n, garbage: data[:at] + b"[" * 2000 + data[at:],
}


def read_plainly(data: bytes) -> list[dict[str, Any]] | None:
    """The rows of a JSONL file, without a torn last one; None if a line is not an object."""
    rows = []
    lines = [line for line in data.split(b"\n") if line.strip()]
    for number, line in enumerate(lines):
        try:
            row = json.loads(line.removeprefix(codecs.BOM_UTF8).decode())
        except (ValueError, RecursionError):
            return rows if number == len(lines) - 1 and not data.endswith(b"\n") else None
        if not isinstance(row, dict):
            return None
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def release(official_like: Callable[..., Path]) -> Path:
    return official_like("--items", "4", "--images", "2", "--release", "--no-images")


@pytest.fixture(scope="module")
def benchmark(release: Path) -> Benchmark:
    return load_release(release)


@pytest.fixture(scope="module")
def samples(benchmark: Benchmark) -> list[Sample]:
    return list(benchmark.samples())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "x.jsonl"


def answers_to(samples: list[Sample], *, turns: bool) -> list[Answer]:
    answers = [Answer(s.sample_id, f"I see {n}. \u6211\u4e0d\u8bf4") for n, s in enumerate(samples)]
    if turns:
        answers = [replace(a, turns=("Hm.", f"No. {n}")) for n, a in enumerate(answers)]
    answers[1] = Answer(samples[1].sample_id, "", Outcome.FAILED, "no connection")
    return answers


@pytest.mark.parametrize("turns", [False, True])
@EXAMPLES
@given(damage=damages())
def test_answers(
    benchmark: Benchmark, samples: list[Sample], path: Path, turns: bool, damage: Damage
) -> None:
    whole = answers_to(samples, turns=turns)
    path.write_bytes(damage(dump_jsonl(whole).encode()))
    rows = read_plainly(path.read_bytes())
    try:
        found = read_answers(path)
        variant_of(benchmark, found, path)
    except DataError as error:
        assert "line " in str(error) or (not rows and "holds no answers" in str(error))  # noqa: PT017
        return
    assert rows is not None
    stands = {row["sample_id"]: row for row in rows}
    assert found.by_id.keys() == stands.keys() <= {sample.sample_id for sample in samples}
    for sample_id, answer in found.by_id.items():
        row = stands[sample_id]
        spoken = [row["response"], *row.get("turns", [])] if answer.outcome is None else [""]
        assert "\x00" in spoken[-1] or answer.scored == spoken[-1]
        assert (answer.outcome is not None) == (row.get("outcome") is not None)
        if answer.outcome is None:
            assert len(spoken) == (3 if turns else 1)


@EXAMPLES
@given(damage=damages())
def test_verdicts(benchmark: Benchmark, path: Path, damage: Damage) -> None:
    check_verdicts(benchmark, path, damage(dump_jsonl(verdicts_on(benchmark)).encode()))


def test_no_digit_of_a_verdict_changes_a_figure(benchmark: Benchmark, path: Path) -> None:
    data = dump_jsonl(verdicts_on(benchmark)).encode()
    lines = data.splitlines(keepends=True)
    start = sum(map(len, lines[:2]))
    digits = [at for at in range(start, start + len(lines[2])) if data[at : at + 1].isdigit()]
    refused = 0
    for at in digits:
        other = b"1" if data[at : at + 1] == b"0" else b"0"
        refused += check_verdicts(benchmark, path, data[:at] + other + data[at + 1 :])
    assert refused > 10


def verdicts_on(benchmark: Benchmark) -> list[Verdict]:
    outcomes = list(Outcome)
    return [
        verdict_of(s, outcomes[n % 5], answer="\u6211\u4e0d\u8bf4", judge="rules")
        for n, s in enumerate(benchmark.samples())
    ]


def check_verdicts(benchmark: Benchmark, path: Path, data: bytes) -> bool:
    """Check what becomes of a damaged file of verdicts; returns whether it was refused."""
    whole = verdicts_on(benchmark)
    known = {v.sample_id: v for v in whole}
    by_fields = {(v.benchmark_id, v.is_privacy, v.scenario and v.scenario.id): v for v in whole}

    def figures() -> Any:
        absolute, labels = benchmark.protocol.absolute_labels, benchmark.label_words
        return compute(read_table(path, known_labels=labels, absolute_labels=absolute))["metrics"]

    path.write_bytes(data)
    rows = read_plainly(data)
    try:
        found = figures()
    except DataError as error:
        assert "line " in str(error) or (not rows and "holds no verdicts" in str(error))  # noqa: PT017
        return True
    assert rows is not None
    # No damaged field counts: the figures are those of the same samples' undamaged verdicts.
    kept = [
        known.get(row.get("sample_id", ""))
        or by_fields[row["benchmark_id"], row["is_privacy"], (row.get("scenario") or {}).get("id")]
        for row in rows
    ]
    path.write_text(dump_jsonl(kept))
    assert found == figures()
    return False


@EXAMPLES
@given(damage=damages())
def test_questions(release: Path, benchmark: Benchmark, path: Path, damage: Damage) -> None:
    data = release / "benchmark" / "data"
    questions = path.with_name("questions.json")
    questions.write_bytes(damage((data / "questions.json").read_bytes()))
    try:
        found = load_benchmark(
            questions,
            data / "label2text.json",
            benchmark.protocol,
            image_root=release,
            name="damaged",
        )
    except DataError as error:
        where = (
            "line ",
            "item ",
            "entry ",
            '"benchmark_list"',
            "UTF-8",
            "byte order mark",
            "depth",
        )
        assert str(questions) in str(error)  # noqa: PT017
        assert any(word in str(error) for word in where)  # noqa: PT017
        return
    entries = json.loads(questions.read_text(encoding="utf-8-sig"))["benchmark_list"]
    assert [item.benchmark_id for item in found.items] == [e["benchmark_id"] for e in entries]
    for item, entry in zip(found.items, entries, strict=True):
        assert item.question == entry["question_item"]["question"]
        assert dict(item.other_labels) == entry["other_labels"]
        for key in ("privacy_scenarios", "non_privacy_scenarios"):
            named = [each["scenario"] for each in entry.get(key) or []]
            assert [scenario.id for scenario in getattr(item, key)] == named
