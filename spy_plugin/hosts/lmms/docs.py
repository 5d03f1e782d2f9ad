"""Samples as lmms-eval's documents, and documents as prompts and messages.

The task files name these functions. A document holds the task's name, the sample's id, the whole
prompt and the picture's absolute path; everything else is looked up by id.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.protocol import SELF_MODERATION_TURNS
from spy_plugin.data.pictures import open_rgb
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.lmms.judging import check_judge
from spy_plugin.hosts.lmms.samples import TASKS, benchmark_of, samples_of
from spy_plugin.models.thoughts import split_thoughts

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image

Doc = dict[str, Any]
Messages = list[dict[str, Any]]


def __getattr__(name: str) -> Callable[[Dataset], Dataset]:
    """Return `process_docs` of the task ``spy_bench_NAME``; it ignores the host's stub."""
    task = f"spy_bench_{name}"
    if task not in TASKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(_documents, task)


def _documents(task: str, _: Dataset) -> Dataset:
    """Return the data set of a task, after checking what a whole run needs.

    Raises:
        SystemExit: data are missing, or the judge cannot be built. The host would retry after any
            other exception for eight seconds and then exit with 0.
    """
    from datasets import Dataset

    try:
        benchmark = benchmark_of(task)
        rows = [
            {
                "task": task,
                "sample_id": sample.sample_id,
                "prompt": sample.prompt,
                "image": str(benchmark.image_file(sample).absolute()),
            }
            for sample in samples_of(task).values()
        ]
        check_judge(task)
    except SpyBenchError as error:
        raise SystemExit(f"spy-bench: error: {error}") from error
    return Dataset.from_list(rows)


def text(doc: Doc, *_: Any, **__: Any) -> str:
    """Return the whole prompt; the host's further arguments make no difference."""
    return str(doc["prompt"])


def target(doc: Doc) -> str:
    """Return what the picture shows, for the host's sample log; no figure uses it."""
    return samples_of(doc["task"])[doc["sample_id"]].gt


def visual(doc: Doc) -> list[Image]:
    """Return the picture, opened."""
    return [open_rgb(Path(doc["image"]))]


def messages(doc: Doc) -> Messages:
    """Return one user message: the picture, then the prompt; there is no system message."""
    return [
        {
            "role": "user",
            "content": [{"type": "image", "url": visual(doc)[0]}, _text_part(doc["prompt"])],
        }
    ]


def rounds(
    doc: Doc,
    round_idx: int | None = None,
    previous_output: list[str] | None = None,
    previous_round_info: Any = None,
) -> Messages | tuple[Messages | None, bool, list[str], Any]:
    """Return the conversation of a round of self-moderation, in the form that the backends expect.

    Without `round_idx`, return the messages of the first round; with it, a tuple (messages, whether
    there are no more rounds, answers so far, information for the next round).
    """
    opening = messages(doc)
    if round_idx is None:
        return opening
    answers = list(previous_output or [])
    if round_idx >= SELF_MODERATION_TURNS:
        return None, True, answers, previous_round_info
    protocol = benchmark_of(doc["task"]).protocol
    questions = protocol.self_moderation_turns(doc["prompt"])
    for answer, question in zip(answers, questions, strict=False):
        said, _ = split_thoughts(answer)
        opening.append({"role": "assistant", "content": [_text_part(said)]})
        opening.append({"role": "user", "content": [_text_part(question)]})
    return opening, False, answers, previous_round_info


def _text_part(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}
