"""`spy-bench matrix` with local models: all its commands share one Ray cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import needs

pytestmark = [needs("ray"), needs("torch")]

MODELS = ("spy-tiny-base", "spy-tiny-ncap")


def test_local_models_share_one_cluster(tmp_path: Path) -> None:
    content = {
        "data": {"mini": True},
        "models": [{"backend": "transformers", "model": name} for name in MODELS],
        "judge": {"name": "rules"},
        "conditions": ["distractors"],
        "limit": 6,
        "out": "out",
    }
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
    subprocess.run(
        [sys.executable, "-m", "spy_plugin.cli", "matrix", "m.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    out = tmp_path / "out"
    assert (out / "progress.txt").read_text().startswith("4 of 4 steps done")
    addresses = set()
    for name in MODELS:
        answers = (out / f"{name}_distractors_answers.jsonl").read_text().splitlines()
        assert len({json.loads(line)["sample_id"] for line in answers}) == len(answers) == 6
        log = (out / f"logs/{name}_distractors_answers.log").read_text()
        addresses |= set(re.findall(r"--ray (\S+) --engines 1", log))
    (address,) = addresses
    assert re.fullmatch(r"127\.0\.0\.1:\d+", address)
    report = json.loads((out / "report/report.json").read_text())
    assert all(name in json.dumps(report) for name in MODELS)
