"""`python run.py ...`: VLMEvalKit's own run.py, in this process, with SPY-Bench registered.

Our part of the command line is resolved first: names that people use (`MMMU`, `Qwen2-VL-7B`,
`hf:CHECKPOINT`) become the host's, and what would fail after hours (data, judge key, unknown model)
fails now. Everything else is passed to the host.
"""

from __future__ import annotations

import json
import logging
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import check_images
from spy_plugin.errors import ALLOW_FAILED, SAMPLES_FAILED, SpyBenchError
from spy_plugin.files.writing import refuse_file_in_the_way
from spy_plugin.hosts.vlmeval import names, previous_runs, summary
from spy_plugin.hosts.vlmeval.command_line import CHECKOUT_VARIABLE, Options, parse
from spy_plugin.hosts.vlmeval.keys import hide_keys
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.models.checkpoint import check_name
from spy_plugin.models.packaged import PACKAGED

_USAGE = f"""\
Runs VLMEvalKit with SPY-Bench registered. Added to the options below:
  --data                {", ".join(VARIANTS)};
                        spy:DIR, spy-no-distractors:DIR or spy-self-mod:DIR for one's own
  --model               reference policies (spy-oracle, ...), {", ".join(PACKAGED)},
                        hf:FOLDER_OR_HUB_ID for any image-text-to-text checkpoint
  --judge               rules, openai:NAME, vllm:NAME, or any judge of the host
  --vlmevalkit DIR      use this upstream checkout (default: {CHECKOUT_VARIABLE},
                        then the installed package)
  {ALLOW_FAILED}        exit with 0, not {SAMPLES_FAILED}, when only some samples of ours failed
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the host.

    Returns:
        0 if every model finished every data set; 1 if one failed or nothing could start (the host
        itself returns 0 then); `SAMPLES_FAILED` if every run finished, but samples of ours failed
        and `ALLOW_FAILED` is not given; 2 for a wrong command line; 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except SpyBenchError as error:
        print(f"run.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"run.py: interrupted; {_how_to_resume(words)}", file=sys.stderr)
        return 130


def _how_to_resume(words: Sequence[str]) -> str:
    options, _ = parse(words)
    models = map(names.model, options.model)
    if previous_runs.has_answers(options.work_dir, models, map(names.dataset, options.data)):
        return "run the same command with --reuse to resume"
    return "there are no answers yet; run the same command to start again"


def _run(words: list[str]) -> int:
    options, words = parse(words)
    if {"-h", "--help"} & set(words):
        print(_USAGE)
    else:
        _need_names(options)
        # The host would break at it.
        refuse_file_in_the_way(options.work_dir, f"--work-dir {options.work_dir}")
    entry = find_host(options.checkout)
    asked = options.model
    names.note_own_folder(options.data)
    aliases = {"--data": names.dataset}
    if not options.base_url:  # with one, --model is the name that the server knows
        aliases["--model"] = names.model
    words = names.rewrite(words, aliases)
    words = hide_keys(words)
    options, _ = parse(words)
    preflight(options)
    for name in asked:
        if name.startswith(names.CHECKPOINT_PREFIX) and not options.base_url:
            check_name(names.checkpoint(name))

    from spy_plugin.compat.torchao import quiet_torchao
    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    quiet_torchao()
    if options.checkout is None:
        logging.getLogger().addFilter(_is_not_about_env)
    from spy_plugin.hosts.vlmeval.general_data import check_general_data
    from spy_plugin.hosts.vlmeval.registration import add_asked_models, register

    if not register():
        raise SpyBenchError(
            "SPY-Bench could not be added to VLMEvalKit; the log above says why. "
            "Check the installation with: spy-bench doctor --for vlmeval"
        )
    own_names = options.base_url or options.config or options.mode == "eval"
    add_asked_models(asked, allow_unknown=bool(own_names))
    check_general_data(options.data)
    _check_turns(options, models=[] if own_names else options.model)
    _announce_resumed_answers(options)
    return _run_host(entry, words, options)


def _need_names(options: Options) -> None:
    """Refuse a command line that names no data set or no model, at which the host would break.

    Raises:
        SpyBenchError: it does.
    """
    if options.config is not None:
        return
    for option, given, example in (
        ("--data", options.data, "SPYBench_MINI"),
        ("--model", options.model, "spy-literal"),
    ):
        if not given:
            raise SpyBenchError(f"{option} is missing. Add one, as in {option} {example}.")


def _is_not_about_env(record: logging.LogRecord) -> bool:
    """The installed package looks for a .env beside itself, where nobody has one: no error."""
    return "Did not detect the .env file" not in record.getMessage()


def _check_turns(options: Options, models: Sequence[str]) -> None:
    from vlmeval.dataset import SUPPORTED_DATASETS

    from spy_plugin.hosts.vlmeval.self_moderation import check_model, is_self_moderated

    for dataset in filter(is_self_moderated, options.data):
        if dataset not in SUPPORTED_DATASETS:
            raise SpyBenchError(
                f"{dataset} is not available in this version of VLMEvalKit; the log above says "
                "why. Use spy-bench generate, then spy-bench self-moderate."
            )
        for model in models:
            check_model(model)


def _announce_resumed_answers(options: Options) -> None:
    """Correct the host, which logs that a run without --reuse starts in a fresh folder."""
    if options.reuse or options.api_mode or options.checkout or options.mode == "eval":
        return
    ours = [name for name in options.data if name in VARIANTS]
    for path in previous_runs.resumed_unasked(options.work_dir, options.model, ours):
        print(
            f"run.py: the answers in {path} are used again, although the log mentions a fresh "
            "folder. To start from nothing, remove that file or name another --work-dir."
        )


def find_host(checkout: Path | None) -> Callable[[], object]:
    """Return what starts the host: a checkout's run.py, or the installed package.

    Raises:
        SpyBenchError: there is neither.
    """
    need_host(checkout)
    if checkout is not None:
        sys.path.insert(0, str(checkout.resolve()))
        return partial(runpy.run_path, str(checkout / "run.py"), run_name="__main__")
    return partial(runpy.run_module, "vlmeval", run_name="__main__", alter_sys=True)


def need_host(checkout: Path | None) -> None:
    """Refuse to go on without the host, before anything of it is loaded.

    Raises:
        SpyBenchError: there is neither a checkout nor the installed package.
    """
    if checkout is not None:
        if not (checkout / "run.py").is_file() or not (checkout / "vlmeval").is_dir():
            raise SpyBenchError(
                f"{checkout} is not a VLMEvalKit checkout: it lacks run.py or vlmeval/. "
                f"Give the root of a clone with --vlmevalkit or {CHECKOUT_VARIABLE}."
            )
    elif find_spec("vlmeval") is None:
        raise SpyBenchError(
            "VLMEvalKit is not installed. Install it with: pip install 'spy-bench[vlmeval]', "
            "or name an upstream checkout with --vlmevalkit DIR."
        )


def preflight(options: Options) -> None:
    """Fail now for what would otherwise fail after hours of generation.

    Raises:
        SpyBenchError: data are missing or wrong, or the judge cannot be built.
    """
    for name in options.data:
        if name.upper().startswith("SPY") and name not in VARIANTS:
            raise SpyBenchError(f"unknown data set {name!r}. {names.closest_datasets(name)}")
    ours = [VARIANTS[name] for name in options.data if name in VARIANTS]
    protocols = {}
    for name in dict.fromkeys(variant.benchmark for variant in ours):
        benchmark = open_benchmark(name)
        check_images(benchmark, decode=not benchmark.decoded)
        protocols[name] = benchmark.protocol
    if options.mode == "infer":
        return
    from spy_plugin.hosts.vlmeval.judging import (
        check_host_judge,
        is_own_judge,
        judge_from_options,
    )

    given = _judge_options(options)
    for name, protocol in protocols.items():
        if is_own_judge(options.judge):
            judge_from_options(name, protocol, given)
        else:
            check_host_judge(str(options.judge), given)


def _judge_options(options: Options) -> dict[str, Any]:
    """Return those of the host's `judge_kwargs` that decide whether a judge can be built."""
    given: dict[str, Any] = {"model": options.judge}
    if options.judge_base_url:
        given["api_base"] = options.judge_base_url
    return given | (json.loads(options.judge_args) if options.judge_args else {})


