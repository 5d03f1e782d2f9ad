"""`python run.py ...`: VLMEvalKit's own run.py, in this process, with SPY-Bench registered.

What is ours on the command line is resolved first: names that people use (`MMMU`,
`Qwen2-VL-7B`, `hf:CHECKPOINT`) become the host's, and what would fail after hours (data, judge
key, an unknown model) fails now. Everything else is the host's business.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import check_images
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.vlmeval import names
from spy_plugin.hosts.vlmeval import previous_runs as earlier
from spy_plugin.hosts.vlmeval.command_line import CHECKOUT_VARIABLE, Options, parse
from spy_plugin.hosts.vlmeval.keys import hide_keys
from spy_plugin.hosts.vlmeval.summary import extend_summary, table
from spy_plugin.hosts.vlmeval.variants import VARIANTS
from spy_plugin.models.packaged import PACKAGED

logger = logging.getLogger(__name__)

_USAGE = f"""\
Runs VLMEvalKit with SPY-Bench registered. Added to the options below:
  --data                {", ".join(VARIANTS)}
  --model               reference policies (spy-oracle, ...), {", ".join(PACKAGED)},
                        hf:FOLDER_OR_HUB_ID for any image-text-to-text checkpoint
  --judge               rules, openai:NAME, vllm:NAME, or any judge of the host
  --vlmevalkit DIR      use this upstream checkout (default: {CHECKOUT_VARIABLE},
                        then the installed package)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the host.

    Returns:
        0 if every model finished every data set; 1 if one failed or nothing could start (the host
        itself would say 0); 2 for a wrong command line; 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except SpyBenchError as error:
        print(f"run.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"run.py: interrupted; {_how_to_go_on(words)}", file=sys.stderr)
        return 130


def _how_to_go_on(words: Sequence[str]) -> str:
    options, _ = parse(words)
    models = map(names.model, options.model)
    if earlier.has_answers(options.work_dir, models, map(names.dataset, options.data)):
        return "run the same command with --reuse to go on"
    return "no answers are there yet; run the same command to start again"


def _run(words: list[str]) -> int:
    options, words = parse(words)
    if {"-h", "--help"} & set(words):
        print(_USAGE)
    entry = find_host(options.checkout)
    asked = options.model
    aliases = {"--data": names.dataset}
    if not options.base_url:  # there --model is the name that the server knows
        aliases["--model"] = names.model
    words = names.rewrite(words, aliases)
    words = hide_keys(words)
    options, _ = parse(words)
    preflight(options)

    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    from spy_plugin.hosts.vlmeval.registration import register

    if not register():
        raise SpyBenchError(
            "SPY-Bench could not be added to VLMEvalKit; the log above says why. "
            "Check the installation with: spy-bench doctor --for vlmeval"
        )
    own_names = options.base_url or options.config or options.mode == "eval"
    names.register_models(asked, allow_unknown=bool(own_names))
    if not own_names:
        _check_turns(options)
    _say_what_is_taken_up(options)
    return _run_host(entry, words, options)


def _check_turns(options: Options) -> None:
    from spy_plugin.hosts.vlmeval.turns import check_plays_turns, is_self_moderated

    if any(map(is_self_moderated, options.data)):
        for model in options.model:
            check_plays_turns(model)


def _say_what_is_taken_up(options: Options) -> None:
    """Correct the host, which says that a run without --reuse starts from a fresh folder."""
    if options.reuse or options.api_mode or options.checkout or options.mode == "eval":
        return
    ours = [name for name in options.data if name in VARIANTS]
    for path in earlier.taken_up_unasked(options.work_dir, options.model, ours):
        print(
            f"run.py: the answers in {path} are taken up, whatever the log says of a fresh "
            "folder. To start anew, remove that file or name another --work-dir."
        )


def find_host(checkout: Path | None) -> Callable[[], None]:
    """How to start the host: a checkout's run.py, or the installed package.

    Raises:
        SpyBenchError: there is neither.
    """
    if checkout is not None:
        script = checkout / "run.py"
        if not script.is_file() or not (checkout / "vlmeval").is_dir():
            raise SpyBenchError(
                f"{checkout} is no VLMEvalKit checkout: it lacks run.py or vlmeval/. "
                f"Give the root of a clone with --vlmevalkit or {CHECKOUT_VARIABLE}."
            )
        sys.path.insert(0, str(checkout.resolve()))
        return lambda: _run_script(script)
    if find_spec("vlmeval") is None:
        raise SpyBenchError(
            "VLMEvalKit is not installed. Install it with: pip install 'spy-bench[vlmeval]', "
            "or name an upstream checkout with --vlmevalkit DIR."
        )
    return _run_package


def _run_script(script: Path) -> None:
    runpy.run_path(str(script), run_name="__main__")


def _run_package() -> None:
    runpy.run_module("vlmeval", run_name="__main__", alter_sys=True)


def preflight(options: Options) -> None:
    """Fail now for what would fail after hours of generation.

    Raises:
        SpyBenchError: data are missing or wrong, or no judge can be had.
    """
    for name in options.data:
        if name.upper().startswith("SPY") and name not in VARIANTS:
            raise SpyBenchError(f"no data set is called {name!r}. {_close(name)}")
    ours = [VARIANTS[name] for name in options.data if name in VARIANTS]
    protocols = {}
    for name in dict.fromkeys(variant.benchmark for variant in ours):
        benchmark = open_benchmark(name)
        check_images(benchmark, decode=not benchmark.decoded)
        protocols[name] = benchmark.protocol
    if options.mode == "infer":
        return
    from spy_plugin.hosts.vlmeval.judging import is_own_judge, judge_from_options

    for name, protocol in protocols.items():
        if is_own_judge(options.judge):
            judge_from_options(name, protocol, _judge_options(options))


def _judge_options(options: Options) -> dict[str, Any]:
    """What of the host's `judge_kwargs` decides whether a judge can be had."""
    given: dict[str, Any] = {"model": options.judge}
    if options.judge_base_url:
        given["api_base"] = options.judge_base_url
    return given | (json.loads(options.judge_args) if options.judge_args else {})


def _run_host(entry: Callable[[], None], words: list[str], options: Options) -> int:
    run_dirs = extend_summary()
    sys.argv = ["run.py", *words]
    try:
        entry()
    except SystemExit as stop:
        if stop.code:
            return stop.code if isinstance(stop.code, int) else 1
    if int(os.environ.get("RANK", "0")) or {"-h", "--help"} & set(words):
        return 0
    return _conclude(run_dirs, options)


def _conclude(run_dirs: list[Path], options: Options) -> int:
    """Print what came out of all models, write the combined report, and say what failed."""
    failures: list[str] = []
    rows: list[tuple[str, str, dict[str, float]]] = []
    for run_dir in run_dirs:
        status = _read_status(run_dir)
        if status is None:
            failures.append(f"{run_dir} has no readable status.json: the run did not finish")
            continue
        for dataset, entry in status.get("datasets", {}).items():
            if options.data and dataset not in options.data:
                continue  # of an earlier run in the same folder
            if entry.get("error_message"):
                failures.append(
                    f"{status.get('model_name')} on {dataset} failed: {entry['error_message']}"
                )
            elif entry.get("skip_reason") == "invalid_dataset":
                failures.append(f"VLMEvalKit has no data set called {dataset!r}. {_close(dataset)}")
            elif entry.get("skip_reason") in _NOT_WHOLE:
                failures.append(
                    f"{status.get('model_name')} on {dataset} was not judged: not every sample has "
                    "an answer. Ask for the rest with --reuse (without --mode eval), or judge what "
                    "there is with --keep-failed."
                )
            elif dataset in VARIANTS and entry.get("metrics"):
                rows.append((str(status.get("model_name")), dataset, entry["metrics"]))
    if rows:
        print(table(rows))
        print("Files: " + ", ".join(str(run_dir) for run_dir in run_dirs))
        _report(run_dirs, options.work_dir)
    for failure in failures:
        print(f"run.py: {failure}", file=sys.stderr)
    return 1 if failures or not run_dirs else 0


# The host's words where --mode eval finds no answers, or not all.
_NOT_WHOLE = ("No infer result found", "Incomplete infer result")


def _close(dataset: str) -> str:
    near = difflib.get_close_matches(dataset, [*VARIANTS, "MMMU", "OCRBench", "MME"], n=3)
    return f"Did you mean {', '.join(near)}?" if near else "The host's own list has them all."


def _model_folder(run_dir: Path) -> Path:
    """The folder of all runs of a model; some versions report it, others the run's own in it."""
    return run_dir.parent if re.fullmatch(r"T\d{8}.*", run_dir.name) else run_dir


def _read_status(run_dir: Path) -> dict[str, Any] | None:
    try:
        status: dict[str, Any] = json.loads((run_dir / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return status


def _report(run_dirs: list[Path], work_dir: Path) -> None:
    from spy_plugin.report import combine

    out = work_dir / "spy_report"
    try:
        combine([_model_folder(run_dir) for run_dir in run_dirs], out)
    except SpyBenchError as error:
        logger.warning("no combined report: %s", error)
    else:
        print(f"Combined report: {out / 'report.html'}")
