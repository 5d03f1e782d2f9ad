"""VLMEvalKit's loop for `generate.py`: one `generate` call of transformers after the other.

`generate.py` runs this file as a script in the environment that has VLMEvalKit.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.generate_workload import Sample  # noqa: E402

SAMPLES = 24
ROUNDS = 2


def loop_of_vlmevalkit(
    python: Path | None, model: Path, tokens: int, samples: list[Sample]
) -> dict[str, Any]:
    """Seconds per sample and answers of VLMEvalKit's own classes, in a process of its own.

    Args:
        python: An interpreter with VLMEvalKit; None skips the measurement.
        tokens: Upper bound of tokens per answer.
        samples: The first `SAMPLES` of them are used.
    """
    if python is None or not python.exists():
        return {"skipped": "no Python with VLMEvalKit was given"}
    task = model.with_name("loop.json")
    rows = [[s.id, str(s.picture), s.prompt] for s in samples[:SAMPLES]]
    task.write_text(json.dumps({"model": str(model), "tokens": tokens, "rows": rows}))
    command = [str(python), __file__, str(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"skipped": f"it failed: {done.stderr[-500:]}"}
    found: dict[str, Any] = json.loads(task.with_suffix(".out").read_text())
    found["seconds a sample"] = statistics.median(found["seconds"]) / len(rows)
    return found


def storable(text: str) -> str:
    """Remove what only one of both ways keeps of random text: control and cut-off characters."""
    marked = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return marked.strip("\ufffd ")


def one_at_a_time(task: Path) -> None:
    """Answer the samples in the task file; write the result beside it."""
    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    from spy_plugin.hosts.vlmeval.models import HFChat

    wanted = json.loads(task.read_text())
    model = HFChat(wanted["model"], batch_size=1, max_new_tokens=wanted["tokens"], device="cpu")

    def ask(picture: str, prompt: str) -> str:
        message = [{"type": "image", "value": picture}, {"type": "text", "value": prompt}]
        return str(model.generate(message))

    ask(*wanted["rows"][0][1:])
    seconds, answers = [], {}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        answers = {key: ask(picture, prompt) for key, picture, prompt in wanted["rows"]}
        seconds.append(time.perf_counter() - start)
    task.with_suffix(".out").write_text(json.dumps({"seconds": seconds, "answers": answers}))


if __name__ == "__main__":
    one_at_a_time(Path(sys.argv[1]))