def _run_host(entry: Callable[[], object], words: list[str], options: Options) -> int:
    from spy_plugin.hosts.vlmeval import patches

    patches.extend_summary()
    sys.argv = ["run.py", *words]
    try:
        entry()
    except SystemExit as stop:
        if stop.code:
            return stop.code if isinstance(stop.code, int) else 1
    if int(os.environ.get("RANK", "0")) or {"-h", "--help"} & set(words):
        return 0
    if not patches.REPORT.applied:
        return 0  # a warning has said so
    return _conclude(list(dict.fromkeys(patches.reported_runs)), options)


def _conclude(run_dirs: Sequence[Path], options: Options) -> int:
    """Print the scores of all models, write the combined report, and say what failed."""
    rows, failures = summary.read_runs(run_dirs, options.data)
    if rows:
        print(summary.table(rows))
        print("Files: " + ", ".join(map(str, run_dirs)))
        _write_report(run_dirs, options.work_dir)
    for failure in failures:
        print(f"run.py: {failure}", file=sys.stderr)
    if failures or not run_dirs:
        return 1
    return _code_of_failed_samples(rows, options)


def _code_of_failed_samples(rows: Sequence[summary.Row], options: Options) -> int:
    failed = [
        (model, dataset, int(metrics.get(summary.FAILED, 0))) for model, dataset, metrics in rows
    ]
    for model, dataset, count in failed:
        if count:
            print(
                f"run.py: {model} on {dataset}: {count} samples failed and count nowhere. Ask them "
                f"again with --reuse, or accept that with {ALLOW_FAILED}.",
                file=sys.stderr,
            )
    some = any(count for _, _, count in failed)
    return SAMPLES_FAILED if some and not options.allow_failed else 0


def _write_report(run_dirs: Sequence[Path], work_dir: Path) -> None:
    from spy_plugin.report import combine

    out = work_dir / "spy_report"
    try:
        combine([summary.model_folder(run_dir) for run_dir in run_dirs], out)
    except SpyBenchError as error:
        print(f"run.py: no combined report: {error}", file=sys.stderr)
    else:
        print(f"Combined report: {out / 'report.html'}")
