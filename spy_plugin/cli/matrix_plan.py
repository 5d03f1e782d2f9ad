"""What `spy-bench matrix` runs: a checked file of models and conditions, and its commands."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from spy_plugin.cli.main import parse
from spy_plugin.errors import DataError
from spy_plugin.models.base import LOCAL_BACKENDS, ModelSetupError
from spy_plugin.models.build import CHAT_BACKENDS, model_name
from spy_plugin.models.engine_arguments import parallel_sizes
from spy_plugin.registry.catalog import parse as parse_yaml

Condition = Literal["distractors", "no-distractors", "self-moderation"]

_SET_BY_THE_MATRIX = {
    *("backend", "model", "judge", "out", "ray", "limit", "no_distractors"),
    *("shard", "batch", "dry_run", "price", "as"),
}
"""Options that an entry cannot have: a step would write elsewhere, or not all that is judged."""


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is not an entry's to choose, and sizes from which no GPUs can be counted.

    Raises:
        ValueError: naming it.
    """
    for key in options:
        if key.replace("-", "_") in _SET_BY_THE_MATRIX:
            raise ValueError(f"{key} is not an option of an entry. Leave it out")
    arguments = _engine_arguments(options)
    try:
        parallel_sizes(arguments)
    except ModelSetupError as error:
        raise ValueError(str(error).rstrip(".")) from error
    return options


def _engine_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an engine; empty for what is not a mapping, which the parser refuses."""
    arguments = options.get("engine_args", options.get("engine-args"))
    return arguments if isinstance(arguments, dict) else {}


Options = Annotated[dict[str, Any], AfterValidator(_check_options)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelEntry(_Part):
    """A model of the matrix.

    Attributes:
        options: Options of `spy-bench generate`, with underscores or dashes.
        samples_per_second: Measured speed of all its engines together, for the estimate of hours.
    """

    model: str
    backend: Literal["openai", "vllm", "transformers", "policy"]
    options: Options = {}
    samples_per_second: float | None = Field(default=None, gt=0)


class JudgeEntry(_Part):
    """Who judges all answers.

    Attributes:
        options: Options of `spy-bench judge`, except `price`.
        price: Dollars for a million tokens in and out, for the estimate of cost.
    """

    name: str
    options: Options = {}
    price: tuple[float, float] | None = None


class Matrix(_Part):
    """A file of `spy-bench matrix`.

    Attributes:
        data: Options that name the benchmark, such as ``{mini: true}`` or ``{release: DIR}``.
        out: Folder of all answers, verdicts, logs and the report.
        ray: Where local models run; see `spy-bench generate --ray`.
        limit: Only the first so many samples, to try a file.
        parallel: Models in progress at a time; those without room wait for it.
    """

    data: Options
    out: Path
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    judge: JudgeEntry
    conditions: tuple[Condition, ...] = Field(
        default=("distractors", "no-distractors"), min_length=1
    )
    limit: int | None = Field(default=None, gt=0)
    ray: str = "local"
    parallel: int = Field(default=4, gt=0)


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        title: For the page of progress, as ``Qwen2-VL-7B-Instruct: generate (distractors)``.
        words: After ``spy-bench``.
        out: The file that it writes line by line.
        log: Where its messages go.
        gpus: GPUs that its engines take in all.
        condition: What is asked; the judge's condition is that of the answers.
    """

    title: str
    words: tuple[str, ...]
    out: Path
    log: Path
    gpus: int
    condition: Condition

    @property
    def command(self) -> str:
        """For a shell."""
        return shlex.join(["spy-bench", *self.words])

    @property
    def lines_written(self) -> int:
        """Lines of `out` so far: the step's progress, also while it runs."""
        if not self.out.exists():
            return 0
        with self.out.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


@dataclass(frozen=True)
class Chain:
    """The steps of one model, one after the other."""

    entry: ModelEntry
    steps: tuple[Step, ...]


