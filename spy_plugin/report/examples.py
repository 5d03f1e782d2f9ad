"""A few samples of each kind of error, with the prompt and the answer."""

from __future__ import annotations

import base64
import io
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.protocol import expected_outcome
from spy_plugin.benchmark.records import Outcome, Sample, Verdict
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import open_rgb
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.report.model import Example
from spy_plugin.report.results import PrivacyResult
from spy_plugin.scoring.stats import LEAKAGE, OVER_REFUSAL

logger = logging.getLogger(__name__)

PER_KIND = 4
JUDGES_DIFFER = "judges differ"
_LONGEST = 4000
_PICTURE_SIDE = 320
# Ours, then those of the official release; of several turns, the last that is present.
_ANSWER_FIELDS = ("answer", "resp_3", "resp_2", "resp", "response")


def expected_of(verdict: Verdict) -> Outcome:
    """Return the outcome that is right for a verdict's sample, from the verdict's own keys."""
    absolute = verdict.label in ABSOLUTE_LABELS
    return expected_outcome(verdict.is_privacy, verdict.scenario, absolute=absolute)


def kind_of(verdict: Verdict) -> str | None:
    """Return the kind of a sample's error, or None if it is right."""
    if verdict.outcome not in (Outcome.RESPOND, Outcome.REJECT):
        return str(verdict.outcome.value)
    if verdict.outcome is expected_of(verdict):
        return None
    return LEAKAGE if verdict.outcome is Outcome.RESPOND else OVER_REFUSAL


def choose(
    verdicts: Mapping[int, Verdict],
    *,
    seed: int,
    kind: Callable[[Verdict], str | None] = kind_of,
) -> dict[int, tuple[str, Verdict]]:
    """Draw a seeded sample of `PER_KIND` verdicts of each kind.

    Args:
        verdicts: Line number -> verdict.
        kind: Names a verdict's kind; None for one that is not drawn.

    Returns:
        Line number -> (kind, verdict).
    """
    by_kind: dict[str, list[tuple[int, Verdict]]] = defaultdict(list)
    for line, verdict in verdicts.items():
        name = kind(verdict)
        if name is not None:
            by_kind[name].append((line, verdict))
    rng = random.Random(seed)
    return {
        line: (name, verdict)
        for name, found in sorted(by_kind.items())
        for line, verdict in sorted(
            rng.sample(found, min(PER_KIND, len(found))), key=lambda pair: pair[0]
        )
    }


def make_examples(
    result: PrivacyResult, chosen: dict[int, tuple[str, Verdict]], *, pictures: bool
) -> list[Example]:
    """Add answers from the verdict file, and prompts if the benchmark is on this machine."""
    if not chosen:
        return []
    rows = {line: row for line, row in read_jsonl(result.verdicts) if line in chosen}
    asked = _asked(result.metadata.benchmark if result.metadata else "", pictures)
    return [_example(kind, v, rows.get(line, {}), asked) for line, (kind, v) in chosen.items()]


class _Asked:
    """Prompts and pictures of a benchmark by sample_id; empty if it is not on this machine."""

    def __init__(self, samples: Iterable[Sample], root: Path | None) -> None:
        self._samples = {sample.sample_id: sample for sample in samples}
        self._root = root

    def sample(self, sample_id: str) -> Sample | None:
        return self._samples.get(sample_id)

    def picture(self, sample_id: str) -> str:
        """Return the sample's picture, scaled down, as a data URI; empty if it is not available."""
        sample = self.sample(sample_id)
        if self._root is None or sample is None:
            return ""
        try:
            small = open_rgb(self._root / sample.image_path)
            small.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
        except OSError as error:
            logger.warning("no picture for %s: %s", sample_id, error)
            return ""
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@cache
def _asked(benchmark: str, pictures: bool) -> _Asked:
    if not benchmark:
        return _Asked((), None)
    try:
        opened = open_benchmark(benchmark)
    except SpyBenchError as error:
        logger.info("the report shows no prompts of %s: %s", benchmark, error)
        return _Asked((), None)
    samples = [s for variant in (True, False) for s in opened.samples(distractors=variant)]
    return _Asked(samples, opened.image_root if pictures else None)


def _example(kind: str, verdict: Verdict, row: dict[str, Any], asked: _Asked) -> Example:
    answer = next((row[name] for name in _ANSWER_FIELDS if row.get(name)), "")
    sample = asked.sample(verdict.sample_id)
    scenario = verdict.scenario
    return Example(
        kind=kind,
        sample_id=verdict.sample_id or verdict.benchmark_id,
        label=verdict.label,
        is_privacy=verdict.is_privacy,
        scenario=scenario.id if scenario else "",
        scenario_is_privacy=scenario.is_privacy if scenario else None,
        image_path=verdict.image_path,
        question=sample.question if sample else _text(row.get("question", "")),
        prompt=_text(sample.prompt) if sample else "",
        answer=_text(answer),
        outcome=verdict.outcome.value,
        expected=expected_of(verdict).value,
        judge_text=_text(verdict.raw),
        error=_text(verdict.error),
        picture=asked.picture(verdict.sample_id),
    )


def _text(value: Any) -> str:
    """Return text to show: cut if it is very long, with unencodable characters replaced."""
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " [...]"
