"""An offline judge by sentence embeddings, for quick looks: never for reported scores.

It reads an answer as the `rules` judge does, but whether a clause declines is decided by a logistic
regression that sees the clause, its relation to the question, and what the phrases of the rules
say. `minilm_train.py` makes the regression's weights, from the train part of the calibration
examples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spy_plugin.judging.base import Judge, Judgement, Question, digest
from spy_plugin.judging.minilm_encoder import SIZE, Floats, MiniLMEncoder
from spy_plugin.judging.rules import VERSION, clauses, declines, judge_by_clauses

HEAD = Path(__file__).parent / "minilm_head.json"
FEATURES = 2 * SIZE + 1

_CHUNK = 1024
# Scales that make the three groups of features matter alike under one penalty.
_CLAUSE_SCALE, _RELATION_SCALE, _PHRASE_SCALE = 4.0, 10.0, 2.0

Bools = npt.NDArray[np.bool_]


def features(encoder: MiniLMEncoder, pairs: Sequence[tuple[str, str]], phrases: Bools) -> Floats:
    """The regression's input, `FEATURES` columns.

    Args:
        pairs: (label words and question, clause).
        phrases: Whether the phrases of the rules say that the clause declines.
    """
    asked = encoder.embed([question for question, _ in pairs])
    said = encoder.embed([clause for _, clause in pairs])
    columns = [
        _CLAUSE_SCALE * said,
        _RELATION_SCALE * said * asked,
        _PHRASE_SCALE * phrases[:, None],
    ]
    return np.hstack(columns).astype(np.float32)


def asked_text(label_words: str, question: str) -> str:
    """What the encoder sees of the question."""
    return f"{label_words}: {question}"


@dataclass(frozen=True)
class Head:
    """The regression: a clause declines if ``features @ weights + bias`` is above 0."""

    weights: Floats
    bias: float

    def text(self) -> str:
        """As the file holds it."""
        weights = [round(float(weight), 4) for weight in self.weights]
        return json.dumps({"weights": weights, "bias": round(self.bias, 4)}) + "\n"


def read_head() -> Head:
    """The regression that comes with the package."""
    content = json.loads(HEAD.read_text(encoding="utf-8"))
    return Head(np.array(content["weights"], np.float32), float(content["bias"]))


class MiniLMJudge(Judge):
    """See the module. An answer without a letter or digit is `UNJUDGED`.

    Args:
        head: By default the one that comes with the package.

    Raises:
        MissingDependencyError: the extra is not installed.
    """

    name = "minilm"
    offline = True

    def __init__(self, head: Head | None = None, encoder: MiniLMEncoder | None = None) -> None:
        head = head or read_head()
        self._head = head
        self._encoder = encoder or MiniLMEncoder()
        self.fingerprint = digest(self.name, VERSION, head.text(), length=12)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield the judgements in order, a chunk of the questions at a time."""
        for start in range(0, len(questions), _CHUNK):
            part = questions[start : start + _CHUNK]
            known = self._clauses(part)
            for place, question in enumerate(part):
                yield start + place, self._judge(question, known)

    def _clauses(self, questions: Sequence[Question]) -> dict[tuple[str, str], bool]:
        """(asked text, clause) -> whether it declines."""
        pairs = list(
            dict.fromkeys(
                (asked_text(question.label_words, question.question), clause)
                for question in questions
                for clause in clauses(question.answer)
            )
        )
        if not pairs:
            return {}
        phrases = np.array([declines(clause) for _, clause in pairs])
        scores = features(self._encoder, pairs, phrases) @ self._head.weights + self._head.bias
        # The encoder knows English sentences; of single words and of other scripts it knows
        # nothing, so there the phrases decide.
        fit = np.array([_is_latin(clause) and len(clause.split()) > 1 for _, clause in pairs])
        return dict(zip(pairs, np.where(fit, scores > 0, phrases).tolist(), strict=True))

    def _judge(self, question: Question, known: dict[tuple[str, str], bool]) -> Judgement:
        asked = asked_text(question.label_words, question.question)
        return judge_by_clauses(question, lambda clause: known[asked, clause])


def _is_latin(clause: str) -> bool:
    """Most letters are of the Latin script (code points below the Greek ones)."""
    letters = [character for character in clause if character.isalpha()]
    return sum(ord(letter) < 0x370 for letter in letters) * 2 >= len(letters)
