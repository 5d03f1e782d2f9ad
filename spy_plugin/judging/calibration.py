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
from typing import TYPE_CHECKING, Literal

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError
from spy_plugin.files.home import home
from spy_plugin.files.json import checked, read_json
from spy_plugin.files.jsonl import read_jsonl
from spy_plugin.files.writing import write_atomically
from spy_plugin.judging.base import Judge, Question
from spy_plugin.runs.metadata import Calibration

if TYPE_CHECKING:
    from spy_plugin.scoring.agreement import Agreement
    from spy_plugin.scoring.judge_errors import JudgeErrors

Part = Literal["train", "blind"]

_FOLDER = Path(__file__).parent
_SHIPPED_SCORES = _FOLDER / "calibration_scores.json"
_GOLD = "{} on the user's examples"
"""Key of a score on a user's own examples, beside that on the blind part."""


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
    """Return the examples of one part, in their order.

    Raises:
        DataError: a line is not an example.
    """
    return _read_examples(_FOLDER / f"calibration_{part}.jsonl", "Install the package again.")


def read_gold(path: Path) -> list[Example]:
    """Read a user's own labelled examples.

    Args:
        path: One JSON object per line with `label_text`, `question`, `answer` and `verdict`
            (``respond``, ``reject`` or ``unjudged``); `kind` and `id` may be added.

    Raises:
        DataError: the file is missing or empty, or a line is not an example; names file and line.
    """
    remedy = "Each line needs label_text, question, answer and verdict (respond or reject)."
    examples = _read_examples(path, remedy)
    if not examples:
        raise DataError("holds no examples", remedy, path=path)
    return examples


@dataclass(frozen=True)
class _Line:
    """A labelled example as files hold it."""

    label_text: str
    question: str
    answer: str
    verdict: Literal["respond", "reject", "unjudged"]
    label: str = ""
    kind: str = "plain"
    id: str = ""


def _read_examples(path: Path, remedy: str) -> list[Example]:
    from pydantic import TypeAdapter

    adapter: TypeAdapter[_Line] = TypeAdapter(_Line)
    examples = []
    for number, row in read_jsonl(path):
        where = f"line {number}"
        line = checked(adapter.validate_python, row, remedy, path=path, where=where)
        question = Question(line.label, line.label_text, line.question, line.answer)
        outcome = Outcome(line.verdict)
        examples.append(Example(line.id or where, question, outcome, line.kind))
    return examples


@dataclass(frozen=True)
class Check:
    """A judge measured on examples.

    Attributes:
        examples: Name of the examples: a part, or the name of a user's file.
        outcomes: What it said of each example.
        by_kind: Kind of example -> (right, all).
    """

    judge: str
    fingerprint: str
    examples: str
    agreement: Agreement
    outcomes: list[Outcome]
    by_kind: dict[str, tuple[int, int]]

    @property
    def right(self) -> int:
        """Number of examples that were judged as they should be."""
        return sum(count for (a, b), count in self.agreement.table.items() if a is b)

    @property
    def errors(self) -> JudgeErrors:
        """How many of the examples that respond, and that reject, got the other verdict."""
        from spy_plugin.scoring.judge_errors import JudgeErrors

        def wrong(true: Outcome, said: Outcome) -> tuple[int, int]:
            table = self.agreement.table
            missed = table.get((true, said), 0)
            return missed, missed + table.get((true, true), 0)

        return JudgeErrors(
            respond=wrong(Outcome.RESPOND, Outcome.REJECT),
            reject=wrong(Outcome.REJECT, Outcome.RESPOND),
        )


def check(judge: Judge, examples: Sequence[Example], name: str) -> Check:
    """Let a judge judge the examples; see `scoring.agreement` for what a failed request means.

    Args:
        name: What the examples are called in reports.
    """
    # Here, since it brings numpy, without which hosts start faster.
    from spy_plugin.scoring.agreement import agreement

    found = outcomes_of(judge, [example.question for example in examples])
    right: dict[str, list[bool]] = defaultdict(list)
    for example, outcome in zip(examples, found, strict=True):
        right[example.kind].append(outcome is example.verdict)
    by_kind = {kind: (sum(hits), len(hits)) for kind, hits in sorted(right.items())}
    agreed = agreement([example.verdict for example in examples], found)
    return Check(judge.name, judge.fingerprint, name, agreed, found, by_kind)


def outcomes_of(judge: Judge, questions: Sequence[Question]) -> list[Outcome]:
    """Return what a judge says of each question; `FAILED` where it said nothing."""
    found = dict(judge.ask(questions))
    return [
        found[index].outcome if index in found else Outcome.FAILED
        for index in range(len(questions))
    ]


def keep_score(result: Check) -> Path:
    """Remember a judge's score, so that reports can name it.

    Raises:
        DataError: nothing was judged.
        OSError: the file of scores cannot be written.
    """
    path = home() / "calibration-scores.json"
    key = result.fingerprint if result.examples == "blind" else _GOLD.format(result.fingerprint)
    scores = _scores(path) | {key: score_of(result)}
    write_atomically(path, json.dumps(scores, indent=1, sort_keys=True) + "\n")
    return path


def calibration_score(judge_fingerprint: str) -> Calibration | None:
    """Return what is known of a judge, as `score_of` gives it; None if it was not measured.

    Known are the offline judges of this version, and what `judge-check` measured on this machine:
    on a user's own examples, if there are any, else on the blind part.
    """
    known = _scores(_SHIPPED_SCORES) | _scores(home() / "calibration-scores.json")
    return known.get(_GOLD.format(judge_fingerprint)) or known.get(judge_fingerprint)


def score_of(result: Check) -> Calibration:
    """Return a judge's score as plain JSON.

    ``accuracy`` is a share of the ``n`` examples that were judged, with the interval ``low`` to
    ``high``; ``respond`` and ``reject`` are [wrong, judged] of the examples with that verdict.

    Raises:
        DataError: nothing was judged.
    """
    from spy_plugin.scoring.judge_errors import wilson

    found = result.agreement
    if found.observed is None:
        raise DataError("nothing was judged", "See the judge's errors.", where=result.judge)
    low, high = wilson(result.right, found.n)
    return {
        "judge": result.judge,
        "examples": result.examples,
        "accuracy": round(found.observed, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "kappa": None if found.kappa is None else round(found.kappa, 4),
        "n": found.n,
        "respond": result.errors.respond,
        "reject": result.errors.reject,
    }


def _scores(path: Path) -> dict[str, Calibration]:
    if not path.exists():
        return {}
    from pydantic import TypeAdapter

    scores = TypeAdapter(dict[str, Calibration])
    return checked(scores.validate_python, read_json(path, "Delete it."), "Delete it.", path=path)
