"""Answers through OpenAI's Batch API: what is open is submitted, results become answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from spy_plugin.benchmark.records import Outcome, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.generation.generate import conversations, stored_answer
from spy_plugin.models.base import Model, ModelSetupError
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.runs.answer_file import AnswerFile, settled
from spy_plugin.runs.batches import Batches
from spy_plugin.runs.identity import conditions
from spy_plugin.runs.resumable_file import RefusedStart
from spy_plugin.runs.submitted import batch_file


def batch_model(model: Model) -> OpenAIModel:
    """The model itself.

    Raises:
        ModelSetupError: it is not behind OpenAI's API.
    """
    if not isinstance(model, OpenAIModel):
        raise ModelSetupError(
            f"{model.name} has no batches. Use --backend openai, or leave out --batch."
        )
    return model


class AnswerBatches:
    """What was submitted for one file of answers; results are used under its conditions only.

    Args:
        model: A field that its server refused in an earlier batch is left out of the next.
        file: Open; each action closes it.
    """

    def __init__(self, model: OpenAIModel, file: AnswerFile) -> None:
        self._model, self._file = model, file
        model.learn(a.error for a in file.records.values() if a.outcome is Outcome.FAILED)
        words = json.dumps(conditions(file.run), sort_keys=True)
        self._batches = Batches(
            model,
            file.path,
            asked=model.name,
            fingerprint=hashlib.sha256(words.encode()).hexdigest()[:12],
        )

    def submit(
        self, samples: Iterable[Sample], benchmark: Benchmark, *, image_first: bool = True
    ) -> list[str]:
        """Submit what is not in a batch already; see `Batches.submit`.

        Raises:
            SpyBenchError: as there; a new file is removed if nothing was submitted.
        """
        with self._file as file, RefusedStart(file, batch_file(file.path)):
            asked = conversations(samples, benchmark, image_first=image_first)
            return self._batches.submit(asked)

    def status(self) -> list[str]:
        """One line per batch."""
        with self._file:
            return self._batches.status()

    def collect(self) -> None:
        """Write the results into the file of answers, then forget the batches.

        An answer that the file got in the meantime is kept.

        Raises:
            SpyBenchError: a batch has not ended.
            DataError: the file cannot be written, or another model answered than before.
        """
        with self._file as file:
            for key, reply in self._batches.replies().items():
                if not settled(file.records.get(key)):
                    file.add(stored_answer(reply))
            file.note_decoding(self._model.decoded_with)
        self._batches.forget()
