"""Turn the measurements of `generate.py` into JSON and a Markdown page."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.generate_vlmevalkit import SAMPLES, storable
from benchmarks.generate_workload import Sample

Found = dict[str, Any]


@dataclass
class Timing:
    """Seconds of each round, and the answers of the last round."""

    seconds: list[float]
    answers: dict[str, str]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def summary(samples: list[Sample], timings: Mapping[str, Timing], same_prompt: set[str]) -> Found:
    """Seconds, ratios to our way, and whether equal prompts got equal answers.

    Args:
        same_prompt: The ways that send the same prompts as ours.
    """
    ours = timings["ours"]
    ways: Found = {}
    for name, timing in timings.items():
        row: Found = {
            "seconds": [round(value, 1) for value in timing.seconds],
            "times ours": round(timing.median / ours.median, 2),
        }
        if name in same_prompt:
            same = sum(ours.answers[key] == text for key, text in timing.answers.items())
            row["same answers"] = f"{same} of {len(samples)}"
        ways[name] = row
    return {"samples": len(samples), "ways": ways}


def against_vlmevalkit(loop: Found, samples: list[Sample], ours: Timing) -> Found:
    """Seconds per sample of VLMEvalKit's loop and of our way."""
    if "skipped" in loop:
        return loop
    own = ours.median / len(samples)
    answers = loop["answers"]
    same = sum(storable(text) == storable(ours.answers[key]) for key, text in answers.items())
    return {
        "samples": SAMPLES,
        "seconds, by round": [round(value, 1) for value in loop["seconds"]],
        "seconds a sample": round(loop["seconds a sample"], 3),
        "ours, seconds a sample": round(own, 3),
        "times ours": round(loop["seconds a sample"] / own, 2),
        "same answers": f"{same} of {len(answers)}",
    }


def page(found: Found) -> str:
    """Render the measurements as Markdown."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Found) -> Iterator[str]:
    yield f"{found['machine']}. Runs alternate; ratios are those of medians."
    for name, part in found["settings"].items():
        yield f"\n## {name.capitalize()}\n"
        yield f"At most {part['tokens']} tokens; engine {part['engine']}."
        yield f"Lengths of the first corpus: {part['answers']}."
        yield f"Load {part['load before']:.1f} before, {part['load after']:.1f} after."
        for corpus, rows in part["corpora"].items():
            yield f"\n{corpus} ({rows['samples']} samples)\n"
            yield "| way | seconds, by round | times ours | same answers as ours |"
            yield "|---|---|---|---|"
            for way, row in rows["ways"].items():
                same = row.get("same answers", "another prompt")
                yield f"| {way} | {row['seconds']} | {row['times ours']} | {same} |"
        yield f"\nVLMEvalKit's loop, one prompt after the other: {part['vlmevalkit']}"
    yield f"\nAppending an answer: {found['append']}"