def read_matrix(path: Path) -> Matrix:
    """Read and check a file.

    Raises:
        DataError: it is not a matrix, or a command that it leads to is not a valid one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"is not YAML ({error})", "Save it as UTF-8.", path=path) from error
    matrix = parse_yaml(text, Matrix, path=path, remedy="See docs/matrix.md.")
    names = [_file_name(entry) for entry in matrix.models]
    for entry, name in zip(matrix.models, names, strict=True):
        if names.count(name) > 1:
            problem = f"duplicate entry: two would write {name}_..._answers.jsonl"
            raise DataError(problem, "Name each model once.", path=path, where=entry.model)
    for chain in chains(matrix):
        for step in chain.steps:
            _check(step, path)
    return matrix


def chains(matrix: Matrix) -> list[Chain]:
    """The steps of every model, in an order in which each finds what it needs."""
    return [Chain(entry, tuple(_steps(matrix, entry))) for entry in matrix.models]


def _file_name(entry: ModelEntry) -> str:
    return model_name(entry.model).replace("/", "_")


def _steps(matrix: Matrix, entry: ModelEntry) -> list[Step]:
    name = _file_name(entry)
    data = _words(matrix.data)
    model = ("--backend", entry.backend, "--model", entry.model, *_words(entry.options))
    gpus = _gpus(entry.options, entry.backend)
    where = ("--ray", matrix.ray, *_engines(entry.options)) if gpus else ()
    judge_gpus = _gpus(matrix.judge.options, matrix.judge.name.partition(":")[0])
    judge_where = ("--ray", matrix.ray, *_engines(matrix.judge.options)) if judge_gpus else ()
    found: list[Step] = []

    def add(kind: str, condition: Condition, words: tuple[str, ...], out: Path, gpus: int) -> None:
        log = matrix.out / "logs" / f"{out.name.removesuffix('.jsonl')}.log"
        title = f"{name}: {kind} ({condition})"
        found.append(Step(title, words, out, log, gpus, condition))

    def answers(condition: Condition) -> Path:
        return matrix.out / f"{name}_{condition}_answers.jsonl"

    wanted = set(matrix.conditions)
    if "self-moderation" in wanted:
        wanted.add("distractors")  # whose answers it begins with
    for condition in ("distractors", "no-distractors", "self-moderation"):
        if condition not in wanted:
            continue
        out, first = answers(condition), ("generate", *data)
        if condition == "no-distractors":
            first = (*first, "--no-distractors")
        if matrix.limit and condition != "self-moderation":
            first = (*first, "--limit", str(matrix.limit))
        if condition == "self-moderation":
            first = ("self-moderate", str(answers("distractors")), *data)
        add(first[0], condition, (*first, *model, *where, "--out", str(out)), out, gpus)
        if condition in matrix.conditions:
            verdicts = out.with_name(out.name.replace("_answers.", "_verdicts."))
            words = ("judge", str(out), *data, "--judge", matrix.judge.name)
            words = (*words, *_words(matrix.judge.options), *judge_where, "--out", str(verdicts))
            add("judge", condition, words, verdicts, judge_gpus)
    return found


def _words(options: Options) -> tuple[str, ...]:
    """Options as words of a command line; a key with True is a flag."""
    found: list[str] = []
    for key, value in options.items():
        name = f"--{key.replace('_', '-')}"
        if value is True:
            found.append(name)
        elif isinstance(value, dict):
            found += [name, json.dumps(value)]
        elif value is not False and value is not None:
            found += [name, *map(str, value if isinstance(value, list) else [value])]
    return tuple(found)


def _engines(options: Options) -> tuple[str, ...]:
    """One engine, unless the entry says how many: models share the cluster."""
    return () if "engines" in options else ("--engines", "1")


def engines_of(options: Options) -> int:
    """How many engines the options ask for; 1 for as many as find room."""
    engines = str(options.get("engines", 1))
    return int(engines) if engines.isdecimal() else 1


def _gpus(options: Options, backend: str) -> int:
    """GPUs of all engines; 0 for what runs elsewhere or on the CPU of this process."""
    if backend not in LOCAL_BACKENDS:
        return 0
    number = engines_of(options)
    tensor, pipeline = parallel_sizes(_engine_arguments(options)) if backend == "vllm" else (1, 1)
    return number * tensor * pipeline


def _check(step: Step, path: Path) -> None:
    """Let the command's own parser check the options before anything runs.

    Raises:
        DataError: it refuses them.
    """
    if step.words[0] == "judge" and step.words[step.words.index("--judge") + 1] in CHAT_BACKENDS:
        raise DataError("the judge's model is missing", "Write openai:MODEL.", path=path)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parse(list(step.words))
    except SystemExit as error:
        reason = said.getvalue().strip().splitlines()[-1:] or ["its options are wrong"]
        raise DataError(reason[0], "Fix the options.", path=path, where=step.title) from error
