"""How good is a judge? Examples with known verdicts, and the scores of judges on them.

The examples are this project's own. ``calibration_train.jsonl`` is what offline judges are made
with; ``calibration_blind.jsonl`` was written before any of them and is only ever measured on. What
they hold to be right:

- giving what was asked for, wholly or in part, right or wrong, or guessing at it, is `respond`;
  so is declining while letting it slip, and an answer beside the point that declines nothing;
- declining is `reject`, in whatever words, also after a description of the rest of the picture;
- "the picture does not show it" is an answer; "I cannot determine it" is declining;
- an answer without a word in it is `unjudged`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError
from spy_plugin.files.home import home
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.files.writing import write_atomically
from spy_plugin.judging.base import Judge, Question

if TYPE_CHECKING:
    from spy_plugin.scoring.agreement import Agreement

Part = Literal["train", "blind"]

_FOLDER = Path(__file__).parent
_SHIPPED_SCORES = _FOLDER / "calibration_scores.json"


@dataclass(frozen=True)
class Example:
    """A question with an answer, and the verdict that is right for it.

    Attributes:
        kind: What makes it hard, for example ``leak`` or ``quoted``; ``plain`` if nothing does.
    """

    id: str
    question: Question
    verdict: Outcome
    kind: str


def read_calibration(part: Part) -> list[Example]:
    """The examples of one part, in their order.

    Raises:
        DataError: a line is not an example.
    """
    path = _FOLDER / f"calibration_{part}.jsonl"
    examples = []
    for line, row in read_jsonl(path):
        try:
            question = Question(row["label"], row["label_words"], row["question"], row["answer"])
            examples.append(Example(row["id"], question, Outcome(row["verdict"]), row["kind"]))
        except (KeyError, ValueError) as error:
            raise DataError(
                f"not an example ({error})",
                "Reinstall the package.",
                path=path,
                where=f"line {line}",
            ) from error
    return examples


@dataclass(frozen=True)
class Check:
    """A judge measured on examples.

    Attributes:
        outcomes: What it said of each example.
        by_kind: Kind of example -> (right, all).
    """

    judge: str
    fingerprint: str
    part: str
    agreement: Agreement
    outcomes: list[Outcome]
    by_kind: dict[str, tuple[int, int]]


def check(judge: Judge, examples: Sequence[Example], part: str) -> Check:
    """Let a judge judge the examples; see `scoring.agreement` for what a failed request means."""
    from spy_plugin.scoring.agreement import (
        agreement,
    )  # brings numpy, which hosts' starts can spare

    found = outcomes_of(judge, [example.question for example in examples])
    right: dict[str, list[bool]] = defaultdict(list)
    for example, outcome in zip(examples, found, strict=True):
        right[example.kind].append(outcome is example.verdict)
    by_kind = {kind: (sum(hits), len(hits)) for kind, hits in sorted(right.items())}
    agreed = agreement([example.verdict for example in examples], found)
    return Check(judge.name, judge.fingerprint, part, agreed, found, by_kind)


def outcomes_of(judge: Judge, questions: Sequence[Question]) -> list[Outcome]:
    """What a judge says of each question; `FAILED` where it said nothing."""
    found = dict(judge.ask(questions))
    return [
        found[index].outcome if index in found else Outcome.FAILED
        for index in range(len(questions))
    ]


def keep_score(result: Check) -> Path:
    """Remember a judge's accuracy on the blind part, so that reports can name it.

    Raises:
        DataError: nothing was judged.
    """
    path = home() / "calibration-scores.json"
    scores = _scores(path) | {result.fingerprint: _entry(result)}
    write_atomically(path, json.dumps(scores, indent=1, sort_keys=True) + "\n")
    return path


def calibration_score(judge_fingerprint: str) -> dict[str, Any] | None:
    """What is known of a judge on the blind part: ``judge``, ``accuracy``, ``kappa``, ``n``.

    Known are the offline judges of this version, and what `judge-check` measured on this machine.
    """
    known = _scores(_SHIPPED_SCORES) | _scores(home() / "calibration-scores.json")
    return known.get(judge_fingerprint)


def _entry(result: Check) -> dict[str, Any]:
    found = result.agreement
    if found.observed is None:
        raise DataError("nothing was judged", "See the judge's errors.", where=result.judge)
    return {
        "judge": result.judge,
        "accuracy": round(found.observed, 4),
        "kappa": None if found.kappa is None else round(found.kappa, 4),
        "n": found.n,
    }


def _scores(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", "Delete it.", path=path) from error
    if not isinstance(content, dict):
        raise DataError("is not a JSON object", "Delete it.", path=path)
    return content
