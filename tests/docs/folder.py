"""The folder in which a page's commands run: a copy of the clone, and what the pages presuppose."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from spy_plugin.benchmark.loading import load_release
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.models import tiny_random
from tests import official_scripts
from tests.conftest import ROOT
from tests.data.conftest import write_pictures, write_release, write_tune
from tests.docs.commands import with_stand_ins
from tests.official_scripts import write_rows

MODELS = (
    "Qwen/Qwen2-VL-2B-Instruct",
    "Qwen/Qwen2-VL-7B-Instruct",
    "path/to/checkpoint",
    "path/to/model",
    "outputs/lab-small/base",
)
"""Each is a folder with `spy-tiny-random`; in the working folder a hub id names it."""

RUNS = {
    "docs/gate.md": {"old": "spy-literal", "new": "spy-oracle"},
    "docs/lmms-eval.md": {"qwen2_5_vl": "spy-literal"},
    "docs/report.md": {"spy-literal": "spy-literal", "spy-oracle": "spy-oracle"},
    "docs/samples.md": {"spy-literal": "spy-literal"},
    "docs/sharing.md": {"spy-literal": "spy-literal", "my-model": "spy-oracle"},
}
"""Page -> folders of `outputs` with a judged run each, and the policy that answered."""


def clone(folder: Path) -> Path:
    """Copy what a clone holds, uncommitted changes included, with this Python as its `.venv`."""
    words = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    subprocess.run(("git", "init", "--quiet"), cwd=folder, check=True)
    return folder


def furnish(folder: Path, page: str, server: str) -> None:
    """Write the releases, models and files that the pages take for granted."""
    for name in MODELS:
        shutil.copytree(tiny_random.build(), folder / name)
    for name in ("path/to/release", "DIR", "DATA"):
        write_release(folder / name)
        write_pictures(folder / name / "images/train2017", 2)
        write_tune(folder / name / "train/data/train_data.json")
    write_tune(folder / "train_data.json")
    with tarfile.open(folder / "path/to/test2017.tar.gz", "w:gz") as file:
        file.add(folder / "DIR/images/test2017", "test2017")
    if page == "docs/from_official_scripts.md":
        _official_files(folder)
    mini = [sample.sample_id for sample in open_benchmark("mini").samples(distractors=True)]
    if page in ("docs/ray.md", "docs/vllm.md"):
        _answers(folder / "outputs/x_answers.jsonl", mini)
    if page == "docs/judges.md":
        _answers(folder / "answers.jsonl", mini)
        official = load_release(folder / "path/to/release").samples(distractors=True)
        _answers(folder / "outputs/GPT-4o_SPYBench_answers.jsonl", [s.sample_id for s in official])
        gold = {"label_text": "name", "question": "Who?", "answer": "Ann.", "verdict": "respond"}
        write_rows(folder / "gold.jsonl", [gold, gold | {"answer": "No.", "verdict": "reject"}])
    for run, policy in RUNS.get(page, {}).items():
        answers = f"outputs/{run}/{policy}_SPYBench_MINI_answers.jsonl"
        asked = ["--backend", "policy", "--model", policy, "--mini", "--out", answers]
        _spy_bench(folder, "generate", *asked)
        _spy_bench(folder, "judge", answers, "--mini", "--judge", "rules")
    if page == "docs/gate.md":
        (folder / "gate.yaml").write_text(_yaml_blocks(folder / page)[0])
    if page == "docs/matrix.md":
        (text,) = _yaml_blocks(folder / page)
        (folder / "FILE.yaml").write_text(with_stand_ins(text, server))


def _yaml_blocks(page: Path) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def _spy_bench(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "spy_plugin.cli", *words], cwd=folder, check=True)


def _official_files(folder: Path) -> None:
    """What the official scripts wrote for one model, and VLMEvalKit's scores of it."""
    entries = official_scripts.write_release(folder / "specify-privacy-yourself")
    rows = list(official_scripts.answered(official_scripts.input_rows(entries, distractors=True)))
    results = folder / "results/with_distractors"
    official_scripts.write_rows(results / "resp/model.jsonl", rows)
    judged = official_scripts.evaluated(rows)
    official_scripts.write_rows(results / "eval/model__gpt-4o.jsonl", judged)
    general = folder / "general/model/model_OCRBench_score.json"
    general.parent.mkdir(parents=True)
    general.write_text(json.dumps({"Final Score Norm": 60.0}))


def _answers(path: Path, sample_ids: list[str]) -> None:
    write_rows(path, ({"sample_id": x, "response": "I'd rather not say."} for x in sample_ids))
