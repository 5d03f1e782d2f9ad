"""The commands of a page, what stands in for what this machine lacks, and what cannot run here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "RELEASING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SERVER = "http://localhost:8000/v1"
_BLOCK = re.compile(r"^( *)```(sh|bash|python)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_TESTED_ELSEWHERE = {("api.md", "python"): "tests/test_api.py"}

NOT_RUN = {
    "#!/bin/bash\n#SBATCH *": "needs Slurm",
    "pip install *": "installs from a package index, as `make test-latest` does",
    "make setup*": "installs from a package index",
    "make test*": "runs these tests, or installs from a package index",
    "make coverage*": "runs these tests",
    "spy-bench lab*": "trains for half an hour; tests/lab runs its stages",
    "spy-bench data prepare": "downloads 17 GB",
    "spy-bench data prepare --force": "downloads 17 GB",
    "spy-bench run vlmeval -- --data SPYBench MMMU *": "downloads MMMU, OCRBench, MME and weights",
    "lmms-eval --tasks spy_bench --model qwen2_5_vl *": "needs weights",
    "lmms-eval --tasks spy_bench_report *": "downloads MMMU, OCRBench and MME",
    "lmms-eval --tasks spy_bench_self_mod * wraps=vllm,*": "needs vLLM and weights",
    "inspect eval *": "needs an environment of its own; `make test-inspect` runs the tasks there",
    "spy-bench report logs *": "reads what that wrote; `make test-inspect` reports such logs",
    "spy-bench export-results * --push *": "opens a pull request on the hub",
    "*spy-bench generate *--backend vllm * --ray *": "needs vLLM, weights and GPUs",
    "spy-bench judge * --judge vllm:* --ray local": "needs vLLM, weights and GPUs",
    "vllm serve *": "needs vLLM, weights and GPUs",
    "ray get-auth-token *": "writes into the home folder",
    "ray start *": "starts a cluster that outlives the command",
    "export RAY_AUTH_MODE=*": "belongs to that cluster",
    "spy-bench doctor --for ray": "looks at that cluster",
    "spy-bench train * --accelerate *": "needs eight GPUs; tests/trl_ext runs two processes",
    "spy-bench train * --config qlora_24gb *": "needs a GPU and bitsandbytes",
    "accelerate launch * --num_machines 2 *": "needs two machines",
}
"""Pattern of a command -> why it does not run here."""

STAND_INS = {
    # Nobody but vLLM takes vLLM's options: the server takes the engine's place.
    r"--backend vllm --model (\S+)": rf"--backend openai --model \1 --base-url {SERVER}",
    r"--judge vllm:": "--judge openai:",
    r" --engine-args '[^']*'": "",
    # The tiny model cannot draft: the server does.
    r"--ask transformers:(\S+)": rf"--ask openai:\1 --base-url {SERVER}",
    r"backend: vllm, model: (\S+), options: .*": (
        rf"backend: openai, model: \1, options: {{base_url: {SERVER}}}}}"
    ),
    r"base_url=URL": f"base_url={SERVER}",
    # A few samples in place of 860, two steps in place of three epochs.
    r"(--backend transformers .*--mini|--mini .*--backend transformers)": r"\1 --limit 16",
    r"(spy-bench train .*)": r"\1 --max_steps 2 --max_rows 8",
    r'(output_dir="[\w/-]+")': r"\1, max_steps=2, report_to=[]",
    # A user presses Ctrl-C.
    r"^(spy-bench view outputs)$": r"timeout --preserve-status 60 \1 --no-open",
    # The embedded benchmark has three pictures of that label.
    r"(spy-bench gate .*--rules .*)": r"\1 --min-pictures 2 --precision 100",
    # The registry does not know the made-up release.
    r"(data prepare --release \S+ --images \S+)": r"\1 --allow-unpinned",
    r"(data prepare --tune \S+)": r"\1 --allow-unpinned --images DATA",
    # The environment is there already.
    r"^make (?=\w)": "make --assume-old=.venv/.ready ",
    r"-m build": "-m build --no-isolation",
}
"""Regular expression in a command -> its replacement; then `SERVER` becomes the test's server."""


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        commands: The shell commands, each with its continued lines; one for a whole program.
    """

    page: str
    line: int
    language: str
    commands: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that no other test runs."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        indent, language, code = found.groups()
        if (page.name, language) not in _TESTED_ELSEWHERE:
            code = re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
            whole = language == "python" or code.startswith("#!")
            line = text[: found.start()].count("\n") + 1
            name = page.relative_to(ROOT).as_posix()
            yield Block(name, line, language, (code,) if whole else tuple(_commands(code)))


def _commands(code: str) -> Iterator[str]:
    for line in code.replace("\\\n", "\\\0").splitlines():
        command = re.sub(r"\s*\\\0\s*", " ", line).strip()
        if command and not command.startswith("#"):
            yield command


def why_not(command: str) -> str | None:
    """The pattern of `NOT_RUN` that a command matches."""
    bare = re.sub(r"\s+#.*", "", command) if not command.startswith("#") else command
    return next((pattern for pattern in NOT_RUN if fnmatchcase(bare, pattern)), None)


def with_stand_ins(text: str, server: str) -> str:
    """A command or file with `STAND_INS` in place."""
    for pattern, replacement in STAND_INS.items():
        text = re.sub(pattern, replacement, text)
    return text.replace(SERVER, server)
