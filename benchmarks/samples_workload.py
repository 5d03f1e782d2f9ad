"""Made-up runs of `report_samples.py`: a benchmark in the official layout, and models' verdicts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome, Sample, to_json, verdict_of
from spy_plugin.benchmarks import UNPINNED, open_release
from spy_plugin.runs.metadata import JudgeInfo, ProtocolInfo, RunMetadata, run_files

WORDS = (
    *("street", "harbour", "lantern", "copper", "willow"),
    *("ticket", "garden", "letter", "window", "marble"),
)


def write_release(release: Path, items: int) -> Path:
    """Write a benchmark of made-up items in the official layout, without pictures."""
    rng = random.Random(0)
    data = release / "benchmark" / "data"
    data.mkdir(parents=True)
    entries = []
    for number in range(items):
        label = LABELS[number % len(LABELS)]
        others = rng.sample(LABELS, 6)
        word = rng.choice(WORDS)
        scenarios = [
            {
                "scenario": f"s{(number + k) % 24}",
                "2nd_person_template": f"In the {word} role: {{}}",
            }
            for k in (0, 5)
        ]
        entries.append(
            {
                "benchmark_id": f"{number:08d}",
                "label": label,
                "other_labels": {n: rng.randint(0, 1) for n in others if n != label},
                "question_item": {
                    "question_id": f"q{number}",
                    "image_path": f"images/test2017/{number * 7919 % 2000:08d}.jpg",
                    "question": f"What does the {word} in this picture say about it?",
                    "gt": f"the {word}",
                },
                "non_privacy_scenarios": scenarios[:1],
                "privacy_scenarios": scenarios[1:],
            }
        )
    (data / "questions.json").write_text(json.dumps({"benchmark_list": entries}))
    words = {label: label.partition("_")[2].replace("_", " ") for label in LABELS}
    (data / "label2text.json").write_text(json.dumps(words))
    constants = {
        "INSTRUCT_TEMPLATES": BUILTIN.instruct_templates,
        "EVAL_PROMPTS": BUILTIN.judge_prompt,
        "ABS_PRIV_LABELS": sorted(ABSOLUTE_LABELS),
    }
    config = "".join(f"{name} = {value!r}\n" for name, value in constants.items())
    (release / "benchmark" / "config.py").write_text(config)
    turns = f"Q2_template = {BUILTIN.second_turn!r}\nQ3_template = {BUILTIN.third_turn!r}\n"
    (release / "benchmark" / "generate_self_mod.py").write_text(turns)
    return release


def write_runs(folder: Path, release: Path, models: int) -> None:
    """Write verdicts and metadata of every model in both conditions; of the first, thoughts."""
    benchmark = open_release(release)
    for distractors in (True, False):
        samples = list(benchmark.samples(distractors=distractors))
        for model in range(models):
            name = f"model-{model:02}"
            dataset = f"SPYBench_{'' if distractors else 'NO_'}DISTRACTORS"
            path, about = run_files(folder, name, dataset)
            path.parent.mkdir(parents=True, exist_ok=True)
            answers = path.with_name(f"{name}_{dataset}_answers.jsonl")
            rng = random.Random(f"{name} {dataset}")
            with path.open("w") as file:
                for sample in samples:
                    file.write(json.dumps(verdict(sample, 0.4 + model / 40, rng)) + "\n")
            if model == 0:
                with answers.open("w") as file:
                    file.writelines(json.dumps(thoughtful(s)) + "\n" for s in samples)
            RunMetadata(
                host="spy-bench",
                dataset=dataset,
                model=name,
                variant="distractors" if distractors else "no_distractors",
                benchmark=UNPINNED,
                data_fingerprint=f"{dataset:.12}",
                samples=len(samples),
                protocol=ProtocolInfo(name="official", fingerprint="0" * 12),
                judge=JudgeInfo(name="gpt-4o-mini", fingerprint="1" * 12),
                answers=answers.name if model == 0 else "",
                verdicts=path.name,
            ).write(about)


def verdict(sample: Sample, right: float, rng: random.Random) -> dict[str, Any]:
    """Return a verdict that is right with this probability, on an answer of usual length."""
    policy = "spy-oracle" if rng.random() < right else "spy-literal"
    outcome = POLICIES[policy](sample, ABSOLUTE_LABELS)
    if rng.random() < 0.3:
        outcome = rng.choice([Outcome.RESPOND, Outcome.REJECT, Outcome.UNJUDGED])
    middle = " ".join(rng.choices(WORDS, k=22))
    answer = f"It may be seen in the picture, between the {middle}, but I had better say no more."
    return to_json(
        verdict_of(sample, outcome, answer=answer, judge="gpt-4o-mini", raw=outcome.value)
    )


def thoughtful(sample: Sample) -> dict[str, Any]:
    """Return the record of an answer with two thousand characters of thoughts."""
    return {"sample_id": sample.sample_id, "response": "", "thoughts": sample.question * 40}
