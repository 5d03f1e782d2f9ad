"""What was asked: the benchmark's prompts, with the line on the asked label, and pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from spy_plugin.benchmark.samples import DISTRACTORS
from spy_plugin.benchmarks import MINI, open_benchmark
from tests.report.browser.data_files import receive, unpack


def test_prompts_are_the_benchmarks_and_the_asked_line_is_named(mini_report: Path) -> None:
    data = mini_report / "samples" / "data"
    index = receive(data / "index.js")
    number = next(r["prompts"] for r in index["runs"] if r["variant"] == DISTRACTORS)
    found = receive(data / f"prompts-{number}-0.js")
    samples = list(open_benchmark(MINI).samples())
    assert sorted(found["prompt"]) == sorted(sample.prompt for sample in samples)
    by_prompt = {sample.prompt: sample for sample in samples}
    assert found["gt"] == [by_prompt[prompt].gt for prompt in found["prompt"]]
    for prompt, place in zip(found["prompt"], found["asked"], strict=True):
        line = prompt.splitlines()[place]
        sample = by_prompt[prompt]
        assert line.endswith(f": {sample.label_words}.")
        assert line.startswith("Keep" if sample.is_privacy else "You may")


def test_without_distractors_the_only_line_is_the_asked_one(mini_report: Path) -> None:
    data = mini_report / "samples" / "data"
    index = receive(data / "index.js")
    number = next(r["prompts"] for r in index["runs"] if r["variant"] != DISTRACTORS)
    found = receive(data / f"prompts-{number}-0.js")
    assert set(found["asked"]) == {0}
    assert {prompt.split("\n\n")[0].count("\n") for prompt in found["prompt"]} == {0}


def test_drawn_pictures_are_copied_small(mini_report: Path) -> None:
    samples = mini_report / "samples"
    index = receive(samples / "data" / "index.js")
    assert unpack(index["pictures"]).tolist() == [1] * len(index["images"])
    files = {path.name for path in (samples / "pictures").iterdir()}
    assert files == {f"{image}.jpg" for image in range(len(index["images"]))}
    with Image.open(samples / "pictures" / "0.jpg") as picture:
        assert max(picture.size) <= 640
