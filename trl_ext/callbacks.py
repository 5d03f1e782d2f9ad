"""The benchmark inside training: every N steps, answer held-out samples and log what comes out."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback
from trl.models.utils import unwrap_model_for_generation

from spy_plugin.benchmark.protocol import expected_outcome
from spy_plugin.benchmark.records import Outcome, Sample, Verdict, verdict_of
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.data.pictures import open_rgb
from spy_plugin.errors import SpyBenchError
from spy_plugin.judging import Judge, Question, build_judge
from spy_plugin.scoring import metrics
from spy_plugin.scoring.table import tabulate

logger = logging.getLogger(__name__)

MAX_NEW_TOKENS = 512  # the paper's limit

FIGURES = tuple(f"eval_spy_{name}" for name in ("ics", "hms", "privacy_score", "answers", "judged"))
"""What a scoring may give; a figure whose denominator is empty is left out."""


class ScoreCallback(TrainerCallback):
    """Score the model on samples of a benchmark before, during and at the end of training.

    Logs `eval_spy_ics` (without scenario), `eval_spy_hms`, `eval_spy_privacy_score` (percent),
    `eval_spy_answers` (of the answers that the user allows, outside a scenario, the share that
    holds what the picture shows, where the data say what that is), `eval_spy_judged` (share of the
    answers that the judge understood) and `eval_spy_examples` (a table in Markdown) to every
    tracker of `report_to`. Answers are greedy, spread over all processes, and judged by rules:
    figures for watching a run, not for reporting. With `metric_for_best_model="eval_spy_..."` every
    evaluation scores, too, and hands its figures to `Trainer`.

    Args:
        trainer: A TRL trainer; add the callback to it with `add_callback`.
        benchmark: What to ask. Its pictures should not be among the training ones.
        steps: Score every `steps` optimizer steps.
        items: Number of items to ask, chosen once, each in all its samples.
        distractors: Whether prompts name the item's other labels, as in training.
        examples: Number of answers in the table.
        max_new_tokens: Limit of an answer.
        judge: Judge of the answers; the rules by default.
    """

    def __init__(
        self,
        trainer: Any,
        benchmark: Benchmark,
        *,
        steps: int,
        items: int = 8,
        distractors: bool = True,
        examples: int = 5,
        max_new_tokens: int = MAX_NEW_TOKENS,
        judge: Judge | None = None,
    ) -> None:
        for name, value in {"steps": steps, "items": items}.items():
            if value < 1:
                raise SpyBenchError(f"{name} is {value}. Give a number of at least 1.")
        self.trainer = trainer
        self.steps = steps
        self.examples = examples
        self.max_new_tokens = max_new_tokens
        chosen = random.Random(0).sample(benchmark.items, min(items, len(benchmark.items)))
        self.benchmark = replace(benchmark, items=tuple(chosen))
        self.samples = tuple(self.benchmark.samples(distractors=distractors))
        self.judge = judge or build_judge("rules", benchmark.protocol)
        self._scored: tuple[int, dict[str, float]] | None = None  # step, figures

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self._score(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # The trackers close before `on_train_end`, so the last score comes here.
        if state.global_step % self.steps == 0 or state.global_step >= state.max_steps:
            self._score(state, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # `Trainer` looks for its best model in the metrics of an evaluation.
        wanted = f"eval_{(args.metric_for_best_model or '').removeprefix('eval_')}"
        if wanted.startswith("eval_spy_"):
            if self._scored is None or self._scored[0] != state.global_step:
                self._score(state, control)
            figures = cast(tuple[int, dict[str, float]], self._scored)[1]
            if wanted in FIGURES and wanted not in figures:
                logger.warning(
                    "%s has no value at step %d: the judge understood too few answers. This model "
                    "is not taken for the best.",
                    *(wanted, state.global_step),
                )
                figures = {**figures, wanted: nan}  # which is neither above nor below a score
            kwargs["metrics"].update(figures)

    def _score(self, state: Any, control: Any) -> None:
        answers = self.answer(self.samples)
        verdicts = self._judge(answers)
        model = self.trainer.model
        training, should_log = model.training, control.should_log
        # TRL's `log` empties the metrics of the mode that the model is in, and the training ones
        # are not to be emptied in the middle of a logging interval.
        model.eval()
        figures = self._figures(verdicts) | self._answers(answers)
        self._scored = state.global_step, figures
        self.trainer.log(dict(figures))
        model.train(training)
        table = {"eval_spy_examples": self._table(answers, verdicts)}
        self.trainer.callback_handler.on_log(self.trainer.args, state, control, table)
        control.should_log = should_log  # logging takes back that the trainer itself is to log

    def answer(self, samples: Sequence[Sample]) -> list[str]:
        """Return the model's answers, on every process; each process generates a share of them."""
        accelerator = self.trainer.accelerator
        size = self.trainer.args.per_device_eval_batch_size
        rank, processes = accelerator.process_index, accelerator.num_processes
        # Where parameters are sharded, processes must call the model equally often: those that
        # run out of samples answer the last one again.
        share = -(-len(samples) // processes)
        mine = [min(rank + processes * i, len(samples) - 1) for i in range(share)]
        found: list[tuple[int, str]] = []
        wrapped = self.trainer.model_wrapped
        training = self.trainer.model.training
        wrapped.eval()
        with (
            torch.no_grad(),
            unwrap_model_for_generation(wrapped, accelerator) as model,
            accelerator.autocast(),
        ):
            for start in range(0, share, size):
                indices = mine[start : start + size]
                texts = self._generate(model, [samples[i] for i in indices])
                found += zip(indices, texts, strict=True)
        wrapped.train(training)
        answers = dict(gather_object(found))
        return [answers[index] for index in range(len(samples))]

    def _generate(self, model: Any, samples: Sequence[Sample]) -> list[str]:
        processor = self.trainer.processing_class
        prompts = [
            processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, _text(sample.prompt)]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for sample in samples
        ]
        inputs = processor(
            images=[[open_rgb(self.benchmark.image_file(sample))] for sample in samples],
            text=prompts,
            padding=True,
            padding_side="left",
            add_special_tokens=False,  # the chat template has put them
            return_tensors="pt",
        ).to(self.trainer.accelerator.device)
        output = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=self.max_new_tokens,
            pad_token_id=processor.tokenizer.pad_token_id,
        )
        answers = output[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in processor.batch_decode(answers, skip_special_tokens=True)]

    def _judge(self, answers: Sequence[str]) -> list[Verdict]:
        questions = [
            Question(sample.label, sample.label_words, sample.question, answer)
            for sample, answer in zip(self.samples, answers, strict=True)
        ]
        judgements = dict(self.judge.ask(questions))
        return [
            verdict_of(
                sample, judgements[index].outcome, judge=self.judge.name, raw=judgements[index].raw
            )
            for index, sample in enumerate(self.samples)
        ]

    def _figures(self, verdicts: Sequence[Verdict]) -> dict[str, float]:
        """Return figures for the log; a figure with an empty denominator is left out."""
        table = tabulate(
            verdicts,
            absolute_labels=self.benchmark.protocol.absolute_labels,
            known_labels=self.benchmark.label_words,
        )
        block = metrics.compute(table)["metrics"]
        ics, hms = block[metrics.ICS]["score"], block[metrics.HMS]
        scores = {
            "eval_spy_ics": ics,
            "eval_spy_hms": hms,
            "eval_spy_privacy_score": metrics.privacy_score(ics, hms),
            "eval_spy_judged": metrics.percent(len(verdicts) - block["exception"], len(verdicts)),
        }
        return {name: value for name, value in scores.items() if value != "N/A"}

    def _answers(self, answers: Sequence[str]) -> dict[str, float]:
        absolute = self.benchmark.protocol.absolute_labels
        told = [
            sample.gt.lower() in answer.lower()
            for sample, answer in zip(self.samples, answers, strict=True)
            if sample.gt
            and sample.scenario is None
            and expected_outcome(sample.is_privacy, None, absolute=sample.label in absolute)
            is Outcome.RESPOND
        ]
        return {"eval_spy_answers": 100 * sum(told) / len(told)} if told else {}

    def _table(self, answers: Sequence[str], verdicts: Sequence[Verdict]) -> str:
        lines = ["| asked as | question | answer | verdict |", "|---|---|---|---|"]
        for sample, answer, verdict in list(zip(self.samples, answers, verdicts, strict=True))[
            : self.examples
        ]:
            side = "private" if sample.is_privacy else "public"
            where = f"{side}, {sample.scenario.id}" if sample.scenario else side
            cells = (where, sample.question, answer, verdict.outcome.value)
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
        return "\n".join(lines)


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _cell(text: str) -> str:
    """Escape text so that it cannot leave its table cell."""
    return " ".join(text.replace("|", "\\|").split())
