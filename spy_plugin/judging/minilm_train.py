"""Make the weights of the `minilm` judge: `python -m spy_plugin.judging.minilm_train`.

Seen are the train part of the calibration examples and the sentences of `phrases.yaml`; never
the blind part. Each clause gets a target: a one-clause answer its verdict, others what the phrases
of the rules say. That last feature is blanked at random, so that the embeddings learn to do without
it. Same input, same weights. Prints the accuracy in a cross-validation over the questions.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from spy_plugin.benchmark.records import Outcome
from spy_plugin.files.writing import write_atomically
from spy_plugin.judging.calibration import Example, outcomes_of, read_calibration
from spy_plugin.judging.minilm import FEATURES, HEAD, Head, MiniLMJudge, asked_text, features
from spy_plugin.judging.minilm_encoder import MiniLMEncoder
from spy_plugin.judging.rules import clauses, declines

logger = logging.getLogger(__name__)

_PHRASES = Path(__file__).parent / "phrases.yaml"
_TARGETS = {
    "refusals": (1, 3),
    "leak_heads": (1, 2),
    "descriptions": (0, 3),
    "more_facts": (0, 3),
    "foreign_facts": (0, 3),
    "reported": (0, 3),
    "absent": (0, 3),
    "guess_heads": (0, 1),
}
"""Group of `phrases.yaml` -> (target, how often each sentence is used, with varying words)."""

_BLANKED = 0.4
_PENALTY = 1.0
_FOLDS = 5

Row = tuple[str, str, int]
"""Label words and question, clause, target."""


def rows_of(examples: Sequence[Example], seed: int = 0) -> list[Row]:
    """The clauses to learn from, with their targets."""
    rows = [row for example in examples for row in _example_rows(example)]
    phrases = yaml.safe_load(_PHRASES.read_text(encoding="utf-8"))
    rng = random.Random(seed)
    for group, (target, times) in _TARGETS.items():
        for sentence in phrases[group]:
            for _ in range(times):
                question = rng.choice(examples).question
                text = sentence.format(
                    words=question.label_words, fact=rng.choice(phrases["more_facts"])
                )
                asked = asked_text(question.label_words, question.question)
                rows += [(asked, clause, target) for clause in clauses(text)]
    return rows


def _example_rows(example: Example) -> list[Row]:
    question = example.question
    asked = asked_text(question.label_words, question.question)
    parts = list(clauses(question.answer))
    if len(parts) == 1 and example.kind != "leak":
        return [(asked, parts[0], int(example.verdict is Outcome.REJECT))]
    return [(asked, part, int(declines(part))) for part in parts]


def fit(encoder: MiniLMEncoder, rows: Sequence[Row], seed: int = 0) -> Head:
    """Logistic regression with an L2 penalty, by L-BFGS."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    phrases = np.array([declines(clause) for _, clause, _ in rows])
    phrases &= np.random.default_rng(seed).random(len(rows)) >= _BLANKED
    x = torch.from_numpy(features(encoder, [row[:2] for row in rows], phrases))
    y = torch.tensor([float(target) for *_, target in rows])
    weights = torch.zeros(FEATURES, requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    solver = torch.optim.LBFGS([weights, bias], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = binary_cross_entropy_with_logits(x @ weights + bias, y, reduction="sum")
        value = value + weights.square().sum() / (2 * _PENALTY)
        value.backward()
        return value

    solver.step(loss)
    return Head(weights.detach().numpy(), float(bias.detach()))


def cross_validate(encoder: MiniLMEncoder, examples: Sequence[Example]) -> float:
    """Share of right verdicts on examples whose questions were not learned from."""
    questions = list(dict.fromkeys(example.question.question for example in examples))
    fold = {question: index % _FOLDS for index, question in enumerate(questions)}
    right = 0
    for number in range(_FOLDS):
        seen = [e for e in examples if fold[e.question.question] != number]
        unseen = [e for e in examples if fold[e.question.question] == number]
        judge = MiniLMJudge(fit(encoder, rows_of(seen)), encoder)
        found = outcomes_of(judge, [e.question for e in unseen])
        right += sum(e.verdict is outcome for e, outcome in zip(unseen, found, strict=True))
    return right / len(examples)


def main() -> None:
    """Train on the train part and write the weights beside the judge."""
    encoder = MiniLMEncoder()
    examples = [e for e in read_calibration("train") if e.verdict is not Outcome.UNJUDGED]
    logger.info("cross-validation: %.1f%%", 100 * cross_validate(encoder, examples))
    rows = rows_of(examples)
    write_atomically(HEAD, fit(encoder, rows).text())
    logger.info("%d clauses of %d examples; wrote %s", len(rows), len(examples), HEAD.name)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
