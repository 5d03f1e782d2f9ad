"""Made-up runs in the layouts of both hosts, for tests of the report."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.protocol import expected_outcome
from spy_plugin.benchmark.records import Outcome, Scenario, Verdict, dump_jsonl
from spy_plugin.runs.metadata import JudgeInfo, ProtocolInfo, RunMetadata, Usage, run_files

NOON = datetime(2026, 11, 2, 12, tzinfo=timezone.utc)
SCENARIOS = ("s0_border_control", "s1_hotel_desk", "s2_language_teacher", "s3_museum_guide")
KINDS = ((1, None), (0, None), (1, 0), (1, 1), (0, 1))


def verdicts(
    *,
    right: float = 0.6,
    lean: float = 0.5,
    items: int = 120,
    images: int = 40,
    seed: int = 0,
    missing: float = 0.02,
) -> list[Verdict]:
    """Make five verdicts per item.

    Args:
        right: Probability of a right verdict; a picture shifts it by up to 0.2 either way.
        lean: Share of refusals among the random errors.
    """
    rng = random.Random(seed)
    shift = [random.Random(f"{seed} {image}").uniform(-0.2, 0.2) for image in range(images)]
    out = []
    for item in range(items):
        image = item % images
        for is_privacy, kind in KINDS:
            scenario = None if kind is None else Scenario(SCENARIOS[(item + kind) % 4], kind)
            verdict = Verdict(
                sample_id=f"{item:04}/distractors/{is_privacy}/{kind}",
                benchmark_id=f"{item:04}",
                label=LABELS[item % len(LABELS)],
                is_privacy=is_privacy,
                scenario=scenario,
                question_id=f"q{item}",
                image_path=f"images/{image:03}.jpg",
                outcome=Outcome.RESPOND,
                answer=f"Made-up answer {item}.",
                judge="rules",
            )
            outcome = expected_of(verdict)
            if rng.random() > right + shift[image]:
                outcome = Outcome.REJECT if rng.random() < lean else Outcome.RESPOND
            if rng.random() < missing:
                outcome = rng.choice([Outcome.UNJUDGED, Outcome.FILTERED, Outcome.FAILED])
            out.append(replace(verdict, outcome=outcome))
    return out


def expected_of(verdict: Verdict) -> Outcome:
    """Return the outcome that is right for a verdict's sample."""
    absolute = verdict.label in ABSOLUTE_LABELS
    return expected_outcome(verdict.is_privacy, verdict.scenario, absolute=absolute)


def write_run(
    folder: Path, model: str, found: list[Verdict] | None = None, **changes: Any
) -> RunMetadata:
    """Write verdicts and metadata as the host adapters do; `changes` are metadata fields."""
    found = verdicts() if found is None else found
    metadata = RunMetadata(
        **{
            "host": "vlmeval",
            "host_version": "0.0.20",
            "dataset": "SPYBench_MINI",
            "model": model,
            "variant": "distractors",
            "benchmark": "made-up",
            "data_fingerprint": "0123456789ab",
            "samples": len(found),
            "protocol": ProtocolInfo(name="builtin-1", fingerprint="ba9876543210"),
            "judge": JudgeInfo(name="rules", fingerprint="aaaaaaaaaaaa", offline=True),
            "seed": 7,
            "spy_bench_version": "0.1.0",
            "started": NOON,
            "finished": NOON,
            "usage": {"judge": Usage(requests=len(found), cached=12, seconds=3.5)},
        }
        | changes
    )
    path, about = run_files(folder, model, metadata.dataset)
    metadata.verdicts = path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_jsonl(found), encoding="utf-8")
    metadata.write(about)
    return metadata


def write_vlmeval_general(
    folder: Path,
    model: str,
    *,
    mmmu: float = 0.5,
    ocrbench: float = 70.0,
    mme: tuple[float, float] = (1500.0, 400.0),
    judge: str = "exact_matching",
    updated: datetime = NOON,
) -> None:
    """Write the score files of VLMEvalKit and its status.json."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(
        folder / f"{model}_MMMU_DEV_VAL_acc.csv",
        [
            {"split": "dev", "Overall": 0.1, "Art": 0.2},
            {"split": "validation", "Overall": mmmu, "Art": 0.3},
        ],
    )
    (folder / f"{model}_OCRBench_score.json").write_text(
        json.dumps({"Text Recognition": 200, "Final Score Norm": ocrbench})
    )
    _write_csv(
        folder / f"{model}_MME_score.csv", [{"perception": mme[0], "reasoning": mme[1], "OCR": 1}]
    )
    entry = {"judge_model": judge, "updated_at": updated.isoformat()}
    datasets = dict.fromkeys(("MMMU_DEV_VAL", "OCRBench", "MME"), entry)
    (folder / "status.json").write_text(json.dumps({"model_name": model, "datasets": datasets}))


def write_vlmeval_items(folder: Path, model: str, *, items: int = 200, seed: int = 0) -> None:
    """Write item tables (as .tsv) and the score files that follow from them."""
    rng = random.Random(seed)
    mmmu = [{"split": "validation", "hit": int(rng.random() < 0.5)} for _ in range(items)]
    ocr = [
        {
            "category": "Doc-oriented VQA",
            "answer": "['Blue Sky']",
            "prediction": "it says blue sky" if rng.random() < 0.7 else "no",
        }
        for _ in range(1000)
    ]
    mme = [
        {"category": c, "image_path": f"{c}{n // 2}.jpg", "score": str(rng.random() < 0.8)}
        for c in ("OCR", "color", "code_reasoning")
        for n in range(60)
    ]
    hits = sum(int(row["hit"]) for row in mmmu)
    right = sum("blue" in row["prediction"] for row in ocr)
    write_vlmeval_general(
        folder,
        model,
        mmmu=hits / items,
        ocrbench=right / 10,
        mme=(_mme_score(mme, ("OCR", "color")), _mme_score(mme, ("code_reasoning",))),
    )
    _write_csv(folder / f"{model}_MMMU_DEV_VAL_exact_matching_result.tsv", mmmu, "\t")
    _write_csv(folder / f"{model}_OCRBench.tsv", ocr, "\t")
    _write_csv(folder / f"{model}_MME_auxmatch.tsv", mme, "\t")


def _mme_score(rows: list[dict[str, str]], categories: tuple[str, ...]) -> float:
    """MME as its paper defines it: accuracy and accuracy+ of each subtask."""
    total = 0.0
    for category in categories:
        hits = [row["score"] == "True" for row in rows if row["category"] == category]
        pairs = list(zip(hits[::2], hits[1::2], strict=True))
        total += 100 * sum(hits) / len(hits) + 100 * sum(a and b for a, b in pairs) / len(pairs)
    return total


def write_lmms_general(
    folder: Path,
    model: str,
    *,
    mmmu: float = 0.5,
    ocrbench: float = 0.7,
    mme: tuple[float, float] = (1500.0, 400.0),
    time: str = "20261102_200000",
) -> None:
    """Write a results file of lmms-eval (in Singapore time)."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        "mmmu_val": {"alias": "mmmu_val", "mmmu_acc,none": mmmu, "mmmu_acc_stderr,none": "N/A"},
        "ocrbench": {"ocrbench_accuracy,none": ocrbench},
        "mme": {"mme_perception_score,none": mme[0], "mme_cognition_score,none": mme[1]},
    }
    (folder / f"{time}_results.json").write_text(
        json.dumps({"results": results, "model_name": model})
    )


def _write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
