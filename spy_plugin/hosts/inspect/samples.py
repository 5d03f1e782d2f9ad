"""Our samples as inspect's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText

from spy_plugin.benchmark.records import Outcome, Sample, to_json, verdict_of
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import check_images
from spy_plugin.errors import DataError
from spy_plugin.models.pictures import data_url, sent_as_it_is

NO_ANSWER = "the host has no answer to this sample"


@cache
def open_checked(name: str) -> Benchmark:
    """Open a benchmark and check its pictures.

    Raises:
        SpyBenchError: data are missing or wrong.
    """
    benchmark = open_benchmark(name)
    check_images(benchmark)
    return benchmark


@cache
def samples_of(name: str, distractors: bool) -> dict[str, Sample]:
    """Return the samples of a benchmark by id, in protocol order."""
    samples = open_checked(name).samples(distractors=distractors)
    return {sample.sample_id: sample for sample in samples}


def dataset(name: str, distractors: bool) -> MemoryDataset:
    """Return the samples, each one user message: the picture, then the prompt.

    A picture is a path, which inspect reads once its sample starts; one that servers would read in
    different ways stands there converted, so that every host shows the same pixels.

    Raises:
        DataError: a picture does not decode; names its file.
    """
    benchmark, picture = open_checked(name), cache(_picture)
    rows = [
        InspectSample(
            id=sample.sample_id,
            input=[
                ChatMessageUser(
                    content=[
                        ContentImage(image=picture(benchmark.image_file(sample))),
                        ContentText(text=sample.prompt),
                    ]
                )
            ],
            target=sample.gt,
            # What its row is if the host leaves it without a score.
            metadata={"verdict": to_json(verdict_of(sample, Outcome.FAILED, error=NO_ANSWER))},
        )
        for sample in samples_of(name, distractors).values()
    ]
    return MemoryDataset(rows, name=f"{name}{'' if distractors else ', no distractors'}")


def _picture(path: Path) -> str:
    try:
        return str(path.absolute()) if sent_as_it_is(path) else data_url(path)
    except OSError as error:
        raise DataError(
            f"the picture does not decode ({error.__cause__ or error})",
            "Replace the file.",
            path=path,
        ) from error
