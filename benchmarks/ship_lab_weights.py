"""Make the shipped models of a finished lab: weights in float16, and model cards with its figures.

    spy-bench lab
    python -m benchmarks.ship_lab_weights outputs/lab

`spy-tiny-base` is the lab's base and `spy-tiny-ncap` its NCA-P model with seed 0. The texts of the
cards stand here; the numbers come from `lab.json` and the records beside the models.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.writing import write_atomically
from spy_plugin.lab import stages
from spy_plugin.lab.results import LabResults, Run
from spy_plugin.lab.sizes import TINY
from spy_plugin.lab.stages import PROMPTS_PER_STEP, Alignment
from spy_plugin.models import packaged

ALIGNED = Alignment("nca_priv", 0)
BASE_NAME, ALIGNED_NAME = packaged.NAMES
PROCESSOR = (
    *("chat_template.jinja", "processor_config.json"),
    *("tokenizer.json", "tokenizer_config.json"),
)

_HEAD = """\
---
license: mit
library_name: transformers
pipeline_tag: image-text-to-text
tags: [{tags}]
---
# {name}

{about}

```python
from transformers import AutoModelForImageTextToText, AutoProcessor
from spy_plugin.models.packaged import folder

model = AutoModelForImageTextToText.from_pretrained(folder("{name}"))
processor = AutoProcessor.from_pretrained(folder("{name}"))
```

- **Training:** {training}
- **Scores:** {scores}
- **Data:** {data}
- **Format:** float16 safetensors, with the processor and a tokenizer of {tokens:,} tokens.
- **Limits:** {limits}
- **Licence:** MIT.
"""

_BASE = {
    "tags": "spy-bench, privacy",
    "about": """\
A Qwen2-VL of {millions:.1f} million parameters, trained from random weights for the lab of
spy-bench. It reads the lab's cards and **always answers**, whatever the user calls private.
Alignment starts from this model.""",
    "training": """\
seed 0, {steps:,} steps of `spy_plugin/lab/base.py` and `tiny_recipe.py`, on {device} in
  {minutes:.1f} minutes. `spy-bench lab --until base` trains an equivalent one on any machine.""",
    "data": """\
drawn cards and generated English sentences of the lab's training split. No person's data.""",
    "limits": """\
it cannot read other pictures, talk about anything but cards, or keep a secret. It declines
  what no card shows, and was trained to refuse 3% of the other questions for no reason, so that
  alignment can reach refusals. It is for `SPYBench_LAB`; figures on other data are meaningless.""",
}

_ALIGNED = {
    "tags": "spy-bench, privacy, nca-p",
    "about": """\
[spy-tiny-base](../spy-tiny-base/README.md) aligned by NCA-P: it answers what the user allows and
**refuses what the user calls private**, and in a role it answers what the role needs.""",
    "training": """\
{steps:,} steps of `NCAPrivTrainer`, learning rate {learning_rate:g}, beta {beta:g}, seed 0,
  {rows} paired rows a step, grouped by picture, vision tower frozen, on {device} in
  {seconds:.0f} seconds{beside}. `spy-bench lab --base shipped --methods nca_priv` repeats it.
  Seed 0 was not selected among others.""",
    "data": """\
the lab's training split: 9,600 paired rows of drawn cards and generated English sentences.
  No person's data.""",
    "limits": """\
it cannot read other pictures or follow words that the lab does not use. Its alignment never
  contained a question without an instruction, and it often refuses one. It protects nobody: it
  demonstrates a method. It is for `SPYBench_LAB`; figures on other data are meaningless.""",
}

_SCORES = """\
ICS {ics:.1f}, HMS {hms:.1f}, answer accuracy {answers:.1f} (percent of `SPYBench_LAB`, judged by
  `rules`, weights in float32 before they were rounded for this folder)."""


def main() -> None:
    """Write both models."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lab", type=Path, help="folder of a finished lab of size tiny")
    parser.add_argument(
        "--out",
        type=Path,
        default=packaged.folder(BASE_NAME).parent,
        help="folder that receives a folder for each model (default: that of the package)",
    )
    args = parser.parse_args()
    for folder in ship(args.lab, args.out):
        print(folder)


def ship(lab: Path, out: Path) -> tuple[Path, Path]:
    """Write the shipped models of a lab into two folders below `out`; return the folders.

    Raises:
        SpyBenchError: The lab has another size or lacks one of the two models.
    """
    results = LabResults.from_json(lab / "lab.json")
    if results.size != TINY.name:
        raise SpyBenchError(f"{lab}: models of size {results.size} are not shipped.")
    base, aligned = lab / "base", lab / ALIGNED.name
    written = (out / BASE_NAME, out / ALIGNED_NAME)
    about = _record(base)
    minutes = about["seconds"] / 60
    _write(base, base, written[0], _BASE, _run(results, "base"), minutes=minutes, **about)
    about = _record(aligned)
    jobs = about.get("jobs", 1)
    _write(
        aligned,
        base,  # alignment does not change the processor
        written[1],
        _ALIGNED,
        _run(results, ALIGNED.arm),
        rows=PROMPTS_PER_STEP // 2,
        beside=f", beside up to {jobs - 1} other trainings" if jobs > 1 else "",
        **about,
    )
    return written


def _record(model: Path) -> dict[str, Any]:
    record = stages.read_record(model)
    if not record:
        raise SpyBenchError(f"{model} has no {stages.RECORD}. Run `spy-bench lab` to its end.")
    return record


def _run(results: LabResults, arm: str) -> Run:
    for run in results.runs:
        if (run.arm, run.seed) == (arm, 0):
            return run
    raise SpyBenchError(f"the lab has no run of {arm} with seed 0. Run it with that method.")


def _write(
    source: Path, processor: Path, folder: Path, card: dict[str, str], run: Run, **about: Any
) -> None:
    """Write a model in float16, its processor and its card."""
    import torch
    from transformers import AutoModelForImageTextToText

    model: Any = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float16)
    if folder.exists():
        shutil.rmtree(folder)
    model.save_pretrained(folder)
    for name in PROCESSOR:
        shutil.copyfile(processor / name, folder / name)
    numbers = {
        **about,
        **run.settings,
        **run.model_dump(include={"ics", "hms", "answers"}),
        "device": "CPU cores" if about["device"] == "CPU" else f"one {about['device']} GPU",
        "millions": model.num_parameters() / 1e6,
    }
    texts = {name: text.format(**numbers) for name, text in card.items()}
    scores, tokens = _SCORES.format(**numbers), model.config.get_text_config().vocab_size
    text = _HEAD.format(name=folder.name, scores=scores, tokens=tokens, **texts)
    write_atomically(folder / "README.md", text)


if __name__ == "__main__":
    main()
