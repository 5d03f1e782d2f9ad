"""Samples as lmms-eval's documents, and documents as prompts and messages.

The task files name these functions. A document holds the task's name, the sample's id, the whole
prompt and the picture's absolute path; the rest is looked up by id.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.protocol import SELF_MODERATION_TURNS
from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import check_images, open_rgb
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.lmms.variants import TASKS

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image

Doc = dict[str, Any]
Messages = list[dict[str, Any]]


@cache
def benchmark_of(name: str) -> Benchmark:
    """Open a benchmark once in a process, with its pictures checked."""
    benchmark = open_benchmark(name)
    check_images(benchmark)
    return benchmark


@cache
def samples_of(task: str) -> dict[str, Sample]:
    """The samples of a task by id, in protocol order."""
    variant = TASKS[task]
    samples = benchmark_of(variant.benchmark).samples(distractors=variant.distractors)
    return {sample.sample_id: sample for sample in samples}


def _documents(task: str) -> Dataset:
    """The host's data set of a task; whatever is missing for a whole run is said now.

    Raises:
        SystemExit: data are missing or no judge can be had. The host would retry any other
            exception for eight seconds and then exit with 0.
    """
    from datasets import Dataset

    from spy_plugin.hosts.lmms.judging import check_judge

    try:
        benchmark = benchmark_of(TASKS[task].benchmark)
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


def distractors(_: Dataset) -> Dataset:
    """`process_docs` of the task of this name; the host's stub of a data set is ignored."""
    return _documents("spy_bench_distractors")


def no_distractors(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_no_distractors")


def self_mod(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_self_mod")


def mini_distractors(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_mini_distractors")


def mini_no_distractors(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_mini_no_distractors")


def mini_self_mod(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_mini_self_mod")


def lab_distractors(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_lab_distractors")


def lab_no_distractors(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_lab_no_distractors")


def lab_self_mod(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_lab_self_mod")


def lab_small_distractors(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_lab_small_distractors")


def lab_small_no_distractors(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_lab_small_no_distractors")


def lab_small_self_mod(_: Dataset) -> Dataset:
    """See `distractors`."""
    return _documents("spy_bench_lab_small_self_mod")


def text(doc: Doc, *_: Any, **__: Any) -> str:
    """The whole prompt; the host adds arguments for rounds and models that make no difference."""
    return str(doc["prompt"])


def target(doc: Doc) -> str:
    """What the picture shows, for the host's sample log; no figure uses it."""
    return samples_of(doc["task"])[doc["sample_id"]].gt


def visual(doc: Doc) -> list[Image]:
    """The picture."""
    return [open_rgb(Path(doc["image"]))]


def messages(doc: Doc) -> Messages:
    """One user message: the picture, then the prompt; never a system message."""
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
    """The conversation of a round of self-moderation, as the host's backends ask for it.

    Without `round_idx` the messages of the first round; with it, (messages, no more rounds,
    answers so far, information passed on).
    """
    opening = messages(doc)
    if round_idx is None:
        return opening
    answers = list(previous_output or [])
    if round_idx >= SELF_MODERATION_TURNS:
        return None, True, answers, previous_round_info
    protocol = benchmark_of(TASKS[doc["task"]].benchmark).protocol
    questions = protocol.self_moderation_turns(doc["prompt"])
    for answer, question in zip(answers, questions, strict=False):
        opening.append({"role": "assistant", "content": [_text_part(answer)]})
        opening.append({"role": "user", "content": [_text_part(question)]})
    return opening, False, answers, previous_round_info


def _text_part(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}
