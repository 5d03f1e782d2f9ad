"""A few samples of each kind of error, with the prompt and the answer."""

from __future__ import annotations

import base64
import io
import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.protocol import expected_outcome
from spy_plugin.benchmark.records import Sample, Verdict
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.data.pictures import open_rgb
from spy_plugin.files.jsonl import parse_line, pick_lines
from spy_plugin.report.loading import Loaded
from spy_plugin.report.model import Example
from spy_plugin.report.opened import open_if_here
from spy_plugin.report.provenance import cut_paths
from spy_plugin.scoring.stats import LEAKAGE, OVER_REFUSAL
from spy_plugin.scoring.table import (
    OUTCOMES,
    REJECT,
    RESPOND,
    Ints,
    VerdictTable,
    expected_outcomes,
)
from spy_plugin.scoring.verdicts import read_verdict

logger = logging.getLogger(__name__)

PER_KIND = 4
JUDGES_DIFFER = "judges differ"
_LONGEST = 4000
_PICTURE_SIDE = 320
# Ours, then those of the official release; of several turns, the last that is present.
_ANSWER_FIELDS = ("answer", "resp_3", "resp_2", "resp", "response")


def kinds_of(table: VerdictTable) -> list[str]:
    """Return the kind of each sample's error; empty where it is right."""
    wrong = np.where(table.outcome == RESPOND, LEAKAGE, OVER_REFUSAL)
    judged = np.where(table.outcome == expected_outcomes(table), "", wrong)
    names = np.array([outcome.value for outcome in OUTCOMES])[table.outcome]
    kinds: list[str] = np.where(table.outcome <= max(RESPOND, REJECT), judged, names).tolist()
    return kinds


def choose(kinds: Sequence[str], lines: Ints, *, seed: int) -> dict[int, str]:
    """Draw a seeded sample of `PER_KIND` rows of each kind.

    Args:
        kinds: The kind of each row; empty for one that is not drawn.
        lines: The line number of each row.

    Returns:
        Line number -> kind.
    """
    by_kind: dict[str, list[int]] = defaultdict(list)
    for line, kind in zip(lines.tolist(), kinds, strict=True):
        if kind:
            by_kind[kind].append(line)
    rng = random.Random(seed)
    return {
        line: kind
        for kind, found in sorted(by_kind.items())
        for line in sorted(rng.sample(found, min(PER_KIND, len(found))))
    }


def make_examples(loaded: Loaded, chosen: Mapping[int, str], *, pictures: bool) -> list[Example]:
    """Read the chosen lines again, and add prompts if the benchmark is on this machine."""
    if not chosen:
        return []
    path = loaded.result.verdicts
    rows = {n: parse_line(line, path, n) for n, line in pick_lines(path, chosen)}
    asked = _asked(loaded.about.benchmark, pictures)
    protocol = loaded.about.protocol
    absolute = protocol.always_refused if protocol else ABSOLUTE_LABELS
    out = []
    for line, kind in chosen.items():
        row = rows.get(line)
        verdict = None if row is None else read_verdict(row, path=path, line=line)
        if row is not None and verdict is not None:
            out.append(_example(kind, verdict, row, asked, absolute))
    return out


class _Asked:
    """Prompts and pictures of a benchmark; without one, of no sample."""

    def __init__(self, benchmark: Benchmark | None, pictures: bool) -> None:
        self._benchmark, self._pictures = benchmark, pictures
        self._items = {item.benchmark_id: item for item in benchmark.items} if benchmark else {}

    def sample(self, verdict: Verdict) -> Sample | None:
        """Return a verdict's sample, if the benchmark has it."""
        item = self._items.get(verdict.benchmark_id)
        if item is None or self._benchmark is None:
            return None
        alone = replace(self._benchmark, items=(item,))
        samples = [s for variant in alone.variants for s in alone.samples(distractors=variant)]
        return next((s for s in samples if s.sample_id == verdict.sample_id), None)

    def picture(self, sample: Sample | None) -> str:
        """Return a sample's picture, scaled down, as a data URI; empty if it is not available."""
        if self._benchmark is None or not self._pictures or sample is None:
            return ""
        try:
            small = open_rgb(self._benchmark.image_file(sample))
            small.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
        except OSError as error:
            logger.warning("no picture for %s: %s", sample.sample_id, error)
            return ""
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@cache
def _asked(benchmark: str, pictures: bool) -> _Asked:
    return _Asked(open_if_here(benchmark), pictures)


def _example(
    kind: str,
    verdict: Verdict,
    row: dict[str, Any],
    asked: _Asked,
    absolute_labels: frozenset[str],
) -> Example:
    answer = next((row[name] for name in _ANSWER_FIELDS if row.get(name)), "")
    sample = asked.sample(verdict)
    scenario = verdict.scenario
    absolute = verdict.label in absolute_labels
    expected = expected_outcome(verdict.is_privacy, scenario, absolute=absolute)
    return Example(
        kind=kind,
        sample_id=verdict.sample_id or verdict.benchmark_id,
        label=verdict.label,
        is_privacy=verdict.is_privacy,
        scenario=scenario.id if scenario else "",
        scenario_is_privacy=scenario.is_privacy if scenario else None,
        image_path=verdict.image_path,
        question=sample.question if sample else _text(row.get("question", "")),
        prompt=_text(sample.prompt if sample else row.get("input_question", "")),
        answer=_text(answer),
        outcome=verdict.outcome.value,
        expected=expected.value,
        judge_text=_text(verdict.raw),
        error=_text(cut_paths(verdict.error)),
        picture=asked.picture(sample),
    )


def _text(value: Any) -> str:
    """Return text to show: cut if it is very long, with unencodable characters replaced."""
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " [...]"
