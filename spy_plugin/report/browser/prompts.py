"""What was asked, in chunks: the prompt, its asked line, and what the picture shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.official_files import OFFICIAL_SCRIPTS
from spy_plugin.benchmark.samples import DISTRACTORS, Benchmark, Item, expand
from spy_plugin.report.browser.columns import CHUNK, Samples, cases
from spy_plugin.report.browser.lines import LineFile
from spy_plugin.report.browser.scripts import columns_of, write_script
from spy_plugin.report.model import Condition
from spy_plugin.report.opened import open_if_here
from spy_plugin.scoring.table import Bools, Ints

Record = dict[str, Any]


@dataclass(frozen=True)
class PromptSet:
    """The prompts of runs that were asked the same.

    Attributes:
        wanted: Whether any of the runs has a sample: (n,).
        verdicts: The file of one of these runs; those of the official scripts hold the prompts.
        lines: Line of each sample in it; 0 for none.
    """

    about: Condition
    wanted: Bools
    verdicts: Path
    lines: Ints


def write_prompts(number: int, asked: PromptSet, samples: Samples, folder: Path) -> bool:
    """Write a set's prompts, one chunk in memory at a time; return whether any are known."""
    if asked.about.benchmark == OFFICIAL_SCRIPTS:
        records = _of_official_rows(asked)
    elif (benchmark := open_if_here(asked.about.benchmark)) is not None:
        records = _of_benchmark(benchmark, asked, samples)
    else:
        return False
    known, chunk = False, 0
    held: list[Record | None] = []
    for place, record in enumerate(records, 1):
        known = known or record is not None
        held.append(record)
        if place % CHUNK == 0 or place == len(samples):
            write_script(folder, f"prompts-{number}-{chunk}", columns_of(held))
            held, chunk = [], chunk + 1
    return known


def _of_benchmark(
    benchmark: Benchmark, asked: PromptSet, samples: Samples
) -> Iterator[Record | None]:
    """Yield each sample's record, item by item, as the samples are sorted."""
    items = {item.benchmark_id: item for item in benchmark.items}
    distractors = asked.about.variant == DISTRACTORS
    told = cases()
    code = -1
    prompts: Mapping[tuple[str, int, str, str], Record] = {}
    rows = (samples.item, samples.case, samples.scenario, samples.image, asked.wanted)
    for item, case, scenario, image, wanted in zip(*(c.tolist() for c in rows), strict=True):
        if item != code:
            found = items.get(samples.items[item])
            code, prompts = item, _prompts(found, benchmark, distractors) if found else {}
        name = samples.scenarios[scenario - 1] if scenario else ""
        key = (samples.images[image], told[case]["private"], told[case]["role"], name)
        yield prompts.get(key) if wanted else None


def _prompts(
    item: Item, benchmark: Benchmark, distractors: bool
) -> Mapping[tuple[str, int, str, str], Record]:
    if distractors not in benchmark.variants:
        return {}
    words, templates = benchmark.label_words, benchmark.protocol.instruct_templates
    line = _asked_line([name for name, _ in item.other_labels] if distractors else [], item.label)
    found = {}
    for sample in expand(item, words, templates, distractors=distractors):
        role = sample.scenario
        kind = "" if role is None else "non-conflict" if role.is_privacy else "conflict"
        key = (sample.image_path, sample.is_privacy, kind, role.id if role else "")
        found[key] = {"prompt": sample.prompt, "asked": line, "gt": sample.gt}
    return found


def _of_official_rows(asked: PromptSet) -> Iterator[Record | None]:
    """Yield each sample's record from the rows of the official scripts, which hold the prompt."""
    with LineFile(asked.verdicts) as rows:
        for line in asked.lines.tolist():
            row = rows.row(line) if line else {}
            prompt = row.get("input_question") or row.get("question")
            others = row.get("other_labels")
            names = list(others) if isinstance(others, Mapping) else []
            place = _asked_line(names, str(row.get("label", "")))
            whole = bool(row.get("input_question"))
            yield (
                {"prompt": str(prompt), "asked": place if whole else -1}
                | {"gt": str(row.get("ref_answer") or "")}
                if prompt
                else None
            )


def _asked_line(others: Sequence[str], label: str) -> int:
    """Return which instruction line is the asked label's: at its own place, or appended last."""
    return others.index(label) if label in others else len(others)
